"""Two frames in turn: one is shown while the other is updated. Band: core, no I/O.

The shown frame is never written to, so no copy of it is needed. A writer writes into `back`, and `turn` shows that
frame. The frame that was shown before then lacks only the tiles that changed in this turn. They are copied into it when
it is written to again, and only where they will not be overwritten.
"""

from __future__ import annotations

from collections.abc import Collection

from pommel.screen import tiles
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect
from pommel.screen.tiles import Changes


class Turns:
    """`front` is the picture; `back`, of the same size, is the next one."""

    def __init__(self, front: Frame, back: Frame) -> None:
        """Begin with two frames; the content of `back` is not used."""
        self.front, self.back = front, back
        self._lacking = ~tiles.empty_map(front.size)
        self._written = tiles.empty_map(front.size)

    def write(self, rects: Collection[Rect]) -> None:
        """Call this before writing every pixel of `rects`, and no other pixel, in `back`."""
        size = self.front.size
        lacking = self._lacking & ~tiles.covered(size, rects)
        for rect in tiles.rects(lacking, size) if lacking.any() else ():
            self.back.view(rect)[:] = self.front.view(rect)
        self._lacking[:] = False
        self._written |= tiles.touched(size, rects)

    def turn(self) -> Changes:
        """Show the written frame; return the changes to the frame that was shown before."""
        changed = tiles.changed(self.front, self.back, self._written)
        self._written[:] = False
        if changed.tiles.any():
            self.front, self.back = self.back, self.front
            self._lacking = changed.tiles.copy()
        return changed
