"""The newest picture all viewers share, and since when each tile of it is as it is. Band: core, no I/O.

The source writes into its own frame whenever it likes; `update` takes what really changed into the engine's. That
copy is what is compared with and what is encoded from, perhaps in another thread while a later `update` writes into
it: such a picture may be torn, but then the later update has given its tiles a new version and every viewer will be
sent them again. Nothing here knows a viewer.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pommel.screen import tiles
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.tiles import TILE, TileMap


class Engine:
    """One shared picture. `frame` is replaced, not resized; `version` grows with each change of any tile."""

    def __init__(self) -> None:
        self.frame = Frame.blank(Size(0, 0))
        self.version = 0
        self._since = np.zeros((0, 0), np.int64)

    @property
    def size(self) -> Size:
        """Width and height of the picture in pixels."""
        return self.frame.size

    def update(self, source: Frame, damage: Iterable[Rect]) -> TileMap:
        """Take over what changed in `source` within `damage`, and return the tiles that did.

        A source of another size than the last is taken whole, and all its tiles have changed.
        """
        if source.size != self.size:
            return self._replace(source)
        where = tiles.touched(self.size, damage)
        changed = tiles.changed(self.frame, source, where)
        if changed.any():
            self.version += 1
            self._since[changed] = self.version
            for rect in tiles.rects(changed, self.size):
                self.frame.view(rect)[:] = source.view(rect)
        return changed

    def version_of(self, rect: Rect) -> int:
        """Return the version in which `rect` last changed: equal version, equal pixels."""
        rows = slice(rect.y // TILE, -(-rect.bottom // TILE))
        columns = slice(rect.x // TILE, -(-rect.right // TILE))
        return int(self._since[rows, columns].max(initial=0))

    def _replace(self, source: Frame) -> TileMap:
        self.frame = source.copy()
        self.version += 1
        everything = tiles.touched(self.size, [whole(self.size)])
        self._since = np.full(everything.shape, self.version, np.int64)
        return everything
