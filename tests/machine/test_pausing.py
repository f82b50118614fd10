"""Holding a machine and letting it go on; and what a full disk of the host does to it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from pommel.errors import DeadlineError, StateError
from pommel.machine import disk, events, lifecycle, state
from pommel.machine.pausing import pause, resume
from pommel.machine.state import MachineState
from pommel.machine.stopping import stop
from pommel.paths import MachinePaths
from pommel.process import run
from waits import wait_until

from .bare import argv, end, make, obedient, short_home
from .guests import DISK_BYTES, FILLS, MIB, ask, drives, make_disk


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


@pytest.fixture
def small(paths: MachinePaths) -> Iterator[MachinePaths]:
    """A machine whose host has room for all of its disk, but not for ballast beside it."""
    run(["mount", "-t", "tmpfs", "-o", "size=13m", "none", paths.directory])
    try:
        yield paths
    finally:
        end(paths.pidfile)
        run(["umount", paths.directory])


def words(paths: MachinePaths) -> list[str]:
    return [event.word for event in events.read(paths)]


def test_a_machine_is_held_and_goes_on(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    pause(paths)
    assert state.observe(paths, ask_s=5).state is MachineState.PAUSED
    with pytest.raises(StateError, match="is not running now") as refusal:
        pause(paths)
    assert refusal.value.hint == "pommel resume m"
    resume(paths)
    assert state.observe(paths, ask_s=5).state is MachineState.RUNNING
    with pytest.raises(StateError, match="m is not paused: QEMU says: running"):
        resume(paths)
    assert words(paths) == ["start", "running", "suspended", "resumed"]


def test_a_machine_that_is_stopped(paths: MachinePaths) -> None:
    for wish in (pause, resume):
        with pytest.raises(StateError, match="m is not running"):
            wish(paths)


def test_a_guest_that_has_powered_down_cannot_go_on(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, "-no-shutdown", *obedient(paths, presses=1)))
    wait_until(lambda: (paths.directory / "said").read_bytes() == b"R")
    ask(paths, "system_powerdown")
    wait_until(lambda: state.observe(paths, ask_s=5).state is MachineState.PAUSED)
    with pytest.raises(StateError, match="m cannot continue: the guest has powered down") as refusal:
        resume(paths)
    assert refusal.value.hint == "pommel stop m"


def test_a_hung_qemu_is_told(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pommel.machine.pausing._QMP_S", 0.2)
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DeadlineError):
        pause(paths)


def test_a_full_disk_holds_the_machine_and_room_lets_it_go_on(small: MachinePaths) -> None:
    shutil.move(make_disk(small.directory.with_name("made"), FILLS), small.disk)
    ballast = small.directory / "ballast"
    ballast.write_bytes(bytes(9 * MIB))
    lifecycle.start(small, argv(small, *drives(small)))
    wait_until(lambda: state.observe(small, ask_s=5).state is MachineState.PAUSED)
    wanted = f"the host's disk is full (df -h {small.directory}): free some space, then: pommel resume m"
    assert state.observe(small, ask_s=5).detail == wanted
    with pytest.raises(StateError, match="its disk cannot be written") as refusal:
        resume(small)
    assert refusal.value.hint == wanted
    assert state.observe(small, ask_s=5).state is MachineState.PAUSED
    ballast.unlink()
    resume(small)
    wait_until(lambda: small.disk.stat().st_size > DISK_BYTES - MIB)  # the guest has filled its own disk to the end
    assert state.observe(small, ask_s=5).state is MachineState.RUNNING
    assert words(small) == ["start", "running", "resumed"]
    assert stop(small, force=True).how == "quit"
    assert disk.check(small.disk).sound
