"""The example project, tested by the real pytest with Pommel's fixtures, in throw-away clones of the trial machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driver import Shell
from pommel import throwaway
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, DeadlineError
from pommel.paths import Home

from .conftest import UP_S

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).parents[2] / "samples" / "pytest"


def test_the_example_project_is_tested_in_machines_of_its_own_and_nothing_stays(warm: Shell) -> None:
    words = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [*words, "--pommel-image", "trial", str(EXAMPLE)], env=warm.env, cwd=warm.cwd, stdout=pipe, stderr=pipe
    )
    assert "2 passed" in warm.ended(child, timeout_s=UP_S).stdout
    assert {path.name for path in (warm.home / "machines").iterdir()} - {".trial.lock"} == {"trial"}
    assert warm.processes() == []


def test_a_machine_for_a_block_of_python(warm: Shell, tmp_path: Path) -> None:
    workspace = Workspace(Home.find(warm.env), warm.cwd, warm.env)
    with throwaway("trial", workspace=workspace) as machine:
        assert machine.from_memory
        told = machine.run("sh", "-c", 'echo "$WORD"; echo bad >&2; exit 255', env={"WORD": "it's $HOME"}, check=False)
        assert (told.status, told.text, told.stderr) == (255, "it's $HOME", b"bad\n")
        with pytest.raises(CommandFailed, match=r"cat failed with exit status 1: .*nothing"):
            machine.run("cat", "nothing")
        with pytest.raises(DeadlineError):
            machine.run("sleep", "600", timeout_s=2)
        assert min(machine.screenshot(tmp_path / "shot.png")) > 300
        with pytest.raises(CommandFailed):
            machine.copy_out("nothing", tmp_path)
        name = machine.name
    assert not workspace.paths(name).directory.exists() and warm.processes() == []
