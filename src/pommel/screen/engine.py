"""The newest picture, which all viewers share, and the time of the last change of each tile. Band: core, no I/O.

A source that compares its pictures itself uses two frames in turn (`turns`), and the engine uses the frame that is
shown, without a copy. Another source writes into its one frame at any time; from it, `update` copies what really
changed into a frame of the engine.

Another thread encodes video from `frame`, perhaps while a later change is written into the same memory. Such a frame of
video can be torn. But the later update then gives its tiles a new version, and every viewer gets them again. Pictures
are encoded from a copy (`delivery`), because a viewer may be told to move what it was sent. This module knows no
viewer.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pommel.screen import tiles
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.move_search import MovedArea
from pommel.screen.moves import Moved, take_moved
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
        """Take the new pixels of `source`, and return what changed.

        With `changed` (where it differs from the frame before), `source` itself is shown. Without it, changes are
        searched within `damage` and copied. A picture of another size is new in all its tiles.
        """
        if source.size != self.size or (changed is None and not self._is_own):
            return self._replace(source, own=changed is None)
        if changed is None:
            changed = tiles.take_over(self.frame, source, tiles.touched(self.size, damage))
        else:
            self.frame, self._is_own = source, False
        return self._note(changed)

    def can_move(self, source: Frame, changed: Changes | None) -> bool:
        """Tell whether `frame` and `source` are two frames, from the first of which something can have moved."""
        same_kind = changed is not None or self._is_own
        return source is not self.frame and source.size == self.size and same_kind

    def move(self, source: Frame, damage: Iterable[Rect], moves: tuple[MovedArea, ...]) -> Moved:
        """Make `moves` in `frame`, then take the new pixels of `source` within `damage`; instead of `update`."""
        moved = take_moved(self.frame, source, moves, tiles.touched(self.size, damage))
        self._note(moved.changes(self.size))
        return moved

    def version_of(self, rect: Rect) -> int:
        """The version in which `rect` last changed: with equal versions, its pixels are equal."""
        rows = slice(rect.y // TILE, -(-rect.bottom // TILE))
        columns = slice(rect.x // TILE, -(-rect.right // TILE))
        return int(self._since[rows, columns].max(initial=0))

    def _note(self, changed: Changes) -> Changes:
        if changed.tiles.any():
            self.version += 1
            self._since[changed.tiles] = self.version
        return changed

    def _replace(self, source: Frame, *, own: bool) -> Changes:
        self.frame, self._is_own = source.copy() if own else source, own
        self.version += 1
        everything = tiles.touched(self.size, [whole(self.size)])
        self._since = np.full(everything.shape, self.version, np.int64)
        return Changes.throughout(everything)
