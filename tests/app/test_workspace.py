"""Names, settings and specs before any machine exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, UsageError
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
    workspace = here(tmp_path, '[machine.trial]\nupstream = "osx"\n[machine.blue]\nmemory = "1G"\n')
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


def test_a_bad_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="POMMEL_MEMORY must be a size with a unit"):
        here(tmp_path, POMMEL_MEMORY="lots").spec("trial")
