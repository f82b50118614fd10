"""Watches a machine, and starts it again after a crash. Band: shell.

`restarting` decides whether and when; the caller gives the function that starts it. A machine that ended in an orderly
way is not started: its guest powered down, somebody stopped it, or the host shuts down.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pommel import locks
from pommel.errors import MachineError, PommelError, StateError
from pommel.machine import state
from pommel.machine.ending import wait_end
from pommel.machine.events import Word, note_event
from pommel.machine.restarting import USUAL, RestartChoice, RestartLimits, judge, recent_only
from pommel.machine.runstate import How, MachineState, RunEnd
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn

__all__ = ["RestartLimits", "watch"]

_POLL_S = 0.25


def watch(
    paths: MachinePaths,
    start: Callable[[], object],
    *,
    limits: RestartLimits = USUAL,
    on_tick: Callable[[], None] = lambda: None,
    report: Report = ignore,
    clock: Callable[[], float] = time.monotonic,
) -> RunEnd:
    """Wait for the end of the running machine, and start it again after each crash; return how it ended finally.

    `start` starts it as the first time. A failed start counts as a crash. A stop of a crashed machine ends the watch
    too. Ctrl-C ends the watch, and nothing else. `on_tick` is called about once a minute meanwhile.

    Raises:
        MachineError: it crashed more often than `limits` allow, or could not be started again as often.
    """
    restarts: tuple[float, ...] = ()
    failed: PommelError | None = None
    while True:
        ended = wait_end(paths, on_tick=on_tick) if failed is None else RunEnd(How.CRASHED, failed.message)
        verdict = judge(ended, restarts, clock(), limits)
        if verdict.choice is RestartChoice.LEAVE:
            note(report, f"{paths.name}: {verdict.text}")
            return ended
        if verdict.choice is RestartChoice.GIVE_UP:
            note_event(paths, Word.GIVEN_UP, verdict.text)
            raise MachineError(f"{paths.name} is not restarted: {verdict.text}", hint=f"pommel log {paths.name}")
        note_event(paths, Word.RESTART, verdict.text)
        warn(report, f"{paths.name} crashed and is started again {verdict.text}")
        if not _rest(paths, verdict.wait_s, crashed=failed is None):
            failed = None
            continue  # somebody else has started or stopped it: `wait_end` finds out
        restarts = (*recent_only(restarts, clock(), limits), clock())
        failed = _start(paths, start)


def _rest(paths: MachinePaths, seconds: float, *, crashed: bool) -> bool:
    """Wait; return False as soon as somebody else has started or stopped the machine."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(_POLL_S, left))
        if locks.holder(paths.pidfile) is not None or (
            crashed and state.observe(paths).state is not MachineState.CRASHED
        ):
            return False
    return True


def _start(paths: MachinePaths, start: Callable[[], object]) -> PommelError | None:
    try:
        start()
    except StateError as failure:  # somebody else may have been faster
        return None if state.observe(paths).alive else failure
    except PommelError as failure:
        return failure
    return None
