"""Decide whether a screen, or a part of it, changes or is at rest. Band: core, no I/O.

Each picture is compared with the first one of the rest, not with the one before. So a caret or a clock is always a
change of only a few pixels, and a slow movement becomes a change at some time.
"""

from __future__ import annotations

import numpy as np

from pommel.errors import UsageError
from pommel.screen import tiles
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect

# The number of pixels that may differ: more than a text console's caret (9×16) and a clock's digits, and fewer than a
# line of text or a dialog.
TOLERANCE = 300
_COLOUR = np.uint32(0xFFFFFF)  # the fourth byte of a pixel means nothing


def parse_region(text: str) -> Rect:
    """Read `X,Y,WIDTH,HEIGHT`, in pixels of the screen.

    Raises:
        UsageError: it has another form.
    """
    words = text.split(",")
    if len(words) == 4 and all(word.strip().isascii() and word.strip().isdigit() for word in words):
        region = Rect(*(int(word) for word in words))
        if region.area and max(region) < 1 << 16:
            return region
    raise UsageError(f"{text!r} is not a part of a screen", hint="write it as X,Y,WIDTH,HEIGHT, such as 0,0,640,200")


class Stillness:
    """Measures for how long no picture has differed from the first one by more than `tolerance` pixels."""

    def __init__(self, tolerance: int = TOLERANCE) -> None:
        """Begin before the first picture."""
        self._tolerance = tolerance
        self._first: Frame | None = None
        self._since_s = 0.0

    def see(self, at_s: float, frame: Frame, area: Rect) -> None:
        """Compare `area` of a picture at the monotonic time `at_s`. The frame itself is not kept."""
        if self._first is not None and self._first.size == frame.size:
            count, _ = differing(self._first, frame, area)
            if count <= self._tolerance:
                return
        self._first, self._since_s = frame.copy(), at_s

    def still_s(self, at_s: float) -> float:
        """The seconds at rest; 0 before the first picture."""
        return at_s - self._since_s if self._first is not None else 0.0


def differing(old: Frame, new: Frame, area: Rect) -> tuple[int, Rect]:
    """Compare the colours in `area` of two frames of equal size; return the number of different pixels, and their box.

    The engine's search for changed tiles (`tiles.changed`) is used first, because it is quick.
    """
    found = tiles.changed(old, new, tiles.touched(new.size, [area]))
    count, left, top, right, bottom = 0, area.right, area.bottom, area.x, area.y
    for rect in tiles.rects(found.tiles, new.size) if found.tiles.any() else ():
        x, y = max(rect.x, area.x), max(rect.y, area.y)
        part = Rect(x, y, min(rect.right, area.right) - x, min(rect.bottom, area.bottom) - y)
        differs = _colours(old, part) != _colours(new, part)
        rows, columns = np.nonzero(differs.any(axis=1))[0], np.nonzero(differs.any(axis=0))[0]
        if rows.size:
            count += int(differs.sum())
            left, top = min(left, x + int(columns[0])), min(top, y + int(rows[0]))
            right, bottom = max(right, x + int(columns[-1]) + 1), max(bottom, y + int(rows[-1]) + 1)
    return count, Rect(left, top, right - left, bottom - top) if count else Rect(area.x, area.y, 0, 0)


def _colours(frame: Frame, part: Rect) -> np.typing.NDArray[np.uint32]:
    pixels = frame.pixels.view(np.uint32)[part.y : part.bottom, part.x : part.right, 0]
    return pixels & _COLOUR
