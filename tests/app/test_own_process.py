"""Processes of Pommel's own that outlive a command: how they are started, and how they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import locks
from pommel.app import own_process
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.paths import Home
from waits import wait_until

# Holds the lock, and writes down beside it how it ended; with an argument it ignores SIGTERM. It ends by itself when its
# standard input does. Our own wait for it knows no status: whoever ends it by its handle has reaped it.
_HOLDER = """
import signal, sys
from pathlib import Path
from pommel import locks
lock, how = Path(sys.argv[1]), Path(sys.argv[1] + ".how")
def told(*_):
    how.write_text("by SIGTERM")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2:] else told)
with locks.hold(lock, busy="held"):
    sys.stdin.read()
    how.write_text("by itself")
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Home(tmp_path / "home", tmp_path / "run", tmp_path / "cache"), tmp_path, {})


class Holder:
    def __init__(self, lock: Path, *words: str) -> None:
        self.lock = lock
        self.child = subprocess.Popen([sys.executable, "-P", "-c", _HOLDER, str(lock), *words], stdin=subprocess.PIPE)
        wait_until(lambda: locks.holder(lock) == self.child.pid, 20)

    @property
    def how(self) -> str:
        """How it ended; empty if it had no time to say so."""
        assert locks.holder(self.lock) is None
        self.child.wait(20)
        said = Path(f"{self.lock}.how")
        return said.read_text() if said.exists() else ""

    def close(self) -> None:
        self.child.kill()
        self.child.communicate()


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[Holder]]:
    made: list[Holder] = []
    yield made
    for each in made:
        each.close()


def test_what_it_writes_is_appended_until_the_log_is_too_large(workspace: Workspace, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    for expected in ("before\n", ""):
        child = own_process.spawn(workspace, "--version", log=log)
        wait_until(lambda: child.exit_status() is not None, 20)  # noqa: B023 - waited for in this turn
        child.release()
        said = log.read_text()
        assert said.startswith(f"{expected}pommel "), said
        log.write_bytes(b"x" * (own_process.LOG_MAX_BYTES + 1))


def test_one_that_is_asked_ends_by_itself(tmp_path: Path, holders: list[Holder]) -> None:
    holders.append(held := Holder(tmp_path / "lock", "deaf"))
    assert held.child.stdin is not None
    assert own_process.end(held.lock, within_s=20, ask=held.child.stdin.close)
    assert held.how == "by itself"
    assert not own_process.end(held.lock, within_s=1, ask=lambda: pytest.fail("nobody is there to be asked"))


def test_one_that_cannot_be_asked_is_told_by_a_signal(tmp_path: Path, holders: list[Holder]) -> None:
    def ask() -> None:
        raise StateError("it does not answer")

    holders.append(held := Holder(tmp_path / "lock"))
    assert own_process.end(held.lock, within_s=20, ask=ask)
    assert held.how == "by SIGTERM"


def test_one_that_does_not_end_is_killed(tmp_path: Path, holders: list[Holder]) -> None:
    holders.append(held := Holder(tmp_path / "lock", "deaf"))
    assert own_process.end(held.lock, within_s=0.2)
    assert held.how == ""
