"""The states of a machine, and the meaning of QEMU's own words for them. Band: core, no I/O.

It does not determine them; `state` does.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class MachineState(StrEnum):
    """The state of a machine."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    CRASHED = "crashed"  # QEMU ended without an orderly end


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at a machine. `detail` has more information, if there is any; `since` is in UTC."""

    name: str
    state: MachineState
    pid: int | None = None
    since: datetime.datetime | None = None
    uptime_s: float | None = None
    accel: str | None = None
    detail: str = ""

    @property
    def alive(self) -> bool:
        """Whether QEMU runs, and so the disk is in use."""
        return self.state in (MachineState.STARTING, MachineState.RUNNING, MachineState.PAUSED)


class How(StrEnum):
    """The ways a run ends."""

    GUEST = "guest"  # it powered itself down
    STOPPED = "stopped"  # by Pommel's stop
    SIGNAL = "signal"  # a signal that QEMU obeys; a host that shuts down sends one
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, and a description for a person."""

    how: How
    detail: str


# qapi/run-state.json, RunState. The others are temporary states of a machine that continues by itself.
_PAUSED = {
    "paused": "",
    "prelaunch": "it waits for a command to begin",
    "suspended": "the guest sleeps",
    "io-error": "its disk cannot be written; the host's disk may be full: df -h",
    "internal-error": "the accelerator cannot continue; it can only be stopped",
    "guest-panicked": "the guest's kernel panicked; it can only be stopped",
    "watchdog": "its watchdog timed out",
    "shutdown": "the guest has powered down; it can only be stopped",
    "debug": "a debugger has paused it",
}
NO_ROOM = "io-error"
FULL = "the host's disk is full (df -h {folder}): free some space, then: pommel resume {name}"
_BEYOND_ACPI = frozenset({"io-error", "internal-error", "guest-panicked", "shutdown"})


def read_status(status: str) -> tuple[MachineState, str]:
    """Translate the `status` of QMP's query-status to a state and a description."""
    if status in _PAUSED:
        return MachineState.PAUSED, _PAUSED[status]
    return MachineState.RUNNING, "" if status == "running" else f"QEMU says: {status}"


def can_power_down(status: str) -> bool:
    """Whether a guest in QMP's `status` could react to the power button once its vCPUs continue."""
    return status not in _BEYOND_ACPI


def standing(status: str) -> Literal["paused", "no-room", "stuck"] | None:
    """What a guest in QMP's `status` needs: to be continued, space for its disk, or a stop.

    None: it runs, or continues by itself; one that sleeps is woken up by a key.
    """
    if status == NO_ROOM:
        return "no-room"
    if status not in _PAUSED or status == "suspended":
        return None
    return "paused" if can_power_down(status) else "stuck"


def let_go_command(status: str) -> str | None:
    """The QMP command that continues a guest in `status`, so that it sees the power button; None: it runs."""
    if status == "suspended":
        return "system_wakeup"
    return "cont" if status in _PAUSED else None
