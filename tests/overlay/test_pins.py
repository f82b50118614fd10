"""Pins: what we ship, what a config may say, and what it may not."""

from __future__ import annotations

import pytest

from pommel.errors import ConfigError
from pommel.overlay.pins import DEFAULT, OSX_KVM, SHIPPED, Pin, check_inside, pin_of

COMMIT = "a" * 40


def test_both_layouts_are_shipped_with_their_firmware() -> None:
    code = {commit[:8]: [name for name in pin.sha256 if "CODE" in name] for commit, pin in SHIPPED.items()}
    assert code == {"da4b23b5": ["OVMF_CODE.fd"], "4c378a4b": ["OVMF_CODE_4M.fd"]}


def test_what_a_config_leaves_out_is_what_we_ship() -> None:
    assert pin_of() == DEFAULT
    old = next(commit for commit in SHIPPED if commit.startswith("da4b23b5"))
    assert pin_of(commit=old) == SHIPPED[old]
    assert pin_of("https://mirror.example/x", old) == Pin("https://mirror.example/x", old, SHIPPED[old].sha256)
    assert pin_of(commit=COMMIT) == Pin(OSX_KVM, COMMIT, {})
    assert pin_of(commit=old, sha256={}).sha256 == {}


def test_another_url_needs_a_commit() -> None:
    with pytest.raises(ConfigError, match=r"commit is not"):
        pin_of("https://elsewhere.example/x")


@pytest.mark.parametrize("url", ["", "--upload-pack=touch /tmp/x", "https://x\nhttps://y"])
def test_an_address_that_git_would_take_for_something_else(url: str) -> None:
    with pytest.raises(ConfigError, match=r"upstream\.url"):
        Pin(url, COMMIT)


@pytest.mark.parametrize("commit", ["", "master", "a" * 39, "A" * 40, "a" * 40 + "\n", "-" + "a" * 39])
def test_only_a_whole_commit_id_pins(commit: str) -> None:
    with pytest.raises(ConfigError, match=r"whole commit id"):
        Pin(OSX_KVM, commit)


def test_a_hash_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"OVMF\.fd is not 64"):
        Pin(OSX_KVM, COMMIT, {"OVMF.fd": "abc"})
    with pytest.raises(ConfigError, match=r"not a file inside"):
        Pin(OSX_KVM, COMMIT, {"../x": "0" * 64})


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../../b", "a/", "a\0b", ".git/config", "x/.GIT/hooks/y"])
def test_paths_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^here: "):
        check_inside(name, "here")


def test_paths_that_do_not() -> None:
    for name in ("a", "a/b", ".gitignore", "a b/..c", "-x"):
        assert check_inside(name, "here") == name
