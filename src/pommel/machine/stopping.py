"""The ladder that stops a machine: a word to its guest, ACPI, QMP quit, SIGTERM, SIGKILL. Band: shell.

Each rung is tried only when the one before did not end QEMU. All but the last let QEMU write its disk out. A guest that
could not be asked, neither from inside nor by QMP, is left running unless it is to be forced: it is at work, perhaps.
The process is pinned, so no rung ever meets a stranger. The machine's lock is held for the tidying alone: a second
`stop --force` can overtake a patient one.
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
from pommel.handles import Handle
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
_AGAIN_S = 0.3  # in which a guest that was let go on tries its write again


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each rung may take. `quit` is long: QEMU may have much of its disk's cache to write out."""

    qmp_s: float = 2.0
    quit_s: float = 20.0
    term_s: float = 5.0
    kill_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """How the machine came to stop: `guest`, `acpi`, `quit`, `term`, `kill` or `already stopped`; and in what time."""

    how: str
    took_s: float

    @property
    def text(self) -> str:
        """The same for a person."""
        return _SAID[self.how]


def stop(
    paths: MachinePaths,
    *,
    timeout_s: float = 60.0,
    force: bool = False,
    report: Report = ignore,
    patience: Patience = Patience(),
    ask_guest: AskGuest | None = None,
) -> Stopped:
    """Stop the machine; the guest has `timeout_s` to power itself down, or none with `force`.

    `ask_guest` tells the guest from inside to shut down and returns whether it was heard; it must not take long. Then
    the first half of the time is the guest's own, and the power button is pressed in the second.
    Ctrl-C while it waits leaves the machine as it is, and says so. What a crashed one left behind is tidied up.

    Raises:
        BusyError: it is not running, and somebody else is at work on it.
        NotPermitted: its QEMU belongs to another user or container.
        MachineError: its guest cannot be asked, and it is not to be forced; or not even SIGKILL ends it.
    """
    began = time.monotonic()
    with pin_holder(paths.pidfile) as qemu:
        how = "already stopped"
        if qemu is not None:
            ladder = _Ladder(paths, qemu, report, patience, ask_guest)
            # The guest of one that was cut off as it fell asleep or woke up must not run: it would wake up once more.
            force = force or sleeps(paths)
            how = _climbed(paths, ladder, 0.0 if force else timeout_s, force)
            note_event(paths, Word.STOPPED, _SAID[how])  # before the sweep: whoever watches then knows what it sees
    try:
        with serialised(paths):
            if how == "already stopped" and paths.pidfile.exists() and locks.holder(paths.pidfile) is None:
                note_crash(paths)
                note_event(paths, Word.STOPPED, "the files that the crash left behind are removed")
            sweep(paths)
    except BusyError:
        if how == "already stopped":  # perhaps it is just being started
            raise
    took = time.monotonic() - began
    report(Progress("stop", f"{paths.name}: {_SAID[how]}", done=took, unit="s", finished=True))
    return Stopped(how, took)


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
        self, paths: MachinePaths, qemu: Handle, report: Report, patience: Patience, ask_guest: AskGuest | None
    ) -> None:
        self._paths, self._qemu, self.report, self._patience = paths, qemu, report, patience
        self._ask_guest = ask_guest
        self._heard = True  # until QMP is silent: then no rung waits for it again
        self._asked = ""  # who has been asked to end it
        self._pressed = False

    def climb(self, timeout_s: float, force: bool) -> str:
        """Try rung after rung, the guest's own only if it gets time; return the name of the one that did it."""
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
        note_event(self._paths, Word.KILL)  # so that nobody takes it for a crash
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
        """How the machine is when nobody waits any longer."""
        if self._qemu.ended():
            return "has ended"
        return "still runs" + (f"; its {self._asked} was asked to end, and may still do so" if self._asked else "")

    def _guests_own(self, timeout_s: float) -> str | None:
        used = 0.0
        if self._ask_guest is not None:
            used = timeout_s / 2 if self._inside(self._ask_guest) else 0.0
            # It was told, and no button can be pressed: then all the time is its own.
            used = timeout_s if used and not self._heard else used
            if self._wait("waiting for the guest to shut down", used, 0.0, timeout_s):
                return "guest"
        if not self._acpi(used, timeout_s):
            return None
        return "guest" if self._ask_guest is not None and not self._pressed else "acpi"

    def _inside(self, ask_guest: AskGuest) -> bool:
        """Tell the guest from inside; whether it heard."""
        self._ask(_let_go)  # one whose vCPUs stand hears nothing
        self.report(Progress("stop", f"asking the guest of {self._paths.name} to shut down"))
        try:
            heard = ask_guest()
        except PommelError as failure:
            warn(self.report, f"{self._paths.name}: {failure.message}")
            return False
        self._asked = "guest" if heard else ""
        return heard

    def _acpi(self, used_s: float, timeout_s: float) -> bool:
        """Press the power button, and again half-way: a guest that was still booting missed the first time."""
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
        """Do `what` over QMP, on the watcher's socket when the first is taken. False: in vain, or nobody answers."""
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
        """Wait for QEMU's end, telling every half second how long it has been."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            self.report(Progress("stop", text, before_s + waited, total_s or seconds, "s"))
            if self._qemu.ended(min(_TICK_S, seconds - waited)):
                return True
        return self._qemu.ended()


async def _let_go(monitor: Qmp) -> bool:
    """Let a guest that stands go on; False when it is past obeying."""
    status = await monitor.status()
    if command := let_go_command(status):
        if not can_power_down(status) and status != NO_ROOM:
            return False
        await monitor.execute(command)
    if status == NO_ROOM:  # perhaps there is room by now
        await asyncio.sleep(_AGAIN_S)
        return await monitor.status() != NO_ROOM
    return True


async def _press(monitor: Qmp) -> bool:
    """Press the power button of a guest that runs, or can be let go on; False when it is past obeying."""
    if not await _let_go(monitor):
        return False
    await monitor.execute("system_powerdown")
    return True


async def _quit(monitor: Qmp) -> bool:
    await monitor.execute("quit")
    return True
