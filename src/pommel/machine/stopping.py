"""The steps that stop a machine: a request to its guest, ACPI, QMP quit, SIGTERM, SIGKILL. Band: shell.

Each step is tried only if the one before did not end QEMU. All but the last let QEMU write its disk. A guest that could
not be asked, neither from inside nor by QMP, stays running unless `force` is given: it may be in the middle of work.
The process is pinned, so no step can reach another process. The machine's lock is held for the cleanup only, so that
a second `stop --force` can overtake a waiting one.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pommel import locks
from pommel.errors import BusyError, MachineError, PommelError
from pommel.handles import ProcessHandle
from pommel.machine.ending import note_crash
from pommel.machine.events import Word, note_event
from pommel.machine.exclusive import serialised, sweep
from pommel.machine.permission import sleeps
from pommel.machine.pinned import pin_holder
from pommel.machine.runstate import NO_ROOM, can_power_down, let_go_command
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, warn

if TYPE_CHECKING:
    from pommel.machine.qmp import Qmp

AskGuest = Callable[[], bool]
_TICK_S = 0.5
_ENDING_S = 0.25  # a QEMU that closes its monitor is about to end
_AGAIN_S = 0.3  # in this time a continued guest tries its write again


@dataclass(frozen=True, slots=True)
class Patience:
    """The time limits of the steps. `quit` is long: QEMU may have much of its disk's cache to write."""

    qmp_s: float = 2.0
    quit_s: float = 20.0
    term_s: float = 5.0
    kill_s: float = 10.0


@dataclass(frozen=True, slots=True)
class StopResult:
    """How the machine stopped: `guest`, `acpi`, `quit`, `term`, `kill` or `already stopped`; and the time it took."""

    how: str
    took_s: float

    @property
    def text(self) -> str:
        """The same as text for people."""
        return _SAID[self.how]


def stop(
    paths: MachinePaths,
    *,
    timeout_s: float = 60.0,
    force: bool = False,
    report: Report = ignore,
    patience: Patience = Patience(),
    ask_guest: AskGuest | None = None,
) -> StopResult:
    """Stop the machine; the guest has `timeout_s` to power itself down, or none with `force`.

    `ask_guest` asks the guest from inside to shut down and returns whether the request arrived; it must be quick. Then
    the first half of the time is for this request, and the power button is pressed in the second.
    Ctrl-C during the wait leaves the machine as it is, with a message. The remains of a crash are removed.

    Raises:
        BusyError: it is not running, and another process works on it.
        NotPermitted: its QEMU belongs to another user or container.
        MachineError: its guest cannot be asked, and `force` is not given; or even SIGKILL does not end it.
    """
    began = time.monotonic()
    with pin_holder(paths.pidfile) as qemu:
        how = "already stopped"
        if qemu is not None:
            ladder = _Ladder(paths, qemu, report, patience, ask_guest)
            # A guest that was interrupted as it fell asleep or woke up must not run: it would wake up a second time.
            force = force or sleeps(paths)
            how = _climbed(paths, ladder, 0.0 if force else timeout_s, force)
            # Before the sweep, so that a watcher knows the reason of what it sees.
            note_event(paths, Word.STOPPED, _SAID[how])
    try:
        with serialised(paths):
            if how == "already stopped" and paths.pidfile.exists() and locks.holder(paths.pidfile) is None:
                note_crash(paths)
                note_event(paths, Word.STOPPED, "the files that the crash left behind are removed")
            sweep(paths)
    except BusyError:
        if how == "already stopped":  # another process may be starting it
            raise
    took = time.monotonic() - began
    report(Progress("stop", f"{paths.name}: {_SAID[how]}", done=took, unit="s", finished=True))
    return StopResult(how, took)


_SAID = {
    "guest": "the guest was asked over SSH to shut down, and did",
    "acpi": "the guest shut down after its power button was pressed",
    "quit": "QEMU was asked to quit",
    "term": "QEMU was ended by SIGTERM",
    "kill": "QEMU was killed; unwritten data is lost, and its disk may need a check (qemu-img check)",
    "already stopped": "it was not running",
}


def _climbed(paths: MachinePaths, ladder: _Ladder, timeout_s: float, force: bool) -> str:
    note_event(paths, Word.STOP, f"the guest has {timeout_s:g} s" if timeout_s > 0 else "at once")
    try:
        return ladder.climb(timeout_s, force)
    except KeyboardInterrupt:
        note_event(paths, Word.STOP_OFF, "by Ctrl-C")
        warn(ladder.report, f"no longer waiting: {paths.name} {ladder.standing()}")
        raise


class _Ladder:
    def __init__(
        self, paths: MachinePaths, qemu: ProcessHandle, report: Report, patience: Patience, ask_guest: AskGuest | None
    ) -> None:
        self._paths, self._qemu, self.report, self._patience = paths, qemu, report, patience
        self._ask_guest = ask_guest
        self._heard = True  # until QMP does not answer: then no step waits for it again
        self._asked = ""  # who has been asked to end
        self._pressed = False

    def climb(self, timeout_s: float, force: bool) -> str:
        """Try the steps in order, the guest's own only if it has time; return the name of the one that ended QEMU."""
        if timeout_s > 0 and (how := self._guests_own(timeout_s)):
            return how
        quits = self._ask(_quit)
        if not force and not quits:
            self._must_have_asked()
        self._asked = "QEMU"
        if quits and self._wait("waiting for QEMU to quit", self._patience.quit_s):
            return "quit"
        self._qemu.send(signal.SIGTERM)
        if self._wait("waiting for QEMU to end", self._patience.term_s):
            return "term"
        note_event(self._paths, Word.KILL)  # so that it is not taken for a crash
        self._qemu.send(signal.SIGKILL)
        if self._wait("waiting for QEMU to die", self._patience.kill_s):
            return "kill"
        raise MachineError(
            f"{self._paths.name} does not end, not even after SIGKILL (pid {self._qemu.pid})",
            hint="its storage may hang: see dmesg",
        )

    def _must_have_asked(self) -> None:
        if not self._heard and not self._asked and not self._qemu.ended(_ENDING_S):
            name = self._paths.name
            note_event(self._paths, Word.STOP_OFF, "its guest cannot be asked to shut down")
            raise MachineError(
                f"{name} still runs: its guest cannot be asked to shut down, because QEMU's monitor does "
                "not answer"
                + ("" if self._paths.qmp.exists() else f" (its sockets are missing in {self._paths.runtime})"),
                hint=f"shut it down in the guest, or end it like a power cut: pommel stop --force {name}",
            )

    def standing(self) -> str:
        """The state of the machine when the wait ends."""
        if self._qemu.ended():
            return "has ended"
        return "still runs" + (f"; its {self._asked} was asked to end, and may still do so" if self._asked else "")

    def _guests_own(self, timeout_s: float) -> str | None:
        used = 0.0
        if self._ask_guest is not None:
            used = timeout_s / 2 if self._inside(self._ask_guest) else 0.0
            # The request arrived, and the button cannot be pressed: then the guest gets all the time.
            used = timeout_s if used and not self._heard else used
            if self._wait("waiting for the guest to shut down", used, 0.0, timeout_s):
                return "guest"
        if not self._acpi(used, timeout_s):
            return None
        return "guest" if self._ask_guest is not None and not self._pressed else "acpi"

    def _inside(self, ask_guest: AskGuest) -> bool:
        """Ask the guest from inside; return whether the request arrived."""
        self._ask(_let_go)  # a guest with stopped vCPUs would not get the request
        self.report(Progress("stop", f"asking the guest of {self._paths.name} to shut down"))
        try:
            heard = ask_guest()
        except PommelError as failure:
            warn(self.report, f"{self._paths.name}: {failure.message}")
            return False
        self._asked = "guest" if heard else ""
        return heard

    def _acpi(self, used_s: float, timeout_s: float) -> bool:
        """Press the power button, and again after half the time: a booting guest missed the first press."""
        half = (timeout_s - used_s) / 2
        for before in (used_s, used_s + half):
            if not self._ask(_press):
                break
            self._asked, self._pressed = "guest", True
            if self._wait("power button pressed: waiting for the guest", half, before, timeout_s):
                return True
        else:
            warn(self.report, f"{self._paths.name} did not shut down within {timeout_s:g} s")
        return self._qemu.ended()

    def _ask(self, what: Callable[[Qmp], Awaitable[bool]]) -> bool:
        """Do `what` over QMP, on the watcher's socket if the first is taken. False: no success, or no answer."""
        from pommel.machine import qmp

        for path in (self._paths.qmp, self._paths.qmp_watch) if self._heard else ():
            try:
                return qmp.run(qmp.within(path, self._patience.qmp_s, what))
            except PommelError as failure:
                if self._qemu.ended(_ENDING_S):
                    return False
                warn(self.report, f"{self._paths.name}: {failure.message}")
        self._heard = False
        return False

    def _wait(self, text: str, seconds: float, before_s: float = 0.0, total_s: float | None = None) -> bool:
        """Wait for QEMU's end, and report the elapsed time every half second."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            self.report(Progress("stop", text, before_s + waited, total_s or seconds, "s"))
            if self._qemu.ended(min(_TICK_S, seconds - waited)):
                return True
        return self._qemu.ended()


async def _let_go(monitor: Qmp) -> bool:
    """Let a paused guest continue; False if it cannot react any more."""
    status = await monitor.status()
    if command := let_go_command(status):
        if not can_power_down(status) and status != NO_ROOM:
            return False
        await monitor.execute(command)
    if status == NO_ROOM:  # perhaps there is space by now
        await asyncio.sleep(_AGAIN_S)
        return await monitor.status() != NO_ROOM
    return True


async def _press(monitor: Qmp) -> bool:
    """Press the power button of a guest that runs, or can be continued; False if it cannot react any more."""
    if not await _let_go(monitor):
        return False
    await monitor.execute("system_powerdown")
    return True


async def _quit(monitor: Qmp) -> bool:
    await monitor.execute("quit")
    return True
