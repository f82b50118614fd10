"""Names, settings and specs before any machine exists."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from pommel.app.disk import disks, snapshots
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, StateError, UsageError
from pommel.machine.record import MachineRecord, load, save
from pommel.paths import Home


def here(tmp_path: Path, toml: str = "", **env: str) -> Workspace:
    (tmp_path / "pommel.toml").write_text(toml)
    return Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, env)


def test_the_trial_machine_is_known_without_any_file(tmp_path: Path) -> None:
    workspace = here(tmp_path)
    assert workspace.names() == ["trial"]
    spec = workspace.spec("trial")
    assert (spec.upstream, spec.memory_bytes, spec.ssh_user) == ("trial", 2 << 30, "trial")


def test_trial_defaults_are_for_what_boots_the_trial_not_for_the_name(tmp_path: Path) -> None:
    workspace = here(tmp_path, '[machine.trial]\nupstream = "osx"\n[machine.blue]\nupstream = "trial"\nmemory = "1G"\n')
    assert workspace.spec("trial").memory_bytes is None
    assert workspace.spec("trial").ssh_user is None
    assert (workspace.spec("blue").memory_bytes, workspace.spec("blue").ssh_user) == (1 << 30, "trial")


def test_upstream_folders_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    workspace = here(tmp_path, '[machine.mac]\nupstream = "OSX-KVM"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    inner = Workspace(workspace.home, below, {})
    assert inner.upstream_folder(inner.spec("mac")) == tmp_path / "OSX-KVM"
    assert inner.upstream_folder(inner.spec("trial")) == workspace.home.root / "upstream" / "trial"


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    workspace = here(tmp_path, "[machine.trial]\ncores = 1\n", POMMEL_CORES="2")
    assert workspace.spec("trial").cores == 2
    assert workspace.spec("trial", {"cores": "3"}).cores == 3


def test_unknown_machines_and_names_are_refused(tmp_path: Path) -> None:
    workspace = here(tmp_path, "[machine.blue]\n")
    with pytest.raises(UsageError) as refusal:
        workspace.spec("blu")
    assert "did you mean blue?" in str(refusal.value.hint)
    with pytest.raises(UsageError):
        workspace.spec("../blue")


def test_a_config_repo_has_one_checkout_however_its_path_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "repo" / "patches").mkdir(parents=True)
    (tmp_path / "repo" / "pommel.toml").touch()
    (tmp_path / "link").symlink_to("repo")
    home = Home(tmp_path / "h", tmp_path / "r", tmp_path / "c")

    def checkout(folder: str) -> Path:
        said = Workspace(home, tmp_path, {"POMMEL_CONFIG": str(tmp_path / folder / "pommel.toml")})
        return said.checkout(said.file)

    assert checkout("link") == checkout("repo")
    old = home.upstream(f"link-{hashlib.sha256(os.fsencode(tmp_path / 'link')).hexdigest()[:8]}")
    old.mkdir(parents=True)  # by an earlier version, which went by the spelling
    assert checkout("link") == old


def test_a_bad_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="POMMEL_MEMORY must be a size with a unit"):
        here(tmp_path, POMMEL_MEMORY="lots").spec("trial")


def made(workspace: Workspace, name: str, **facts: str) -> None:
    """A machine's record, and nothing else of it."""
    path = workspace.paths(name).record
    path.parent.mkdir(parents=True)
    kept = MachineRecord(name, "osx-kvm", "0" * 8 + "-0000-4000-8000-" + "0" * 12, "52:54:00:00:00:01", 2222, "now")
    save(path, dataclasses.replace(kept, **facts))


def test_a_macs_version_comes_from_its_setting_its_record_or_its_name_and_is_else_unknown(tmp_path: Path) -> None:
    workspace = here(tmp_path, '[machine.a]\nmacos = "Sequoia"\n[machine.b]\n[machine.ventura]\n')
    made(workspace, "c", macos="12")
    found = {name: workspace.settings(name)["macos"] for name in ("a", "b", "c", "ventura", "tahoe")}
    assert {name: value.value for name, value in found.items()} == {
        "a": "15", "b": None, "c": "12", "ventura": "13", "tahoe": "26",
    }  # fmt: skip
    assert [value.source for value in found.values()] == ["file", "default", "record", "name", "name"]
    with pytest.raises(ConfigError, match=r"pommel\.toml:2: there is no macOS called 'sonomma'"):
        here(tmp_path, '[machine.a]\nmacos = "sonomma"\n').spec("a")


def test_a_machine_keeps_the_file_it_was_made_under(tmp_path: Path) -> None:
    workspace = here(tmp_path, '[machine.mac]\nmemory = "6G"\n')
    made(workspace, "mac", config=str(tmp_path / "pommel.toml"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pommel.toml").write_text('[machine.other]\nmemory = "5G"\n')
    there = Workspace(workspace.home, elsewhere, {})
    assert there.spec("mac").memory_bytes == 6 << 30
    (elsewhere / "pommel.toml").write_text('[machine.mac]\nmemory = "5G"\n')
    assert Workspace(workspace.home, elsewhere, {}).spec("mac").memory_bytes == 5 << 30
    (tmp_path / "pommel.toml").unlink()
    (elsewhere / "pommel.toml").unlink()
    assert Workspace(workspace.home, elsewhere, {}).spec("mac").memory_bytes is None


def test_config_repos_have_checkouts_of_their_own(tmp_path: Path) -> None:
    plain = here(tmp_path, "[machine.mac]\n")
    assert plain.checkout(plain.file) == plain.home.root / "upstream" / "osx-kvm"
    seen = set()
    for folder in ("My Mac", "my-mac", "ß"):
        (tmp_path / folder / "patches").mkdir(parents=True)
        (tmp_path / folder / "pommel.toml").write_text("[machine.mac]\n")
        workspace = Workspace(plain.home, tmp_path / folder, {})
        seen.add(workspace.checkout(workspace.file).name)
    assert len(seen) == 3
    assert all(name.isascii() and " " not in name for name in seen)


def test_a_pin_that_cannot_be_used_names_its_file(tmp_path: Path) -> None:
    workspace = here(tmp_path, '[upstream]\ncommit = "main"\n')
    with pytest.raises(ConfigError, match=r"pommel\.toml: upstream\.commit 'main' is not a whole commit id"):
        workspace.pin(workspace.file)


def test_the_machine_that_is_meant_where_none_is_named(tmp_path: Path) -> None:
    assert here(tmp_path, "[machine.trial]\n").default_name() == "sonoma"
    assert here(tmp_path, "[machine.work]\n[machine.trial]\n").default_name() == "work"
    with pytest.raises(UsageError, match="which machine") as refusal:
        here(tmp_path, "[machine.a]\n[machine.b]\n").default_name()
    assert refusal.value.hint == "give the name of one: a, b"


def test_a_golden_machine_is_not_written_to(tmp_path: Path) -> None:
    workspace = here(tmp_path, "[machine.base]\n")
    made(workspace, "base")
    path = workspace.paths("base").record
    save(path, dataclasses.replace(load(path), golden=True))
    for write in (
        lambda: disks.resize("base", 90 << 30, workspace=workspace),
        lambda: disks.compact("base", workspace=workspace),
        lambda: snapshots.load("base", "tag", workspace=workspace),
    ):
        with pytest.raises(StateError, match="base is golden and cannot be"):
            write()
    save(path, dataclasses.replace(load(path), golden=False))
    with pytest.raises(StateError, match="has no snapshot tag"):
        snapshots.load("base", "tag", workspace=workspace)
