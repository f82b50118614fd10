"""The commands in ~/.local/bin, started by a real shell from PATH."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pommel.app.host import launchers
from pommel.app.workspace import Workspace
from pommel.host import commands
from pommel.paths import Home


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = f"{commands.folder(tmp_path)}:/usr/bin:/bin"
    return Workspace(
        Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {"PATH": path, "HOME": str(tmp_path)}
    )


def test_both_are_placed_once_and_vm_clip_does_what_it_is_called_for(workspace: Workspace) -> None:
    assert [launcher.path.name for launcher in launchers.found(workspace)] == ["pommel", "vm-clip"]
    assert len(launchers.place(workspace, report=lambda _: None)) == 2
    assert launchers.place(workspace, report=lambda _: None) == []
    env = {"PATH": workspace.env["PATH"], "HOME": str(workspace.cwd), "VM_CLIP_PORT": "none", "POMMEL_HOME": "/nowhere"}
    done = subprocess.run(["vm-clip", "status"], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: VM_CLIP_PORT must be a port from 1 to 65535, not 'none'\n")
    for launcher in launchers.found(workspace):
        assert commands.remove(launcher)


def test_somebody_elses_vm_clip_stays(workspace: Workspace) -> None:
    theirs = commands.folder(workspace.cwd) / "vm-clip"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("#!/bin/sh\n# theirs\n")
    theirs.chmod(0o755)
    told: list[str] = []
    launchers.place(workspace, report=lambda event: told.append(event.text))
    assert theirs.read_text() == "#!/bin/sh\n# theirs\n"
    assert f"{theirs} is not Pommel's, and was not changed" in told
