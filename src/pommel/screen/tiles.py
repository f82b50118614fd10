"""Finds the changed tiles of a picture, and the rectangles to send for them. Band: core, no I/O.

Changes are searched on a grid of 64×64 pixels. Neighbouring tiles are sent as one picture, because each JPEG has 623
bytes of tables, and a browser needs time for each picture rather than for each pixel. A `TileMap` is a set of tiles:
booleans, (rows, columns).

The grid is only for the search; a sent rectangle ends where the change ends. `Margins` say how far that is from each
tile's edges, as far as the comparison shows it without extra work: for columns, separately for each tile; for rows, for
all tiles of one row of the grid together.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pommel.screen.frame import BYTES_PER_PIXEL, Frame, Pixels
from pommel.screen.geometry import Rect, Size

TILE = 64
TileMap = npt.NDArray[np.bool_]
Margins = npt.NDArray[np.uint8]  # (rows, columns, 4): unchanged pixels at a tile's left, top, right and bottom
Words = npt.NDArray[np.uint64]

# memcmp of the C library, in two forms. PyDLL keeps the interpreter lock, because getting it back may take longer than
# a short comparison. CDLL releases it for long ones: otherwise the event loop would wait 9 ms for a screen of
# 3840×2160.
_memcmp, _long_memcmp = ctypes.PyDLL(None).memcmp, ctypes.CDLL(None).memcmp
_memcmp.argtypes = _long_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_LONG_BYTES = 512 * 1024

# One unchanged tile between two changed ones is sent too, because it costs less than a second picture's header.
_GAP = 1
# If a change needs more pictures than this, each row is sent as one, from its first to its last changed tile.
_MAX_RECTS = 24


class Changes(NamedTuple):
    """The changed tiles, and their unchanged margins; an unchanged tile has margins of `TILE`."""

    tiles: TileMap
    clean: Margins

    @classmethod
    def throughout(cls, tiles: TileMap) -> Changes:
        """Changes of whole tiles, without margins."""
        clean = np.full((*tiles.shape, 4), TILE, np.uint8)
        clean[tiles] = 0
        return cls(tiles, clean)

    @classmethod
    def inside(cls, rects: Iterable[Rect], size: Size) -> Changes:
        """Changes of all pixels of `rects` in a picture of `size`. No two of them may touch the same tile."""
        changes = cls.throughout(empty_map(size))
        for rect in rects:
            rows, columns = cells(rect)
            changes.tiles[rows, columns] = True
            inside = changes.clean[rows, columns]
            inside[:] = 0
            inside[:, 0, 0], inside[0, :, 1] = rect.x % TILE, rect.y % TILE
            inside[:, -1, 2], inside[-1, :, 3] = -rect.right % TILE, -rect.bottom % TILE
        return changes


def empty_map(size: Size) -> TileMap:
    """An empty map for a picture of `size`."""
    return np.zeros((-(-size.height // TILE), -(-size.width // TILE)), np.bool_)


def cells(area: Rect) -> tuple[slice, slice]:
    """The index of the tiles that contain `area`, which must be inside the picture."""
    return slice(area.y // TILE, -(-area.bottom // TILE)), slice(area.x // TILE, -(-area.right // TILE))


def touched(size: Size, rects: Iterable[Rect]) -> TileMap:
    """The map of the tiles that `rects` touch; parts outside the picture are ignored."""
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
    """The map of the tiles whose part inside the picture is completely within one of `rects`."""
    tiles = empty_map(size)
    rows, columns = tiles.shape
    for rect in rects:
        inside = rect.clipped(size)
        bottom = rows if inside.bottom == size.height else inside.bottom // TILE
        right = columns if inside.right == size.width else inside.right // TILE
        tiles[-(-inside.y // TILE) : bottom, -(-inside.x // TILE) : right] = True
    return tiles


def changed(old: Frame, new: Frame, where: TileMap) -> Changes:
    """The tiles of `where` in which two frames of equal size differ."""
    found = Changes.throughout(np.zeros_like(where))
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
        differs = np.not_equal(a[lines, words], b[lines, words], out=room[: a[lines].shape[0], : a[0, words].size])
        here = np.s_[row, first:last]
        _note(differs, per_tile, where[here], Changes(found.tiles[here], found.clean[here]))
    return found


def take_over(shown: Frame, source: Frame, where: TileMap) -> Changes:
    """In the tiles of `where`, copy the differences from `source` to `shown`; return the copied areas as changes.

    Another thread may write to `source` meanwhile. So exactly the copied areas are reported as changed.
    """
    changes = changed(shown, source, where)
    copied = [trimmed(rect, changes.clean) for rect in rects(changes.tiles, shown.size)]
    for rect in copied:
        shown.view(rect)[:] = source.view(rect)
    return Changes.inside(copied, shown.size)


def trimmed(area: Rect, clean: Margins) -> Rect:
    """`area`, which must consist of whole tiles, without the unchanged margins; the result may be empty."""
    rows, columns = cells(area)
    inside = clean[rows, columns]
    x, y = area.x + int(inside[:, 0, 0].min()), area.y + int(inside[0, :, 1].min())
    right = min(columns.stop * TILE - int(inside[:, -1, 2].min()), area.right)
    bottom = min(rows.stop * TILE - int(inside[-1, :, 3].min()), area.bottom)
    return Rect(x, y, max(right - x, 0), max(bottom - y, 0))


def _are_equal(a: Words, b: Words) -> bool:
    """Compare whole lines up to the first difference, which takes half the time of a full comparison."""
    compare = _memcmp if a.nbytes < _LONG_BYTES else _long_memcmp
    return not compare(a.ctypes.data, b.ctypes.data, a.nbytes)


def _note(differs: TileMap, per_tile: int, where: TileMap, found: Changes) -> None:
    """Find the changed tiles of `where`, all in one row of tiles, from the different words."""
    # First all rows are combined with `or`, which runs at memory speed; tile by tile would be slower.
    columns = np.zeros((where.size, per_tile), np.bool_)
    np.logical_or.reduce(differs, axis=0, out=columns.reshape(-1)[: differs.shape[1]])
    here = np.logical_or.reduce(columns, axis=1)
    here &= where
    if not here.any():
        return
    found.tiles[here] = True
    clean = np.zeros((where.size, 4), np.uint8)
    if not columns.all():
        clean[:, 0] = columns.argmax(axis=1) * (TILE // per_tile)
        clean[:, 2] = columns[:, ::-1].argmax(axis=1) * (TILE // per_tile)
    clean[:, 1], clean[:, 3] = _clean_rows(differs)
    found.clean[here] = clean[here]


def _clean_rows(differs: TileMap) -> tuple[int, int]:
    """The numbers of equal rows at the top and at the bottom of a row of tiles; at least one row differs."""
    if differs.shape[0] == TILE and differs[0].any() and differs[-1].any():
        return 0, 0
    rows = np.logical_or.reduce(differs, axis=1)
    return int(rows.argmax()), TILE - differs.shape[0] + int(rows[::-1].argmax())


def _words(pixels: Pixels) -> Words:
    # Two pixels in one word, if the width is even: this is twice as fast.
    kind = np.uint64 if pixels.shape[1] % 2 == 0 else np.uint32
    return pixels.reshape(pixels.shape[0], -1).view(kind)


def rects(tiles: TileMap, size: Size) -> list[Rect]:
    """A few rectangles without overlaps that cover every tile of `tiles`, from top to bottom."""
    runs = list(_runs(tiles, _GAP))
    if len(runs) > _MAX_RECTS:
        runs = list(_runs(tiles, tiles.shape[1]))
    return [_pixels(run, size) for run in _stacked(runs)]


def _runs(tiles: TileMap, gap: int) -> Iterator[Rect]:
    """Yield runs of tiles, row by row; runs with at most `gap` unchanged tiles between them are joined."""
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
