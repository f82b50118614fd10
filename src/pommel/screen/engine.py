"""The newest picture all viewers share, and since when each tile of it is as it is. Band: core, no I/O.

A source that compares its pictures itself lets two frames take turns, and the one it shows is the engine's: nothing is
copied. Of any other, which writes into its one frame whenever it likes, `update` takes what really changed into a frame
of the engine's own.

Pictures are encoded from `frame` in other threads, perhaps while a later change is being written into the same memory:
such a picture may be torn, but then the later update gives its tiles a new version and every viewer will be sent them
again. Nothing here knows a viewer.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pommel.screen import tiles
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.tiles import TILE, Changes


class Engine:
    """One shared picture. `frame` may be another object after each update; `version` grows with each change."""

    def __init__(self) -> None:
        self.frame = Frame.blank(Size(0, 0))
        self.version = 0
        self._since = np.zeros((0, 0), np.int64)
        self._is_own = True

    @property
    def size(self) -> Size:
        """Width and height of the picture in pixels."""
        return self.frame.size

    def update(self, source: Frame, damage: Iterable[Rect], changed: Changes | None = None) -> Changes:
        """Take over what is new in `source`, and return what changed.

        With `changed`, where it differs from the frame before, `source` is shown as it is. Else that
        is looked for within `damage` and copied. A picture of another size is new in all its tiles.
        """
        if source.size != self.size or (changed is None and not self._is_own):
            return self._replace(source, own=changed is None)
        if changed is None:
            changed = tiles.take_over(self.frame, source, tiles.touched(self.size, damage))
        else:
            self.frame, self._is_own = source, False
        if changed.tiles.any():
            self.version += 1
            self._since[changed.tiles] = self.version
        return changed

    def version_of(self, rect: Rect) -> int:
        """Return the version in which `rect` last changed: equal version, equal pixels."""
        rows = slice(rect.y // TILE, -(-rect.bottom // TILE))
        columns = slice(rect.x // TILE, -(-rect.right // TILE))
        return int(self._since[rows, columns].max(initial=0))

    def _replace(self, source: Frame, *, own: bool) -> Changes:
        self.frame, self._is_own = source.copy() if own else source, own
        self.version += 1
        everything = tiles.touched(self.size, [whole(self.size)])
        self._since = np.full(everything.shape, self.version, np.int64)
        return Changes.throughout(everything)
