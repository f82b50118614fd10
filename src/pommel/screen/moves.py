"""When to look for what moved on the screen, and what is left to send besides. Band: core, no I/O.

A search that finds nothing takes 10 ms and more at 1920×1080. So after each miss more changes pass unsearched, but the
next one is searched after input that may have scrolled. No move that is told makes a picture wrong: `rest` is exactly
what differs from the moved picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pommel.screen import tiles
from pommel.screen.actions import Action, MovePointer, PressKey, RelativeMove, TurnWheel
from pommel.screen.boxes import with_rects
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size
from pommel.screen.move_search import MovedArea, find_moves
from pommel.screen.tiles import TILE, Changes, TileMap

_LEAST_TILES = 16
_MOST_PASSED = 32
_DRAG_PASSED = 12  # a drag tells of itself with each movement: one that moves nothing is not searched each time
_MOST_COPIES = 4
_PAGING = frozenset(range(0x20, 0x29))  # virtual keys: space, page up and down, end, home, the arrows


class Moved(NamedTuple):
    """Moves in the order in which they must be made, and where the picture differs from the new one after them."""

    moves: tuple[MovedArea, ...]
    rest: Changes

    def changes(self, size: Size) -> Changes:
        """Return all that changed in a picture of `size`, for whoever cannot be told moves."""
        return with_rects(self.rest, [move.target for move in self.moves], size)


class MoveFinder:
    """Decides for each change whether to look, and looks. `wanted`: there is a viewer who can be told moves."""

    def __init__(self) -> None:
        self.wanted = False
        self._misses = 0  # since the last hit
        self._passed = 0  # changes since the last search
        self._may_scroll = False

    def expect(self, action: Action) -> None:
        """Note input that may scroll: a wheel, a drag or a paging key."""
        match action:
            case TurnWheel():
                self._may_scroll = True
            case PressKey(vk, down=True) if vk in _PAGING:
                self._may_scroll = True
            case MovePointer(buttons=buttons) | RelativeMove(buttons=buttons) if buttons:
                self._may_scroll |= self._passed >= min(self._misses, _DRAG_PASSED)

    def is_due(self, where: TileMap) -> bool:
        """Tell whether to look, after a change in the tiles of `where`."""
        if not self.wanted or np.count_nonzero(where) < _LEAST_TILES:
            return False
        self._passed += 1
        return self._may_scroll or self._passed > min((1 << min(self._misses, 8)) >> 1, _MOST_PASSED)

    def search(self, old: Frame, new: Frame, where: TileMap) -> tuple[MovedArea, ...]:
        """Return what moved inside the tiles of `where`, from one frame to another of the same size."""
        differs = tiles.changed(old, new, where).tiles
        if np.count_nonzero(differs) < _LEAST_TILES:
            return ()
        box = _box(differs, old.size)
        found = tuple(move.shifted(box.x, box.y) for move in find_moves(old.words(box), new.words(box)))
        self._misses, self._passed, self._may_scroll = 0 if found else self._misses + 1, 0, False
        return found


def joined_copies(copies: Iterable[MovedArea], size: Size) -> tuple[MovedArea, ...]:
    """Return a VNC server's `copies` as moves for viewers: large ones, and none if they are more than a few.

    A terminal that scrolls line by line copies the same area several times between two pictures; that is one move. It
    need not be right to the pixel (see `rest_of`).
    """
    joined: list[MovedArea] = []
    for copy in copies:
        if joined and joined[-1].target == copy.target:
            copy = copy._replace(dx=joined[-1].dx + copy.dx, dy=joined[-1].dy + copy.dy)
            joined.pop()
        joined.append(copy)
    inside = [_with_source_inside(copy, size) for copy in joined]
    large = tuple(copy for copy in inside if copy.target.area >= _LEAST_TILES * TILE * TILE)
    return large if len(large) <= _MOST_COPIES else ()


def _with_source_inside(move: MovedArea, size: Size) -> MovedArea:
    """Return the part of `move` whose source lies in a picture of `size`."""
    source = move.source.clipped(size)
    return move._replace(target=source._replace(x=source.x + move.dx, y=source.y + move.dy))


def rest_of(old: Frame, new: Frame, moves: tuple[MovedArea, ...], changed: Changes) -> Moved:
    """Return `moves` with what they leave of `changed`, where two frames differ."""
    model = old.copy()
    make(moves, model)
    return Moved(moves, tiles.changed(model, new, changed.tiles | _targets(moves, old.size)))


def take_moved(shown: Frame, source: Frame, moves: tuple[MovedArea, ...], where: TileMap) -> Moved:
    """Make `moves` in `shown`, then copy what differs in the tiles of `where` in `source`.

    As in `tiles.take_over`, somebody may write to `source` meanwhile.
    """
    make(moves, shown)
    return Moved(moves, tiles.take_over(shown, source, where | _targets(moves, shown.size)))


def make(moves: Iterable[MovedArea], frame: Frame) -> None:
    """Make `moves` in `frame`."""
    for move in moves:
        frame.copy_within(move.source.x, move.source.y, move.target)


def _box(where: TileMap, size: Size) -> Rect:
    """Return the rectangle around the tiles of `where`."""
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    x, y = int(columns[0]) * TILE, int(rows[0]) * TILE
    return Rect(x, y, (int(columns[-1]) + 1) * TILE - x, (int(rows[-1]) + 1) * TILE - y).clipped(size)


def _targets(moves: Iterable[MovedArea], size: Size) -> TileMap:
    return tiles.touched(size, [move.target for move in moves])
