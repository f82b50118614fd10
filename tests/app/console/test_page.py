"""The console's own process: how it is ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machine.bare import short_home
from pommel import locks, process
from pommel.app.console import page as console
from pommel.app.workspace import Workspace
from pommel.errors import NotPermitted
from waits import wait_until

HOLD = """
import fcntl, signal, sys, time
if sys.argv[2] == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN)
f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(60)
"""


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with short_home() as home:
        home.machine("m").directory.mkdir(parents=True)
        yield Workspace(home, home.root.parent, {})


@pytest.fixture
def serving(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[[str], process.Detached]]:
    made: list[process.Detached] = []

    def serve(how: str) -> process.Detached:
        lock = workspace.paths("m").console_lock
        made.append(process.spawn_detached([sys.executable, "-c", HOLD, lock, how], tmp_path / "log"))
        wait_until(lambda: locks.holder(lock) is not None)
        return made[-1]

    yield serve
    for child in made:
        child.kill()


def test_none_serves(workspace: Workspace) -> None:
    assert console.stop(workspace, "m") is False


@pytest.mark.parametrize("how", ["heeds", "deaf"])
def test_it_is_ended_even_if_it_does_not_listen(
    how: str, pidfds: str, workspace: Workspace, serving: Callable[[str], process.Detached],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(console, "_END_S", 10.0 if how == "heeds" else 0.2)
    child = serving(how)
    began = time.monotonic()
    assert console.stop(workspace, "m") is True
    assert time.monotonic() - began < 9
    assert locks.holder(workspace.paths("m").console_lock) is None
    assert not Path(f"/proc/{child.pid}").exists()
    assert console.stop(workspace, "m") is False


@pytest.mark.parametrize("pid", [0, -1])
def test_that_of_another_container_is_refused_and_nobody_gets_a_signal(
    pid: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill(2) takes 0 for our own process group, and -1 for every process that we may reach."""

    def killed(*_: object) -> None:
        raise AssertionError("a signal was sent")

    monkeypatch.setattr(os, "kill", killed)
    monkeypatch.setattr(locks, "holder", lambda _: pid)
    with pytest.raises(NotPermitted, match="of another container"):
        console.stop(workspace, "m")
