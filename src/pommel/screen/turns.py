"""Two frames that take turns: one is looked at while the other is brought up to date. Band: core, no I/O.

What is shown is never written to, so nobody has to copy it: who writes does so into `back`, and `turn` shows that. The
frame that was looked at until then lacks only the tiles that changed in this turn; they are copied to it when it is
written to again, and only where they are not about to be overwritten.
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
        """Begin with two frames, of which `back` is worth nothing yet."""
        self.front, self.back = front, back
        self._lacking = ~tiles.empty_map(front.size)
        self._written = tiles.empty_map(front.size)

    def write(self, rects: Collection[Rect]) -> None:
        """Take note that every pixel of `rects`, and none outside them, will be written in `back`. Call it before."""
        size = self.front.size
        lacking = self._lacking & ~tiles.covered(size, rects)
        for rect in tiles.rects(lacking, size) if lacking.any() else ():
            self.back.view(rect)[:] = self.front.view(rect)
        self._lacking[:] = False
        self._written |= tiles.touched(size, rects)

    def turn(self) -> Changes:
        """Show what was written; return where it differs from what was shown before."""
        changed = tiles.changed(self.front, self.back, self._written)
        self._written[:] = False
        if changed.tiles.any():
            self.front, self.back = self.back, self.front
            self._lacking = changed.tiles.copy()
        return changed
