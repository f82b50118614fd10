"""Finds the part of the screen that is a film: it changes all the time. Band: core, no I/O; time is an argument.

A tile is steady when it has changed for `STEADY_S` without a pause. The box around the largest patch of steady tiles is
the area of the film. The area stays the same while much of it changes, because another area needs a new video stream.
It is dropped soon after it stops changing. There is at most one area.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pommel.screen import tiles
from pommel.screen.geometry import Rect, Size
from pommel.screen.tiles import TILE, TileMap

STEADY_S = 1.0
REST_S = 0.5
PAUSE_S = 0.15  # a film changes at least seven times a second
SETTLED_S = 2.0  # the least time between two changes of the area
LEAST_TILES = 12  # 256×192: a smaller film is not worth a stream of its own

_Tile = tuple[int, int]


class ScreenFilm:
    """Finds one screen's film from the changed tiles of each update."""

    def __init__(self) -> None:
        self._size = Size(0, 0)
        self._since = np.zeros((0, 0))  # when each tile began to change without a pause
        self._last = np.zeros((0, 0))  # when it last changed
        self._area: Rect | None = None
        self._chosen_s = 0.0
        self._steady = np.zeros((0, 0), np.bool_)
        self._patch: Rect | None = None  # the box of the largest patch in `_steady`

    def note(self, changed: TileMap, size: Size, now_s: float) -> None:
        """Note the changed tiles of an update, for a screen of `size`."""
        if size != self._size:
            self._begin(size)
        self._since[changed & (self._last < now_s - PAUSE_S)] = now_s
        self._last[changed] = now_s
        self._choose(now_s)

    def area(self, now_s: float) -> Rect | None:
        """The film's area, in whole tiles with even sides; None: there is no film now."""
        if self._area is not None and not self._moves(self._area, now_s):
            self._area = None
        return self._area

    def _begin(self, size: Size) -> None:
        self._size, self._area, self._patch = size, None, None
        self._steady = tiles.empty_map(size)
        self._since, self._last = np.zeros(self._steady.shape), np.full(self._steady.shape, -np.inf)

    def _moves(self, area: Rect, now_s: float) -> bool:
        changed = self._last[tiles.cells(area)] > now_s - REST_S
        return 4 * int(changed.sum()) >= changed.size

    def _choose(self, now_s: float) -> None:
        steady = (self._last > now_s - REST_S) & (self._last - self._since >= STEADY_S)
        if not np.array_equal(steady, self._steady):
            self._steady, self._patch = steady, _box(steady, self._size)
        area, found = self.area(now_s), self._patch
        if area == found or found is None:
            return
        if area is None or (now_s - self._chosen_s >= SETTLED_S and _is_other(area, found)):
            self._area, self._chosen_s = found, now_s


def _is_other(area: Rect, found: Rect) -> bool:
    """Whether `found` is worth a new video stream: it is not inside `area`, or has less than half of its pixels."""
    inside = area.x <= found.x and area.y <= found.y and found.right <= area.right and found.bottom <= area.bottom
    return not inside or 2 * found.area < area.area


def _box(steady: TileMap, size: Size) -> Rect | None:
    """The box of the largest patch, if it is large enough and most of its tiles are steady."""
    patch = max(_patches(steady), key=len, default=[])
    if len(patch) < LEAST_TILES:
        return None
    rows, columns = [row for row, _ in patch], [column for _, column in patch]
    x, y = min(columns) * TILE, min(rows) * TILE
    right, bottom = _even((max(columns) + 1) * TILE, size.width), _even((max(rows) + 1) * TILE, size.height)
    box = Rect(x, y, right - x, bottom - y)
    tiles_in_box = -(-box.width // TILE) * -(-box.height // TILE)
    return box if LEAST_TILES <= tiles_in_box <= 2 * len(patch) else None


def _even(end: int, side: int) -> int:
    # Video stores colour for 2×2 pixels, so the size must be even: tiles of an odd last column or row stay outside.
    end = min(end, side)
    return end if end % 2 == 0 else end // TILE * TILE


def _patches(steady: TileMap) -> Iterator[list[_Tile]]:
    """Yield the tiles of each patch: steady tiles that touch at their sides."""
    left = {(int(row), int(column)) for row, column in np.argwhere(steady)}
    while left:
        patch = [left.pop()]
        for row, column in patch:  # the list grows during this loop
            for beside in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if beside in left:
                    left.remove(beside)
                    patch.append(beside)
        yield patch
