"""Whether a machine whose run has ended is started again, and when. Band: core, no I/O.

Times are seconds of a clock that does not jump; they are arguments. `watching` waits and starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pommel.machine.runstate import Ended, How


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `restarts` within `within_s`; the waits before them grow from `first_s` twofold up to `longest_s`."""

    restarts: int = 5
    within_s: float = 600.0
    first_s: float = 1.0
    longest_s: float = 60.0


USUAL = Limits()


class Choice(StrEnum):
    """What to do about a run that has ended."""

    AGAIN = "again"
    LEAVE = "leave"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class RestartVerdict:
    """What to do, why, and after how long."""

    choice: Choice
    text: str
    wait_s: float = 0.0


def judge(ended: Ended, restarts: Sequence[float], now_s: float, limits: Limits) -> RestartVerdict:
    """Decide about a run that has ended now, when there were restarts at these times before."""
    if ended.how is not How.CRASHED:
        return RestartVerdict(Choice.LEAVE, ended.detail)
    recent = sum(now_s - at_s < limits.within_s for at_s in restarts)
    if recent >= limits.restarts:
        span = f"{limits.within_s / 60:g} min"
        return RestartVerdict(Choice.GIVE_UP, f"it crashed again after {recent} restarts within {span}: {ended.detail}")
    # A bound to the power, lest many restarts make a number too large for a float.
    wait_s = min(limits.longest_s, limits.first_s * 2 ** min(recent, 32))
    return RestartVerdict(
        Choice.AGAIN, f"in {wait_s:g} s, number {recent + 1} of {limits.restarts}: {ended.detail}", wait_s
    )


def recent_only(restarts: Sequence[float], now_s: float, limits: Limits) -> tuple[float, ...]:
    """The restarts that still count."""
    return tuple(at_s for at_s in restarts if now_s - at_s < limits.within_s)
