"""The displays of a Mac, and where each is in the picture. Band: core, no I/O.

macOS places displays in points with the origin at the upper left, and a display has one or more pixels per point. A
picture has one scale: that of its sharpest display; the others are enlarged to it. `X11Desktop` remembers the chosen
display and gives displays their numbers on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pommel.screen.geometry import Rect, Size
from pommel.screen.seams import Displays
from pommel.screen.sources.x11_displays import Monitor, X11Desktop

# A larger picture has one pixel per point: four displays of a 5K Mac would make a picture of a quarter gigabyte.
_MAX_PIXELS = 40_000_000
_MAX_SIDE = 0xFFFF  # the wire's Screen has 16 bits for it

Floats = tuple[float, float, float, float]  # x, y, width, height


@dataclass(frozen=True, slots=True)
class MacDisplay:
    """One display: its CGDirectDisplayID, its position in points, and its pixels per point."""

    id: int
    x: float
    y: float
    width: float
    height: float
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class DisplayLayout:
    """All displays, and the chosen one."""

    displays: tuple[MacDisplay, ...] = ()
    desktop: X11Desktop = field(default_factory=lambda: X11Desktop(Size(0, 0)))

    def changed(self, displays: Iterable[MacDisplay]) -> DisplayLayout:
        """Return the layout with these displays; the chosen display stays chosen while it exists."""
        now = tuple(one for one in displays if one.width > 0 and one.height > 0)
        view = view_of(now)
        monitors = [Monitor(str(one.id), view.place(one)) for one in now]
        return DisplayLayout(now, self.desktop.changed(view.size, monitors))

    def choose(self, number: int) -> DisplayLayout:
        """Return the layout with the display of this number (see `viewer_displays`) chosen, or all of them."""
        return replace(self, desktop=self.desktop.choose(number))

    @property
    def viewer_displays(self) -> Displays:
        """The list of displays for viewers; empty if there are fewer than two."""
        return self.desktop.displays

    @property
    def view(self) -> View:
        """The picture of the chosen display, or of all."""
        chosen = tuple(one for one in self.displays if str(one.id) == self.desktop.chosen)
        return view_of(chosen or self.displays)


@dataclass(frozen=True, slots=True)
class View:
    """One picture of some displays. `size` is the frame's; `scale` is its pixels per point."""

    displays: tuple[MacDisplay, ...] = ()
    scale: float = 1.0
    left: float = 0.0
    top: float = 0.0
    size: Size = field(default_factory=lambda: Size(0, 0))

    def place(self, display: MacDisplay) -> Rect:
        """Return the rectangle of a display in the frame."""
        x, y = (display.x - self.left) * self.scale, (display.y - self.top) * self.scale
        return _rounded(x, y, x + display.width * self.scale, y + display.height * self.scale).clipped(self.size)

    def to_points(self, x: int, y: int) -> tuple[float, float]:
        """Return the desktop's point for a pixel of the frame; outside of it, that of the nearest pixel inside."""
        x, y = min(max(x, 0), max(self.size.width - 1, 0)), min(max(y, 0), max(self.size.height - 1, 0))
        return self.left + x / self.scale, self.top + y / self.scale


def damage_of(rects: Iterable[Floats], scale: float, size: Size) -> tuple[Rect, ...]:
    """Return the rectangles of a captured frame as pixels of a picture of `size`; none of them is empty.

    Apple does not say whether SCStreamFrameInfoDirtyRects are points or pixels, so both readings are included: too much
    damage costs a comparison, too little would leave an old picture.
    """
    found: list[Rect] = []
    for x, y, width, height in rects:
        for times in {1.0, scale}:
            rect = _outward(x * times, y * times, (x + width) * times, (y + height) * times).clipped(size)
            if rect.area:
                found.append(rect)
    return tuple(dict.fromkeys(found))


def view_of(displays: tuple[MacDisplay, ...]) -> View:
    """Make the picture of these displays."""
    if not displays:
        return View()
    left, top = min(one.x for one in displays), min(one.y for one in displays)
    width = max(one.x + one.width for one in displays) - left
    height = max(one.y + one.height for one in displays) - top
    scale = max(one.scale for one in displays)
    if width * height * scale * scale > _MAX_PIXELS or max(width, height) * scale > _MAX_SIDE:
        scale = 1.0
    size = Size(min(round(width * scale), _MAX_SIDE), min(round(height * scale), _MAX_SIDE))
    return View(displays, scale, left, top, size)


def _rounded(left: float, top: float, right: float, bottom: float) -> Rect:
    return Rect(round(left), round(top), round(right) - round(left), round(bottom) - round(top))


def _outward(left: float, top: float, right: float, bottom: float) -> Rect:
    x, y = math.floor(left), math.floor(top)
    return Rect(x, y, math.ceil(right) - x, math.ceil(bottom) - y)
