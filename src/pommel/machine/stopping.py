"""The ladder that stops a machine: ACPI, QMP quit, SIGTERM, SIGKILL. Band: shell.

Each rung is tried only when the one before did not end QEMU. The first three let QEMU write its disk out; only the last
one takes that away. The process is pinned, so no rung ever meets a stranger. The machine's lock is
held for the tidying alone: a second `stop --force` can overtake a patient one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pommel.errors import BusyError, MachineError, PommelError
from pommel.machine.exclusive import serialised, sweep
from pommel.machine.pinned import Pinned, pin_holder
from pommel.machine.runstate import can_power_down, let_go_command
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, warn

if TYPE_CHECKING:
    from pommel.machine.qmp import Qmp

_TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each rung may take. `quit` is long: QEMU may have much of its disk's cache to write out."""

    qmp_s: float = 2.0
    quit_s: float = 20.0
    term_s: float = 5.0
    kill_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """How the machine came to stop: `acpi`, `quit`, `term`, `kill` or `already stopped`; and in what time."""

    how: str
    took_s: float


def stop(
    paths: MachinePaths,
    *,
    timeout_s: float = 60.0,
    force: bool = False,
    report: Report = ignore,
    patience: Patience = Patience(),
) -> Stopped:
    """Stop the machine; the guest has `timeout_s` to power itself down, or none with `force`.

    Ctrl-C while it waits leaves the machine as it is. What a crashed one left behind is tidied up.

    Raises:
        BusyError: it is not running, and somebody else is at work on it.
        NotPermitted: its QEMU belongs to another user or container.
        MachineError: not even SIGKILL ends it (the host's disk hangs).
    """
    began = time.monotonic()
    with pin_holder(paths.pidfile) as qemu:
        how = "already stopped" if qemu is None else _Ladder(paths, qemu, report, patience).climb(timeout_s, force)
    try:
        with serialised(paths):
            sweep(paths)
    except BusyError:
        if how == "already stopped":  # perhaps it is just being started
            raise
    took = time.monotonic() - began
    report(Progress("stop", f"{paths.name}: {_SAID[how]}", done=took, unit="s", finished=True))
    return Stopped(how, took)


_SAID = {
    "acpi": "the guest powered down",
    "quit": "QEMU was told to quit",
    "term": "QEMU was ended by SIGTERM",
    "kill": "QEMU was killed; what it had not written is lost",
    "already stopped": "it was not running",
}


class _Ladder:
    def __init__(self, paths: MachinePaths, qemu: Pinned, report: Report, patience: Patience) -> None:
        self._paths, self._qemu, self._report, self._patience = paths, qemu, report, patience
        self._heard = True  # until QMP is silent: then no rung waits for it again

    def climb(self, timeout_s: float, force: bool) -> str:
        """Try rung after rung; return the name of the one that did it."""
        if not force and timeout_s > 0 and self._acpi(timeout_s):
            return "acpi"
        if self._ask(_quit) and self._wait("waiting for QEMU to quit", self._patience.quit_s):
            return "quit"
        self._qemu.send(signal.SIGTERM)
        if self._wait("waiting for QEMU to end", self._patience.term_s):
            return "term"
        self._qemu.send(signal.SIGKILL)
        if self._wait("waiting for QEMU to die", self._patience.kill_s):
            return "kill"
        raise MachineError(
            f"{self._paths.name} does not end, not even by SIGKILL (pid {self._qemu.pid})",
            hint="its storage may hang: see dmesg",
        )

    def _acpi(self, timeout_s: float) -> bool:
        """Press the power button, and again half-way: a guest that was still booting missed the first time."""
        half = timeout_s / 2
        for before in (0.0, half):
            if not self._ask(_press):
                break
            if self._wait("waiting for the guest to power down", half, before, timeout_s):
                return True
        else:
            warn(self._report, f"{self._paths.name} did not power down in {timeout_s:g} s")
        return self._qemu.ended()

    def _ask(self, what: Callable[[Qmp], Awaitable[bool]]) -> bool:
        """Do `what` over QMP, on the watcher's socket when the first is taken. False: in vain, or nobody answers."""
        from pommel.machine import qmp

        for path in (self._paths.qmp, self._paths.qmp_watch) if self._heard else ():
            try:
                return qmp.run(qmp.within(path, self._patience.qmp_s, what))
            except PommelError as failure:
                if self._qemu.ended():
                    return False
                warn(self._report, f"{self._paths.name}: {failure.message}")
        self._heard = False
        return False

    def _wait(self, text: str, seconds: float, before_s: float = 0.0, total_s: float | None = None) -> bool:
        """Wait for QEMU's end, telling every half second how long it has been."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            self._report(Progress("stop", text, before_s + waited, total_s or seconds, "s"))
            if self._qemu.ended(min(_TICK_S, seconds - waited)):
                return True
        return self._qemu.ended()


async def _press(monitor: Qmp) -> bool:
    """Press the power button of a guest that runs; False when the guest is past obeying."""
    status = await monitor.status()
    if not can_power_down(status):
        return False
    if command := let_go_command(status):
        await monitor.execute(command)
    await monitor.execute("system_powerdown")
    return True


async def _quit(monitor: Qmp) -> bool:
    await monitor.execute("quit")
    return True
