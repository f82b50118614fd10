"""The displays of an X server, and the chosen one. Band: core, no I/O.

Displays are RandR's monitors; their numbers on the wire are 1, 2, … in the server's order. The chosen one is remembered
by name, because numbers change when a monitor is unplugged; when it is gone, all are shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.seams import Displays
from pommel.wire.messages import ALL_DISPLAYS, Display


@dataclass(frozen=True, slots=True)
class Monitor:
    """One monitor and its rectangle on the root window."""

    name: str
    place: Rect


@dataclass(frozen=True, slots=True)
class X11Desktop:
    """The root window's size, its monitors, and the name of the chosen one; None: all."""

    size: Size
    monitors: tuple[Monitor, ...] = ()
    chosen: str | None = None

    def changed(self, size: Size, monitors: Iterable[Monitor]) -> X11Desktop:
        """Return the desktop after monitors came, went or moved; monitors outside the root window are ignored."""
        seen = tuple(one for one in monitors if one.place.area and one.place.within(size))
        return X11Desktop(size, seen, self.chosen if any(one.name == self.chosen for one in seen) else None)

    def choose(self, number: int) -> X11Desktop:
        """Return the desktop with the display of this number chosen, or all if the number does not exist."""
        found = self.monitors[number - 1].name if 1 <= number <= len(self.monitors) else None
        return replace(self, chosen=found)

    @property
    def view(self) -> Rect:
        """The rectangle of the root window that is shown."""
        return next((one.place for one in self.monitors if one.name == self.chosen), whole(self.size))

    @property
    def displays(self) -> Displays:
        """The list of displays for viewers; empty if there are fewer than two."""
        if len(self.monitors) < 2:
            return Displays()
        numbered = list(enumerate(self.monitors, 1))
        selected = next((number for number, one in numbered if one.name == self.chosen), ALL_DISPLAYS)
        return Displays(tuple(Display(number, *one.place) for number, one in numbered), selected)
