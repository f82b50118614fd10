"""The states a machine can be seen in, and what QEMU's own words for them mean. Band: core, no I/O.

Says nothing about how they are found out; `state` looks.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """How a machine is."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    CRASHED = "crashed"  # QEMU is gone without having ended itself


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at a machine. `detail` says more where there is more to say; `since` is in UTC."""

    name: str
    state: State
    pid: int | None = None
    since: datetime.datetime | None = None
    uptime_s: float | None = None
    accel: str | None = None
    detail: str = ""

    @property
    def alive(self) -> bool:
        """Whether there is a QEMU: whether its disk is in use."""
        return self.state in (State.STARTING, State.RUNNING, State.PAUSED)


class How(StrEnum):
    """The ways a run ends."""

    GUEST = "guest"  # it powered itself down
    STOPPED = "stopped"  # by Pommel's stop
    SIGNAL = "signal"  # somebody ended QEMU by a signal that it obeys: a host that goes down does
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and more about it for a person."""

    how: How
    detail: str


# qapi/run-state.json, RunState. Those that are not here are passing states of a machine that goes on by itself.
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


def read_status(status: str) -> tuple[State, str]:
    """Translate the `status` of QMP's query-status to a state and what there is to say about it."""
    if status in _PAUSED:
        return State.PAUSED, _PAUSED[status]
    return State.RUNNING, "" if status == "running" else f"QEMU says: {status}"


def can_power_down(status: str) -> bool:
    """Whether a guest in QMP's `status` could obey the power button, once it is let go on."""
    return status not in _BEYOND_ACPI


def standing(status: str) -> Literal["paused", "no-room", "stuck"] | None:
    """How a guest stands in QMP's `status`: it can be let go on, its disk has no room, or nothing but a stop helps.

    None: it runs, or goes on by itself; one that sleeps is woken up by a key.
    """
    if status == NO_ROOM:
        return "no-room"
    if status not in _PAUSED or status == "suspended":
        return None
    return "paused" if can_power_down(status) else "stuck"


def let_go_command(status: str) -> str | None:
    """The QMP command that lets a guest in `status` run on, so that it sees the power button; None: it runs."""
    if status == "suspended":
        return "system_wakeup"
    return "cont" if status in _PAUSED else None
