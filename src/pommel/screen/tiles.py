"""Which tiles of a picture changed, and which rectangles to send for them. Band: core, no I/O.

Change is looked for on a grid of 64×64 pixels; what is sent are runs of tiles, because a JPEG has 623 bytes of
tables however small it is, and a browser pays for each picture, not for each pixel. A `TileMap` is the
set of tiles that something is true of: booleans, (rows, columns).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, Size

TILE = 64
TileMap = npt.NDArray[np.bool_]

# A clean tile between two changed ones costs less when it is sent along than a second picture's header does.
_GAP = 1
# More pictures than this for one change and the rows are sent from their first changed tile to their last.
_MAX_RECTS = 24


def empty_map(size: Size) -> TileMap:
    """Return the map of no tile, for a picture of `size`."""
    return np.zeros((-(-size.height // TILE), -(-size.width // TILE)), np.bool_)


def touched(size: Size, rects: Iterable[Rect]) -> TileMap:
    """Return the map of the tiles that `rects` touch; parts outside the picture are ignored."""
    tiles = empty_map(size)
    for rect in rects:
        inside = rect.clipped(size)
        if inside.area:
            tiles[
                inside.y // TILE : (inside.bottom - 1) // TILE + 1,
                inside.x // TILE : (inside.right - 1) // TILE + 1,
            ] = True
    return tiles


def changed(old: Frame, new: Frame, where: TileMap) -> TileMap:
    """Return the map of the tiles of `where` in which two frames of one size differ."""
    found = np.zeros_like(where)
    a, b = _words(old.pixels), _words(new.pixels)
    words_per_tile = TILE * 4 // a.itemsize
    for row in np.flatnonzero(where.any(axis=1)):
        columns = np.flatnonzero(where[row])
        first, last = int(columns[0]), int(columns[-1]) + 1
        lines = slice(row * TILE, (row + 1) * TILE)
        words = slice(first * words_per_tile, last * words_per_tile)
        found[row, first:last] = _changed_columns(a[lines, words], b[lines, words], words_per_tile)
    return found & where


def _changed_columns(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64], per_tile: int) -> TileMap:
    # Whole columns first: or-ing rows together runs at memory speed, comparing tile by tile does not.
    differs = np.logical_or.reduce(a != b, axis=0)
    return np.logical_or.reduceat(differs, np.arange(0, differs.size, per_tile))


def _words(pixels: Pixels) -> npt.NDArray[np.uint64]:
    # Two pixels a word where the width allows it: twice as fast as one.
    kind = np.uint64 if pixels.shape[1] % 2 == 0 else np.uint32
    return pixels.reshape(pixels.shape[0], -1).view(kind)


def rects(tiles: TileMap, size: Size) -> list[Rect]:
    """Return few rectangles, none overlapping, that together cover every tile of `tiles`; top to bottom."""
    runs = list(_runs(tiles, _GAP))
    if len(runs) > _MAX_RECTS:
        runs = list(_runs(tiles, tiles.shape[1]))
    return [_pixels(run, size) for run in _stacked(runs)]


def _runs(tiles: TileMap, gap: int) -> Iterator[Rect]:
    """Yield runs of tiles, in tiles, row by row; runs with at most `gap` clean tiles between them are one."""
    for row in np.flatnonzero(tiles.any(axis=1)):
        columns = np.flatnonzero(tiles[row])
        breaks = np.flatnonzero(np.diff(columns) > gap + 1)
        for first, last in zip(columns[np.r_[0, breaks + 1]], columns[np.r_[breaks, -1]], strict=True):
            yield Rect(int(first), int(row), int(last - first) + 1, 1)


def _stacked(runs: Iterable[Rect]) -> list[Rect]:
    """Join runs that lie exactly above each other."""
    done: list[Rect] = []
    open_above: dict[tuple[int, int, int], int] = {}
    for run in runs:
        at = open_above.pop((run.x, run.width, run.y), None)
        if at is None:
            at = len(done)
            done.append(run)
        else:
            done[at] = done[at]._replace(height=done[at].height + 1)
        open_above[run.x, run.width, run.y + 1] = at
    return done


def _pixels(run: Rect, size: Size) -> Rect:
    return Rect(run.x * TILE, run.y * TILE, run.width * TILE, run.height * TILE).clipped(size)
