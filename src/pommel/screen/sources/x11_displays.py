"""The displays an X server has, and which of them is looked at. Band: core, no I/O.

Displays are RandR's monitors; their numbers on the wire are 1, 2, … in the server's order. What was chosen is
remembered by name, since numbers change when a monitor is unplugged; once it has gone everything is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.seams import Displays
from pommel.wire.messages import ALL_DISPLAYS, Display


@dataclass(frozen=True, slots=True)
class Monitor:
    """One monitor and its place on the root window."""

    name: str
    place: Rect


@dataclass(frozen=True, slots=True)
class Desktop:
    """The root window's size, its monitors, and the name of the chosen one; None is everything."""

    size: Size
    monitors: tuple[Monitor, ...] = ()
    chosen: str | None = None

    def changed(self, size: Size, monitors: Iterable[Monitor]) -> Desktop:
        """Return what it is after monitors came, went or moved; those outside the root window are none."""
        seen = tuple(one for one in monitors if one.place.area and one.place.within(size))
        return Desktop(size, seen, self.chosen if any(one.name == self.chosen for one in seen) else None)

    def choose(self, number: int) -> Desktop:
        """Return it with the display of this number chosen, or everything if there is none such."""
        found = self.monitors[number - 1].name if 1 <= number <= len(self.monitors) else None
        return replace(self, chosen=found)

    @property
    def view(self) -> Rect:
        """The part of the root window that is looked at."""
        return next((one.place for one in self.monitors if one.name == self.chosen), whole(self.size))

    @property
    def displays(self) -> Displays:
        """What viewers are told; nothing to choose from if there are not two."""
        if len(self.monitors) < 2:
            return Displays()
        numbered = list(enumerate(self.monitors, 1))
        selected = next((number for number, one in numbered if one.name == self.chosen), ALL_DISPLAYS)
        return Displays(tuple(Display(number, *one.place) for number, one in numbered), selected)
