"""Processes pinned by the lock they hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import locks, process
from pommel.errors import NotPermitted
from pommel.machine.pinned import pin_holder
from waits import wait_until

HOLD = """
import fcntl, sys, time
f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(60)
"""


@pytest.fixture
def child(tmp_path: Path, pidfds: str) -> Iterator[process.Detached]:
    import sys

    child = process.spawn_detached([sys.executable, "-c", HOLD, tmp_path / "lock"], tmp_path / "log")
    wait_until(lambda: locks.holder(tmp_path / "lock") is not None)
    yield child
    child.kill()


def test_nobody_holds_it(tmp_path: Path) -> None:
    with pin_holder(tmp_path / "absent") as nobody:
        assert nobody is None
    (tmp_path / "free").touch()
    with pin_holder(tmp_path / "free") as nobody:
        assert nobody is None


def test_it_lives_then_ends_then_signals_are_fine(child: process.Detached, tmp_path: Path) -> None:
    with pin_holder(tmp_path / "lock") as pinned:
        assert pinned is not None and pinned.pid == child.pid
        assert not pinned.ended()
        assert not pinned.ended(0.05)
        pinned.send(signal.SIGTERM)
        assert pinned.ended(20)
        pinned.send(signal.SIGKILL)
        assert pinned.ended()
    assert not Path(f"/proc/{child.pid}").exists()  # reaped
    child.release()


def test_descriptors_do_not_leak(child: process.Detached, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pin_holder(tmp_path / "lock"):
            assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("pid", [0, -1])
def test_a_holder_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pid: int) -> None:
    monkeypatch.setattr(locks, "holder", lambda _: pid)  # what the kernel says across pid namespaces
    with pytest.raises(NotPermitted, match="another container"), pin_holder(tmp_path / "lock"):
        pass


def test_a_holder_that_dies_meanwhile_gives_way_to_the_next(
    child: process.Detached, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = process.spawn_detached(["true"], tmp_path / "log")
    wait_until(lambda: gone.exit_status() is not None)
    answers = iter([gone.pid, child.pid, None, child.pid, child.pid])
    monkeypatch.setattr(locks, "holder", lambda _: next(answers))
    with pin_holder(tmp_path / "lock") as pinned:
        assert pinned is not None and pinned.pid == child.pid
    assert next(answers, "spent") == "spent"
