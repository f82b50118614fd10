"""For each tile, the box of pixels that something is true of, moved by any distance. Band: core, no I/O.

A `TileMap` and its `Margins` say the same, but pixels do not move by whole tiles: as tiles alone, what is moved would
grow by a row of tiles with each move.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pommel.screen import tiles
from pommel.screen.geometry import Rect, Size
from pommel.screen.tiles import TILE, Changes, Margins, TileMap

_Ints = npt.NDArray[np.int64]


class Boxes(NamedTuple):
    """Boxes, at most one in each tile: (n,) rows and columns of the grid, (n, 4) left, top, right, bottom in pixels."""

    rows: _Ints
    columns: _Ints
    edges: _Ints

    @classmethod
    def of(cls, where: TileMap, clean: Margins) -> Boxes:
        """Return what `where` and its margins say."""
        rows, columns = np.nonzero(where)
        margins = clean[rows, columns].astype(np.int64)
        x, y = columns * TILE, rows * TILE
        edges = (x + margins[:, 0], y + margins[:, 1], x + TILE - margins[:, 2], y + TILE - margins[:, 3])
        return cls(rows, columns, np.stack(edges, axis=1))

    def some(self, which: TileMap) -> Boxes:
        """Return those in a tile of `which`."""
        return self._select(which[self.rows, self.columns])

    def within(self, rect: Rect) -> Boxes:
        """Return the parts inside `rect`."""
        return self._replace(edges=_inside(self.edges, rect))._filled()

    def without(self, rect: Rect) -> Boxes:
        """Return what is left of them outside `rect`, as boxes: one that it cuts no whole side of stays as it is."""
        cut, edges = _inside(self.edges, rect), self.edges.copy()
        for side, other in ((0, 1), (1, 0)):
            across = (cut[:, other] == self.edges[:, other]) & (cut[:, other + 2] == self.edges[:, other + 2])
            across &= (cut[:, side] < cut[:, side + 2]) & (cut[:, other] < cut[:, other + 2])
            first = across & (cut[:, side] == self.edges[:, side])
            last = across & ~first & (cut[:, side + 2] == self.edges[:, side + 2])
            edges[first, side] = cut[first, side + 2]
            edges[last, side + 2] = cut[last, side]
        return self._replace(edges=edges)._filled()

    def put(self, where: TileMap, clean: Margins, dx: int = 0, dy: int = 0) -> None:
        """Add them to `where` and `clean`, moved by `dx` and `dy` pixels; no part may be outside then."""
        edges = self.edges + np.array([dx, dy, dx, dy])
        for below in (0, 1):
            for right in (0, 1):
                self._put_in(where, clean, edges, self.rows + dy // TILE + below, self.columns + dx // TILE + right)

    def _put_in(self, where: TileMap, clean: Margins, edges: _Ints, rows: _Ints, columns: _Ints) -> None:
        """Add the part of each box that is in the tile of `rows` and `columns`, which is another tile for each."""
        x, y = columns * TILE, rows * TILE
        margins = np.stack((edges[:, 0] - x, edges[:, 1] - y, x + TILE - edges[:, 2], y + TILE - edges[:, 3]), axis=1)
        margins = np.maximum(margins, 0)
        here = (margins[:, 0] + margins[:, 2] < TILE) & (margins[:, 1] + margins[:, 3] < TILE)
        at = rows[here], columns[here]
        where[at] = True
        clean[at] = np.minimum(clean[at], margins[here].astype(np.uint8))

    def _select(self, which: npt.NDArray[np.bool_]) -> Boxes:
        return Boxes(self.rows[which], self.columns[which], self.edges[which])

    def _filled(self) -> Boxes:
        return self._select((self.edges[:, 0] < self.edges[:, 2]) & (self.edges[:, 1] < self.edges[:, 3]))


def put_rect(where: TileMap, clean: Margins, rect: Rect) -> None:
    """Add the pixels of `rect`, which is not empty and in the picture, to `where` and `clean`."""
    cells = tiles.cells(rect)
    grid = np.zeros_like(where)
    grid[cells] = True
    Boxes.of(grid, np.zeros_like(clean)).within(rect).put(where, clean)


def with_rects(changes: Changes, rects: list[Rect], size: Size) -> Changes:
    """Return `changes` and all pixels of `rects`, in a picture of `size`."""
    more = Changes(changes.tiles.copy(), changes.clean.copy())
    for rect in rects:
        put_rect(more.tiles, more.clean, rect.clipped(size))
    return more


def _inside(edges: _Ints, rect: Rect) -> _Ints:
    low, high = np.array([rect.x, rect.y]), np.array([rect.right, rect.bottom])
    return np.concatenate([np.maximum(edges[:, :2], low), np.minimum(edges[:, 2:], high)], axis=1)
