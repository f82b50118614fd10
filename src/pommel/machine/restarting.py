"""Decides whether and when a machine is started again after its run has ended. Band: core, no I/O.

Times are arguments, in seconds of a monotonic clock. `watching` waits and starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pommel.machine.runstate import How, RunEnd


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """At most `restarts` within `within_s`; the waits before them double from `first_s` up to `longest_s`."""

    restarts: int = 5
    within_s: float = 600.0
    first_s: float = 1.0
    longest_s: float = 60.0


USUAL = RestartLimits()


class RestartChoice(StrEnum):
    """The decision about an ended run."""

    AGAIN = "again"
    LEAVE = "leave"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class RestartVerdict:
    """The decision, its reason, and the time to wait."""

    choice: RestartChoice
    text: str
    wait_s: float = 0.0


def judge(ended: RunEnd, restarts: Sequence[float], now_s: float, limits: RestartLimits) -> RestartVerdict:
    """Decide about a run that has ended now; `restarts` are the times of earlier restarts."""
    if ended.how is not How.CRASHED:
        return RestartVerdict(RestartChoice.LEAVE, ended.detail)
    recent = sum(now_s - at_s < limits.within_s for at_s in restarts)
    if recent >= limits.restarts:
        span = f"{limits.within_s / 60:g} min"
        return RestartVerdict(
            RestartChoice.GIVE_UP, f"it crashed again after {recent} restarts within {span}: {ended.detail}"
        )
    # The exponent is bounded, because many restarts would overflow a float.
    wait_s = min(limits.longest_s, limits.first_s * 2 ** min(recent, 32))
    return RestartVerdict(
        RestartChoice.AGAIN, f"in {wait_s:g} s, number {recent + 1} of {limits.restarts}: {ended.detail}", wait_s
    )


def recent_only(restarts: Sequence[float], now_s: float, limits: RestartLimits) -> tuple[float, ...]:
    """The restarts that are still within the period."""
    return tuple(at_s for at_s in restarts if now_s - at_s < limits.within_s)
