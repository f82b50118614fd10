"""Which tiles of a picture changed, and which rectangles to send for them. Band: core, no I/O.

Change is looked for on a grid of 64×64 pixels; what is sent are runs of tiles, because a JPEG has 623 bytes of
tables however small it is, and a browser pays for each picture, not for each pixel. A `TileMap` is the
set of tiles that something is true of: booleans, (rows, columns).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from pommel.screen.frame import BYTES_PER_PIXEL, Frame, Pixels
from pommel.screen.geometry import Rect, Size

TILE = 64
TileMap = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

# Of the C library, called without letting go of the interpreter lock: to get that back may take longer than comparing.
_memcmp = ctypes.PyDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

# A clean tile between two changed ones costs less when it is sent along than a second picture's header does.
_GAP = 1
# More pictures than this for one change and the rows are sent from their first changed tile to their last.
_MAX_RECTS = 24


def empty_map(size: Size) -> TileMap:
    """Return the map of no tile, for a picture of `size`."""
    return np.zeros((-(-size.height // TILE), -(-size.width // TILE)), np.bool_)


def cells(area: Rect) -> tuple[slice, slice]:
    """Return the index of the tiles that hold `area`, which is inside the picture."""
    return slice(area.y // TILE, -(-area.bottom // TILE)), slice(area.x // TILE, -(-area.right // TILE))


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


def covered(size: Size, rects: Iterable[Rect]) -> TileMap:
    """Return the map of the tiles that lie wholly, as far as they are in the picture, within one of `rects`."""
    tiles = empty_map(size)
    rows, columns = tiles.shape
    for rect in rects:
        inside = rect.clipped(size)
        bottom = rows if inside.bottom == size.height else inside.bottom // TILE
        right = columns if inside.right == size.width else inside.right // TILE
        tiles[-(-inside.y // TILE) : bottom, -(-inside.x // TILE) : right] = True
    return tiles


def changed(old: Frame, new: Frame, where: TileMap) -> TileMap:
    """Return the map of the tiles of `where` in which two frames of one size differ."""
    found = np.zeros_like(where)
    a, b = _words(old.pixels), _words(new.pixels)
    per_tile = TILE * BYTES_PER_PIXEL // a.itemsize
    room = np.empty((TILE, a.shape[1]), np.bool_)
    for row in np.flatnonzero(where.any(axis=1)):
        lines = slice(row * TILE, (row + 1) * TILE)
        columns = np.flatnonzero(where[row])
        first, last = int(columns[0]), int(columns[-1]) + 1
        if last - first == where.shape[1] and _are_equal(a[lines], b[lines]):
            continue
        words = slice(first * per_tile, last * per_tile)
        found[row, first:last] = _changed_columns(a[lines, words], b[lines, words], per_tile, room)
    return found & where


def take_over(shown: Frame, source: Frame, where: TileMap) -> TileMap:
    """Copy to `shown` the tiles of `where` in which `source` differs from it, and return which those are."""
    differing = changed(shown, source, where)
    for rect in rects(differing, shown.size):
        shown.view(rect)[:] = source.view(rect)
    return differing


def _are_equal(a: Words, b: Words) -> bool:
    """Compare whole lines, stopping at the first difference: half the time of looking at all of them."""
    return not _memcmp(a.ctypes.data, b.ctypes.data, a.nbytes)


def _changed_columns(a: Words, b: Words, per_tile: int, room: TileMap) -> TileMap:
    # Whole columns first: or-ing rows together runs at memory speed, comparing tile by tile does not.
    differs = np.not_equal(a, b, out=room[: a.shape[0], : a.shape[1]])
    columns = np.logical_or.reduce(differs, axis=0)
    return np.logical_or.reduceat(columns, np.arange(0, columns.size, per_tile))


def _words(pixels: Pixels) -> Words:
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
