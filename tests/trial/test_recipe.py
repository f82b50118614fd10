"""What goes into the guest: the commands, and the name of the base."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pommel.trial import base, recipe, requirements

TRIAL = Path(base.__file__).parent


def test_paths_in_hooks_are_quoted() -> None:
    argv = recipe.mmdebstrap_argv(
        mode="root", tree="/a b/tree", setup="/a b/it's.sh", sources=["deb u s main"], apt_options=['A::B "c"']
    )
    assert argv[-3:] == ["bookworm", "/a b/tree", "deb u s main"]
    assert '--aptopt=A::B "c"' in argv
    hook = next(word for word in argv if word.startswith("--customize-hook=")).partition("=")[2]
    told = hook.replace("sh ", "printf '%s|' ", 1)
    assert subprocess.run(["sh", "-c", told, "sh", "/root"], capture_output=True).stdout == b"/a b/it's.sh|late|/root|"


def test_no_server_is_named() -> None:
    for path in TRIAL.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert not re.search(r"https?://|deb\.debian|\.org\b", path.read_text()), path


def test_the_key_stands_for_the_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base.base_key()
    assert re.fullmatch("[0-9a-f]{16}", key)
    assert base.base_key() == key
    monkeypatch.setattr(recipe, "PACKAGES", (*recipe.PACKAGES, "vim"))
    assert base.base_key() != key


def test_root_needs_no_uidmap() -> None:
    as_root, as_user = (requirements.build_programs(is_root=is_root) for is_root in (True, False))
    assert {r.package for r in as_user} - {r.package for r in as_root} == {"uidmap"}


@pytest.mark.parametrize("script", ["setup.sh", "root/usr/local/bin/pbcopy", "root/usr/local/lib/trial/session"])
def test_guest_scripts_parse(script: str) -> None:
    subprocess.run(["sh", "-n", TRIAL / "data" / "guest" / script], check=True)
