"""Stay with a machine, and start it again when it crashes. Band: shell.

Whether and when, `restarting` decides; how to start is the caller's. A machine that ended in any orderly way is left
alone: its guest powered down, somebody stopped it, the host goes down.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pommel import locks
from pommel.errors import MachineError, PommelError, StateError
from pommel.machine import state
from pommel.machine.ending import wait_end
from pommel.machine.events import Word, note_event
from pommel.machine.restarting import USUAL, Choice, Limits, judge, recent_only
from pommel.machine.runstate import Ended, How, State
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn

__all__ = ["Limits", "watch"]

_POLL_S = 0.25


def watch(
    paths: MachinePaths,
    start: Callable[[], object],
    *,
    limits: Limits = USUAL,
    on_tick: Callable[[], None] = lambda: None,
    report: Report = ignore,
    clock: Callable[[], float] = time.monotonic,
) -> Ended:
    """Wait for the end of the running machine, start it again each time it crashes; return how it ended for good.

    `start` starts it as it was started first. One that fails counts as a crash. Stopping a machine that has crashed
    ends the watch too. Ctrl-C ends the watch, and nothing else. `on_tick` is called about once a minute meanwhile.

    Raises:
        MachineError: it crashed more often than `limits` allow, or could not be started again as often.
    """
    restarts: tuple[float, ...] = ()
    failed: PommelError | None = None
    while True:
        ended = wait_end(paths, on_tick=on_tick) if failed is None else Ended(How.CRASHED, failed.message)
        verdict = judge(ended, restarts, clock(), limits)
        if verdict.choice is Choice.LEAVE:
            note(report, f"{paths.name}: {verdict.text}")
            return ended
        if verdict.choice is Choice.GIVE_UP:
            note_event(paths, Word.GIVEN_UP, verdict.text)
            raise MachineError(f"{paths.name} is not restarted: {verdict.text}", hint=f"pommel log {paths.name}")
        note_event(paths, Word.RESTART, verdict.text)
        warn(report, f"{paths.name} crashed and is started again {verdict.text}")
        if not _rest(paths, verdict.wait_s, crashed=failed is None):
            failed = None
            continue  # somebody else has started or stopped it, which `wait_end` tells
        restarts = (*recent_only(restarts, clock(), limits), clock())
        failed = _start(paths, start)


def _rest(paths: MachinePaths, seconds: float, *, crashed: bool) -> bool:
    """Wait; False as soon as somebody else has done something about the machine."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(_POLL_S, left))
        if locks.holder(paths.pidfile) is not None or (crashed and state.observe(paths).state is not State.CRASHED):
            return False
    return True


def _start(paths: MachinePaths, start: Callable[[], object]) -> PommelError | None:
    try:
        start()
    except StateError as failure:  # somebody else was quicker, perhaps
        return None if state.observe(paths).alive else failure
    except PommelError as failure:
        return failure
    return None
