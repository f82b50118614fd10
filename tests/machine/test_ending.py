"""How a run ended: real QEMUs that power down, are stopped, signalled, killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pommel.errors import NotPermitted
from pommel.machine import ending, events, lifecycle, state, stopping
from pommel.machine.ending import how_it_ended, note_crash, wait_end
from pommel.machine.events import Word, note_event
from pommel.machine.runstate import How, RunEnd
from pommel.machine.state import MachineState
from pommel.machine.stopping import Patience
from pommel.paths import MachinePaths

from .bare import argv, listens, make, obedient, short_home
from .guests import ask


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def waiting(paths: MachinePaths) -> tuple[threading.Thread, list[RunEnd]]:
    """A thread that waits for the end, and where its answer will be."""
    found: list[RunEnd] = []
    thread = threading.Thread(target=lambda: found.append(wait_end(paths)))
    thread.start()
    return thread, found


def words(paths: MachinePaths) -> list[str]:
    return [event.word for event in events.read(paths)]


def test_a_guest_that_powers_itself_down(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    thread, found = waiting(paths)
    ask(paths, "system_powerdown")
    thread.join(20)
    assert found == [RunEnd(How.GUEST, "the guest powered down")]


def test_a_stop(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    thread, found = waiting(paths)
    stopping.stop(paths, force=True)
    thread.join(20)
    assert found[0].how is How.STOPPED
    assert how_it_ended(paths) == RunEnd(How.STOPPED, "QEMU was asked to quit")


def test_a_stop_that_was_called_off_explains_nothing(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    note_event(paths, Word.STOP)
    note_event(paths, Word.STOP_OFF)
    ask(paths, "quit")
    assert wait_end(paths).how is How.GUEST


def test_a_stop_by_sigkill_is_no_crash(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGSTOP)
    thread, found = waiting(paths)
    stopping.stop(paths, force=True, patience=Patience(0.2, 0.2, 0.2, 10))
    thread.join(20)
    assert found[0].how is How.STOPPED
    assert Word.CRASHED not in words(paths)


def test_a_signal_that_qemu_obeys(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGTERM)
    ended = wait_end(paths)
    assert ended.how is How.SIGNAL
    assert ended.detail.startswith("QEMU was asked to end: terminating on signal 15 from pid")


def test_a_crash_is_noted_once_with_its_last_words(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    with paths.log.open("a") as log:
        log.write("qemu-system-x86_64: \x1b[31msomething broke\n")
    os.kill(pid, signal.SIGKILL)
    wanted = "QEMU was killed or crashed; its last output: qemu-system-x86_64: something broke"
    assert wait_end(paths) == how_it_ended(paths) == RunEnd(How.CRASHED, wanted)
    note_crash(paths)
    assert state.observe(paths).detail == wanted
    assert words(paths) == ["start", "running", "crashed"]
    lifecycle.start(paths, argv(paths))
    assert words(paths) == ["start", "running", "crashed", "start", "running"]
    os.kill(state.observe(paths).pid or 0, signal.SIGKILL)
    wait_end(paths)
    assert words(paths)[-1] == "crashed", "each crash is noted"
    assert state.observe(paths).state is MachineState.CRASHED, "and is there to be seen until somebody tidies up"


def test_a_start_finds_the_crash_that_nobody_saw(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    lifecycle.start(paths, argv(paths))
    assert words(paths) == ["start", "running", "crashed", "start", "running"]


def test_nothing_runs(paths: MachinePaths) -> None:
    assert wait_end(paths).how is How.GUEST
    assert words(paths) == []


def test_out_of_reach_of_a_pidfd_it_is_looked_at(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid

    def refuse(_: object) -> None:
        raise NotPermitted("another container's")

    monkeypatch.setattr(ending, "pin_holder", refuse)
    monkeypatch.setattr(ending, "_POLL_S", 0.01)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            os.kill(pid, signal.SIGTERM)
        if len(ticks) > 3:
            os.waitpid(pid, os.WNOHANG)

    assert wait_end(paths, on_tick=tick).how is How.SIGNAL
    assert len(ticks) >= 3
