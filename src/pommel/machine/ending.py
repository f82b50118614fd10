"""Determines how a machine's run ended, and waits for its end. Band: shell.

QEMU removes its pidfile when it ends by itself, whether its guest powered down, somebody sent `quit`, or a signal
asked it to end. A pidfile that is left means a crash, unless the stop ladder noted before that it kills QEMU. The
events and QEMU's log tell which of the orderly ends it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pommel import locks
from pommel.errors import NotPermitted
from pommel.machine import logs, state
from pommel.machine.events import Event, Word, note_event, read
from pommel.machine.pinned import pin_holder
from pommel.machine.runstate import How, MachineState, Observed, RunEnd
from pommel.paths import MachinePaths

_POLL_S = 0.5
_LOOK_S = 60.0  # the interval at which a waiting process bounds the logs
_BEGINNINGS = (Word.START, Word.RUNNING)
_SIGNAL = "terminating on signal"  # QEMU, softmmu/runstate.c

__all__ = ["How", "RunEnd", "how_it_ended", "note_crash", "wait_end"]


def wait_end(paths: MachinePaths, *, on_tick: Callable[[], None] = lambda: None) -> RunEnd:
    """Wait until the machine's QEMU has ended; return at once if none runs. Ctrl-C ends only the wait.

    `on_tick` is called about once a minute; the logs are kept bounded meanwhile. A crash is noted in events.log.
    """
    while locks.holder(paths.pidfile) is not None:
        logs.bound(paths)
        on_tick()
        _wait(paths, _LOOK_S)
    return how_it_ended(paths)


def how_it_ended(paths: MachinePaths) -> RunEnd:
    """How the latest run of a stopped or crashed machine ended. A crash is noted once."""
    seen, since = state.observe(paths), _of_this_run(read(paths))
    words = [event.word for event in since]
    if seen.state is MachineState.CRASHED and Word.KILL not in words:
        note_crash(paths, seen)
        return RunEnd(How.CRASHED, seen.detail)
    stops = [word for word in words if word in (Word.STOP, Word.STOP_OFF, Word.STOPPED)]
    if stops and stops[-1] != Word.STOP_OFF:
        told = next((event.text for event in since if event.word == Word.STOPPED), "")
        return RunEnd(How.STOPPED, told or "it was stopped")
    said = next((line for line in reversed(logs.last(paths, 5)) if _SIGNAL in line), None)
    if said is not None:
        return RunEnd(How.SIGNAL, f"QEMU was asked to end: {said.partition(': ')[2] or said}")
    return RunEnd(How.GUEST, "the guest powered down")


def note_crash(paths: MachinePaths, seen: Observed | None = None) -> None:
    """Note a crash, unless it has been noted or is not one. Call it before the remains of the run are removed."""
    if not paths.pidfile.exists():  # the cheap check first
        return
    seen = seen or state.observe(paths)
    if seen.state is MachineState.CRASHED and not {Word.CRASHED, Word.KILL} & {
        e.word for e in _of_this_run(read(paths))
    }:
        note_event(paths, Word.CRASHED, f"noticed now: {seen.detail}")


def _of_this_run(events: Sequence[Event]) -> list[Event]:
    """The events since the last start."""
    for index in range(len(events) - 1, -1, -1):
        if events[index].word in _BEGINNINGS:
            return list(events[index + 1 :])
    return list(events)


def _wait(paths: MachinePaths, seconds: float) -> None:
    """Wait for QEMU's end, at most this long: by a pidfd, or by polling if its process is out of reach."""
    try:
        with pin_holder(paths.pidfile) as qemu:
            if qemu is not None:
                qemu.ended(seconds)
    except (NotPermitted, OSError):  # another container's process, or a kernel without pidfds
        time.sleep(_POLL_S)
