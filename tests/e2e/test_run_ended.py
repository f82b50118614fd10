"""`pommel run` that is ended before its guest is there, or refused: nothing stays. No guest comes up here."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

from driver import Shell
from isolation import patient
from pommel.app.machine import making
from pommel.app.workspace import Workspace
from pommel.paths import Home
from pommel.progress import ignore
from waits import wait_until

pytestmark = pytest.mark.e2e
# One vCPU: a boot on a busy host is surer, and as quick.
CONFIG = "[machine.trial]\nthreads = 1\n"


@pytest.fixture(scope="module")
def home() -> Iterator[Shell]:
    """A home with a trial machine that was never started."""
    shell = Shell(share_base=True)
    shell.config(CONFIG)
    workspace = Workspace(Home.find(shell.env), shell.cwd, shell.env)
    try:
        making.make(workspace, workspace.spec("trial"), report=ignore)
        yield shell
    finally:
        shell.close()


def left(shell: Shell) -> tuple[set[str], set[str], list[int]]:
    """What there is of machines, of folders for sockets (but for the base's own), and of processes."""
    machines = {path.name for path in (shell.home / "machines").iterdir()}
    folders = {path.name for path in (shell.home / "run").glob("*")}
    return machines - {".trial.lock"}, folders - {"trial"}, shell.processes()


NOTHING = ({"trial"}, set(), [])


def test_what_would_be_written_over_and_what_is_wrong_is_refused_before_anything_is_done(home: Shell) -> None:
    (home.cwd / "there").mkdir(exist_ok=True)
    assert "exists already" in home.run("run", "trial", "--copy-out", "x/there", "--", "true", status=125).stderr
    assert "is not a folder" in home.run("run", "trial", "--copy-in", "none", "--", "true", status=125).stderr
    assert "--env" in home.run("run", "trial", "--env", "1=x", "--", "true", status=125).stderr
    assert home.run("run", "trial", "--no-such", "--", "true", status=125).stdout == ""
    told = home.run("run", "none", "--json", "--", "true", status=125).stdout
    assert json.loads(told)["exit"] == 125
    assert left(home)[0] == {"trial"}


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_nothing_stays(home: Shell, sign: signal.Signals) -> None:
    child = home.popen("run", "trial", "--", "true", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        wait_until(lambda: any("qemu-system" in _words(pid) for pid in home.processes()), 60, what="its QEMU")
        child.send_signal(sign)
        status = child.wait(patient(60))
    finally:
        child.kill()
    assert status == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[sign]
    wait_until(lambda: not home.processes(), 20, what="the end of all its processes")
    if sign is signal.SIGKILL:
        assert [each["name"] for each in home.json("list")["machines"]] == ["trial"]
    assert left(home) == NOTHING


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
