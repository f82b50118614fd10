"""Set a guest's clock after a rest, in a process of its own, so that no command waits for it. Band: app.

A machine rests while its vCPUs are paused, while it sleeps on disk, and while the host is suspended; a load of a
snapshot counts too. A suspended host is noticed by the processes that accompany a running machine (its console, `start
--foreground`, a watch): CLOCK_BOOTTIME includes the time of suspension, CLOCK_MONOTONIC does not (clock_gettime(2)).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable

from pommel import locks
from pommel.app import own_process
from pommel.app.guest import clock
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import AddressError, BusyError, DeadlineError, NotPermitted, PommelError, StateError
from pommel.machine import state
from pommel.machine.events import Word, note_event, read
from pommel.paths import MachinePaths
from pommel.tasks import background

WORTH_S = 2.0  # a shorter rest is not worth a login
PATIENCE_S = 600.0  # for a guest that answers SSH only after some time
_LOGIN_S, _SLOW_LOGIN_S = 60.0, 240.0  # for an emulated guest on a busy host; each try may take longer than the last
_AGAIN_S = 3.0
_POLL_S = 5.0


def begin(workspace: Workspace, name: str, rested_s: float) -> None:
    """Start a process that sets the clock of machine `name` after a rest. It does not wait and raises no error.

    Nothing is done for a guest without a known host key: there has never been a login, so a try would fail.
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
    """Wait until the guest answers, and set its clock. The result is in events.log. None: another process does it.

    Raises:
        PommelError: it cannot be set; the machine keeps running.
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
    """How long a machine that is about to be resumed was paused; at most its uptime."""
    events = read(paths)
    since = next((each.time for each in reversed(events) if each.word in (Word.SUSPENDED, Word.RUNNING)), None)
    return _since(since) if since is not None else state.observe(paths).uptime_s or 0.0


def since_s(created: str) -> float:
    """The age of a snapshot in seconds, from its record's `created`."""
    try:
        return _since(datetime.datetime.fromisoformat(created))
    except (ValueError, TypeError):
        return 0.0


class HostSleep:
    """Measures how long the host was suspended since the last call."""

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
    """A function to be called repeatedly while the machine runs: after a suspension of the host it sets the clock."""
    host = sleep or HostSleep()

    def tick() -> None:
        if (slept_s := host.since_last_s()) >= WORTH_S:
            note_event(workspace.paths(name), "host was suspended", f"for {slept_s:.0f} s")
            begin(workspace, name, slept_s)

    return tick


@contextlib.asynccontextmanager
async def following(workspace: Workspace, name: str) -> AsyncIterator[None]:
    """Set the clock after each suspension of the host during the block."""
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
    """Whether another try is useless, because the guest answers and refuses."""
    lasting = isinstance(failure, NotPermitted | StateError) and not isinstance(failure, AddressError)
    return lasting or "Permission denied" in failure.message
