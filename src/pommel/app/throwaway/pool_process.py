"""The process that keeps machines warm, and gives them to other processes. Band: app.

Each home has at most one; it holds a lock. Its main thread makes machines, and deletes those that are not wanted any
more or are out of date. Another thread answers requests, so that nobody waits for a boot of another machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pommel import locks
from pommel.app.throwaway import base as bases
from pommel.app.throwaway import handing, holding, pool, starting
from pommel.app.throwaway.pool import PoolWish
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError
from pommel.host import ram
from pommel.machine import lease
from pommel.machine.lease import Lease
from pommel.machine.lifecycle import Ends
from pommel.paths import MachinePaths
from pommel.progress import Report, note
from pommel.settings import format_size

_TICK_S = 5.0
_QUIET_S = 2.0  # after a machine is taken, no new one is made for this time: a short command gets the whole host
_AGAIN_S, _AGAIN_MOST_S = 5.0, 300.0
_SPARE_BYTES = 512 << 20  # of the host's memory that must stay free after a new warm machine


@dataclass(frozen=True, slots=True)
class Warm:
    """A machine that is ready. `mark` is the fingerprint at its making, `pipe` keeps its QEMU running."""

    paths: MachinePaths
    image: str
    base: str
    mark: str
    from_memory: bool
    pipe: int


@dataclass(slots=True)
class _Trouble:
    """Why an image's machine could not be made, and when to try again (monotonic seconds)."""

    why: str
    again: float
    pause_s: float


class Start(Protocol):
    """A function that starts a clone and waits until it can be used; it returns whether saved memory was used."""

    def __call__(
        self,
        workspace: Workspace,
        paths: MachinePaths,
        base: MachinePaths,
        flags: Mapping[str, Any] | None,
        *,
        ends: Ends,
        report: Report,
    ) -> bool:
        """Raises: MachineError, DeadlineError, CommandFailed: the clone does not start."""


def serve(workspace: Workspace, *, start: Start = starting.connected, report: Report) -> None:
    """Keep the wished machines warm, until there are no wishes, or until Ctrl-C. Then the remaining ones are ended.

    Raises:
        BusyError: another process does this already.
    """
    paths = workspace.home.pool
    paths.make()
    with locks.hold(paths.lock, busy="the machines of this home are kept warm already"):
        _Keeper(workspace, start, report).run()


class _Keeper:
    def __init__(self, workspace: Workspace, start: Start, report: Report) -> None:
        self._workspace, self._start, self._report = workspace, start, report
        self._guard = threading.Lock()  # for the fields that both threads use
        self._ready: list[Warm] = []
        self._doomed: list[Warm] = []
        self._making: str | None = None
        self._ending = False
        self._changed = threading.Event()
        self._taken = -_QUIET_S  # the time when a machine was last taken, in monotonic seconds
        self._troubles: dict[str, _Trouble] = {}

    def run(self) -> None:
        """Work until there is nothing to do."""
        try:
            with handing.answering(self._workspace.home.pool.socket, self._answer):
                while self._turn():
                    pass
        finally:
            for warm in [*self._ready, *self._doomed]:
                self._discard(warm)

    def _turn(self) -> bool:
        self._changed.clear()
        with pool.changing(self._workspace.home) as wanted:
            wishes = dict(wanted)
            self._ending = not wishes  # a process with a new wish sees this in the answer, and starts another process
        for warm in self._unwanted(wishes):
            self._discard(warm)
        holding.sweep(self._workspace, report=self._report)
        if self._ending:
            return False
        image, quiet_s = self._lacking(wishes), self._taken + _QUIET_S - time.monotonic()
        if image is None or quiet_s > 0:
            self._changed.wait(_TICK_S if image is None else quiet_s)
        else:
            self._try(image, wishes[image])
        return True

    def _unwanted(self, wishes: Mapping[str, PoolWish]) -> list[Warm]:
        """Take out of the ready machines those that are too many, have ended, or are out of date; return them."""
        marks = {image: self._mark(image, wish) for image, wish in wishes.items()}
        with self._guard:
            found, self._doomed = self._doomed, []
            kept: list[Warm] = []
            for warm in self._ready:
                room = warm.image in wishes and sum(each.image == warm.image for each in kept) < wishes[warm.image].size
                fits = room and warm.mark == marks[warm.image] and _lives(warm)
                (kept if fits else found).append(warm)
            self._ready = kept
        return found

    def _mark(self, image: str, wish: PoolWish) -> str | None:
        try:
            here = pool.workspace_of(self._workspace, wish)
            return bases.fingerprint(here, bases.resolve(here, image), wish.flags)
        except PommelError:  # the error is reported when the next machine is made
            return None

    def _lacking(self, wishes: Mapping[str, PoolWish]) -> str | None:
        """The image that needs another machine now; None: none does."""
        self._troubles = {image: trouble for image, trouble in self._troubles.items() if image in wishes}
        now = time.monotonic()
        with self._guard:
            for image, wish in wishes.items():
                trouble = self._troubles.get(image)
                if sum(warm.image == image for warm in self._ready) < wish.size and (
                    not trouble or trouble.again <= now
                ):
                    return image
        return None

    def _try(self, image: str, wish: PoolWish) -> None:
        self._making = image
        try:
            warm = self._make(image, wish)
        except (PommelError, OSError) as failure:
            why = failure.message if isinstance(failure, PommelError) else str(failure)
            before = self._troubles.get(image)
            pause_s = min(2 * before.pause_s, _AGAIN_MOST_S) if before else _AGAIN_S
            self._troubles[image] = _Trouble(why, time.monotonic() + pause_s, pause_s)
            note(self._report, f"{image}: {why}; the next try is in {pause_s:.0f} s")
        else:
            with self._guard:
                self._ready.append(warm)
            self._troubles.pop(image, None)
            note(self._report, f"{warm.paths.name}, a clone of {warm.base}, is warm")
        finally:
            self._making = None

    def _make(self, image: str, wish: PoolWish) -> Warm:
        here = pool.workspace_of(self._workspace, wish)
        base = bases.resolve(here, image, report=self._report)
        _must_have_memory(here.spec(base, wish.flags).memory_bytes or 0)
        paths, told = here.paths(holding.new_name("warm")), lease.of_process(base, lease.POOL, os.getpid())
        mark = bases.fingerprint(here, base, wish.flags)  # before the start: a change meanwhile makes it out of date
        read, write = os.pipe()
        try:
            # The lock file is made before the machine: so after a kill -9, `lease` finds an incomplete machine by it.
            with locks.hold(lease.lock_of(paths), busy=f"{paths.name} is in use"):
                holding.make(here, paths, told, report=self._report)
            warm = self._start(here, paths, here.paths(base), wish.flags, ends=Ends(pipe=read), report=self._report)
        except BaseException:  # also SIGTERM
            os.close(write)
            self._remove(paths)
            raise
        finally:
            os.close(read)
        return Warm(paths, image, base, mark, warm, write)

    def _discard(self, warm: Warm) -> None:
        os.close(warm.pipe)
        self._remove(warm.paths)

    def _remove(self, paths: MachinePaths) -> None:
        with holding.undisturbed():
            try:
                holding.remove(self._workspace, paths)
                lease.lock_of(paths).unlink(missing_ok=True)
            except PommelError as failure:
                note(self._report, f"{paths.name} cannot be removed: {failure.message}")

    def _answer(self, question: Mapping[str, Any], send: Callable[[Mapping[str, Any], int | None], None]) -> None:
        if "take" not in question:
            self._changed.set()
            send(self._standing(), None)
            return
        told = Lease(**question["lease"])
        warm, why = self._choose(str(question["take"]), str(question["print"]))
        if warm is None:
            send({"why": why}, None)
            return
        self._taken = time.monotonic()
        self._changed.set()  # so that the main thread makes another one
        try:
            lease.write(warm.paths.directory, told)
            send({"name": warm.paths.name, "from_memory": warm.from_memory}, warm.pipe)
        # it is unknown whether the other side has the pipe, so the machine must not be used again
        except BaseException:
            with self._guard:
                self._doomed.append(warm)
            raise
        os.close(warm.pipe)
        note(self._report, f"{warm.paths.name} is taken, for {told.purpose}")

    def _choose(self, base: str, mark: str) -> tuple[Warm | None, str]:
        """Take a machine from the ready ones; or the reason why there is none.

        An empty reason: there is no such pool.
        """
        with self._guard:
            those = [warm for warm in self._ready if warm.base == base and _lives(warm)]
            found = next((warm for warm in those if warm.mark == mark), None)
            if found is not None:
                self._ready.remove(found)
                return found, ""
        if those:
            return None, "the ready machines have other settings"
        return None, "the next one is being made" if self._making is not None else ""

    def _standing(self) -> dict[str, Any]:
        with self._guard:
            images = sorted(
                {*(warm.image for warm in self._ready), *self._troubles, *pool.wishes(self._workspace.home)}
            )
            counts = {image: sum(warm.image == image for warm in self._ready) for image in images}
        making, troubles = self._making, dict(self._troubles)
        rows = {
            image: {
                "warm": counts[image],
                "making": making == image,
                "problem": troubles[image].why if image in troubles else None,
            }
            for image in images
        }
        return {"pools": rows, "ending": self._ending}


def _lives(warm: Warm) -> bool:
    return locks.holder(warm.paths.pidfile) is not None


def _must_have_memory(wanted_bytes: int) -> None:
    """Refuse another machine if this host has too little free memory.

    Raises:
        StateError: it has too little.
    """
    free = ram.available_bytes()
    if free is not None and free < wanted_bytes + _SPARE_BYTES:
        has, takes = format_size(free >> 20 << 20), format_size(wanted_bytes)
        raise StateError(f"a machine needs {takes}, and this host has {has} of free memory")
