"""Wait until a machine's screen changes or is at rest, for scripts. Band: app.

At rest: during that time, no picture differed from the first one by more than a few pixels. So a blinking caret and a
clock do not end the rest, and a moving object does. A screen that stays blank is at rest too.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

from pommel.app.machine import displays
from pommel.app.machine.waiting import ended, must_run
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, MachineError, StateError
from pommel.machine import state
from pommel.machine.runstate import MachineState
from pommel.progress import Progress, Report, ignore
from pommel.screen.conditions import Changed, Rest, Watch
from pommel.screen.geometry import Rect
from pommel.screen.stillness import TOLERANCE, parse_region
from pommel.screen.watching import until_holds

REST_S = 2.0
TIMEOUT_S = 60.0
_ASK_S = 1.0


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of a wait: what the screen shows, how long it has been still, and the seconds that the wait took.

    `changed_at` is the rectangle, in pixels, that differs from the first picture; None for a wait for rest.
    """

    until: str
    seen: str
    still_s: float
    seconds: float
    changed_at: Rect | None = None

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return {**asdict(self), "changed_at": self.changed_at._asdict() if self.changed_at else None}


def wait_rest(
    name: str,
    *,
    for_s: float = REST_S,
    region: Rect | str | None = None,
    tolerance: int = TOLERANCE,
    display: int = 1,
    timeout_s: float = TIMEOUT_S,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Looked:
    """Wait until the screen of machine `name` has been at rest for `for_s`.

    Only the part `region` counts (a Rect, or "X,Y,WIDTH,HEIGHT"); `tolerance` is the number of pixels that may differ.

    Raises:
        UsageError: the region is not valid.
        StateError: the machine is not running, is suspended, or has no such display.
        MachineError: it ended meanwhile.
        DeadlineError: the screen did not come to rest in `timeout_s`.
    """
    rest = Rest(for_s, _region(region), tolerance)
    late = f"the screen of {name} was not at rest for {for_s:g} s in {timeout_s:g} s"
    return _Looking(name, "rest", display, timeout_s, report).look(rest, late, workspace)


def wait_changed(
    name: str,
    *,
    region: Rect | str | None = None,
    tolerance: int = TOLERANCE,
    display: int = 1,
    timeout_s: float = TIMEOUT_S,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Looked:
    """Wait until the screen of machine `name` differs from what it shows now by more than `tolerance` pixels.

    Raises as `wait_rest`.
    """
    changed = Changed(0.0, _region(region), tolerance)
    late = f"the screen of {name} did not change in {timeout_s:g} s"
    return _Looking(name, "changed", display, timeout_s, report).look(changed, late, workspace)


class _Looking:
    """One wait."""

    def __init__(self, name: str, until: str, display: int, timeout_s: float, report: Report) -> None:
        self._name, self._until, self._display = name, until, display
        self._timeout_s, self._report = timeout_s, report
        self._step = f"waiting for the screen of {name} to {'be at rest' if until == 'rest' else 'change'}"

    def look(self, condition: Rest | Changed, late: str, workspace: Workspace | None) -> Looked:
        paths = must_run(workspace or Workspace.current(), self._name)
        if state.observe(paths, ask_s=_ASK_S).state is MachineState.PAUSED:
            raise StateError(
                f"{self._name} is suspended, so its screen does not change", hint=f"pommel resume {self._name}"
            )
        watch = Watch(condition)
        try:
            there = displays.socket(paths, self._display)
            found = asyncio.run(until_holds(there, watch, self._timeout_s, self._show_progress))
        except DeadlineError as last:
            raise self._late(late, last) from None
        except MachineError:
            if not state.observe(paths).alive:
                raise ended(paths) from None
            raise
        self._report(Progress(self._step, unit="s", finished=True))
        still_s, took_s = round(watch.still_s, 1), round(found.seconds, 1)
        return Looked(self._until, f"its screen {found.sight}", still_s, took_s, watch.where)

    def _show_progress(self, waited_s: float, told: str) -> None:
        self._report(Progress(self._step, told, waited_s, self._timeout_s, "s"))

    def _late(self, late: str, last: DeadlineError) -> DeadlineError:
        return DeadlineError(
            f"{late}; last seen: {last.message}",
            hint="give it longer (--timeout), a part of the screen (--region), or more pixels that may differ "
            f"(--tolerance); to see it: pommel screenshot {self._name} shot.png",
        )


def _region(region: Rect | str | None) -> Rect | None:
    return parse_region(region) if isinstance(region, str) else region
