"""What puts a guest's clock right after a rest: a process of its own, so that nothing waits for it. Band: app.

A machine rests when its vCPUs are held, when it sleeps on disk, when it is put back to a snapshot, and when the host is
suspended. The last is seen by whatever stays with a running machine (its console, `start --foreground`, a watch): the
kernel counts a suspended host's time in CLOCK_BOOTTIME and not in CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable

from pommel import locks
from pommel.app import clock, own_process
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import AddressError, BusyError, DeadlineError, NotPermitted, PommelError, StateError
from pommel.machine import state
from pommel.machine.events import Word, note_event, read
from pommel.paths import MachinePaths
from pommel.tasks import background

WORTH_S = 2.0  # a rest that is worth a login
PATIENCE_S = 600.0  # for a guest that answers again only after a while
_LOGIN_S, _SLOW_LOGIN_S = 60.0, 240.0  # an emulated guest on a busy host takes its time, and each try may take longer
_AGAIN_S = 3.0
_POLL_S = 5.0


def begin(workspace: Workspace, name: str, rested_s: float) -> None:
    """Have the clock of machine `name` put right, which rested for so long. Waits for nothing and never fails.

    Only of a guest that lets us in: of one that nobody has ever been let in to, nothing is known.
    """
    paths = workspace.paths(name)
    with contextlib.suppress(PommelError, OSError):
        spec = workspace.spec(name)
        known = spec.upstream == TRIAL or paths.known_hosts.exists()
        if rested_s < WORTH_S or not spec.set_clock or not known:
            return
        log = paths.runtime / "clock.log"
        own_process.spawn(workspace, "clock", name, "--rested", f"{rested_s:.0f}", log=log).release()


def after_rest(workspace: Workspace, name: str, rested_s: float) -> clock.Clock | None:
    """Wait until the guest answers, and put its clock right; events.log says what came of it. None: another does it.

    Raises:
        PommelError: it cannot be; the machine goes on all the same.
    """
    paths = workspace.paths(name)
    until, login_s = time.monotonic() + PATIENCE_S, _LOGIN_S
    try:
        with locks.hold(paths.runtime / "clock.lock", busy="another process is setting the clock"):
            while True:
                try:
                    found = clock.put_right(name, lost_s=rested_s, workspace=workspace, timeout_s=login_s)
                    break
                except PommelError as failure:
                    gone = not state.observe(paths).alive
                    if gone or time.monotonic() > until or _is_final(failure):
                        if not gone:
                            note_event(paths, "clock not set", failure.message)
                        raise
                    login_s = min(2 * login_s, _SLOW_LOGIN_S) if isinstance(failure, DeadlineError) else login_s
                time.sleep(_AGAIN_S)
    except BusyError:
        return None
    if found.why:
        note_event(paths, "clock not set", found.why)
    return found


def held_for_s(paths: MachinePaths) -> float:
    """How long the machine has been held that is about to go on; at most as long as it has run."""
    events = read(paths)
    since = next((each.time for each in reversed(events) if each.word in (Word.SUSPENDED, Word.RUNNING)), None)
    return _since(since) if since is not None else state.observe(paths).uptime_s or 0.0


def since_s(created: str) -> float:
    """How long ago a snapshot was made, by its record."""
    try:
        return _since(datetime.datetime.fromisoformat(created))
    except (ValueError, TypeError):
        return 0.0


class HostSleep:
    """Tells by how much the host was suspended since it was asked last."""

    def __init__(self, now: Callable[[], tuple[float, float]] | None = None) -> None:
        self._now = now or _clocks
        self._before_s = self._slept_s()

    def _slept_s(self) -> float:
        boottime_s, monotonic_s = self._now()
        return boottime_s - monotonic_s

    def since_last_s(self) -> float:
        """Seconds that the host was suspended since the last call."""
        before_s, self._before_s = self._before_s, self._slept_s()
        return max(0.0, self._before_s - before_s)


def ticker(workspace: Workspace, name: str, sleep: HostSleep | None = None) -> Callable[[], None]:
    """A function to call now and then while the machine runs: it sees to the clock when the host was suspended."""
    host = sleep or HostSleep()

    def tick() -> None:
        if (slept_s := host.since_last_s()) >= WORTH_S:
            note_event(workspace.paths(name), "host was suspended", f"for {slept_s:.0f} s")
            begin(workspace, name, slept_s)

    return tick


@contextlib.asynccontextmanager
async def following(workspace: Workspace, name: str) -> AsyncIterator[None]:
    """See to the clock for the time of the block, in a running loop."""
    tick = ticker(workspace, name)

    async def follow() -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            await asyncio.to_thread(tick)

    async with background(follow()):
        yield


def _clocks() -> tuple[float, float]:
    if not hasattr(time, "CLOCK_BOOTTIME"):  # a Mac
        return 0.0, 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME), time.clock_gettime(time.CLOCK_MONOTONIC)


def _since(when: datetime.datetime) -> float:
    return max(0.0, (datetime.datetime.now(datetime.UTC) - when).total_seconds())


def _is_final(failure: PommelError) -> bool:
    """Whether to try again is of no use: the guest is there and will not have it."""
    lasting = isinstance(failure, NotPermitted | StateError) and not isinstance(failure, AddressError)
    return lasting or "Permission denied" in failure.message
