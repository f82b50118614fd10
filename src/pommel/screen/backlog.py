"""The tiles that one viewer still needs. Band: core, no I/O; time is an argument.

The backlog is the set of tiles whose newest picture the viewer does not have. So its size does not grow when the viewer
is slow, and a tile that is taken from it always has the newest pixels. There is no queue.

A *round* is all that is missing when the frame timer allows to send. It is taken in *servings*, as many as the link
needs. A tile that changes before it is taken is taken only once, with its newest pixels. When nothing changes, tiles
that were sent in lower quality are taken again, a few at a time, and sent in the best quality.

A viewer that takes moves is also told what moved. Its picture may be old there, so what it lacks moves too: its
picture, after all that was taken and then the moves in order, is right wherever nothing is missing. So moves leave
before anything that is taken later. What was taken and is not begun when something moves is put back first, to move
with the rest (`Delivery.mark`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pommel.screen import tiles
from pommel.screen.boxes import Boxes, put_rect
from pommel.screen.geometry import Rect, Size, split
from pommel.screen.grade import Grade
from pommel.screen.move_search import MovedArea
from pommel.screen.moves import Moved
from pommel.screen.pictures import Format, Style
from pommel.screen.scaling import Scaling
from pommel.screen.tiles import TILE, Changes, Margins, TileMap
from pommel.wire import messages as wire

# MeshCentral's page begins with a canvas of this size, and ignores a first Screen of the same size: then it never sends
# its Compression. So a Screen of another size is sent just before.
_UNSEEN_SIZE = Size(960, 701)

# 1920×256 pixels: such pictures are encoded and decoded in parallel. Smaller ones cost more time than they save.
MAX_PICTURE_PIXELS = 512 * 1024
LEAST_PICTURE_PIXELS = TILE * TILE
# At most two milliseconds of work, even lossless, so that a new change does not wait for longer.
REFINED_PIXELS = 128 * 1024
REST_S = 0.25
FILM_REST_S = 0.5

# The limits of MeshCentral's agent for Windows, and its quality before the viewer's Compression.
DEFAULT_QUALITY = 50
MIN_TIMER_MS, MAX_TIMER_MS, DEFAULT_TIMER_MS = 20, 5000, 20
# A round may begin this much early, if the mean rate keeps to the timer: otherwise the second part of a change that
# comes in two parts would wait for a whole timer.
_EARLY_S = 0.02

# A MeshCentral viewer with a lower quality wants few bytes (the thumbnails ask for 20), so nothing is sent twice. With
# a higher quality, a still picture is sent again in the best quality, because bytes are cheap while nothing changes.
REFINED_FROM_QUALITY = 30


# A viewer that lags further behind than this gets pictures of what moved.
_MOST_MOVES = 32

# Commands that are only sent to viewers with this bit in their Abilities.
_ASKED_FOR: dict[type[wire.Command], int] = {wire.Pointer: wire.SHOWS_POINTER, wire.MouseKind: wire.ASKS_OF_MOUSE}


@dataclass(frozen=True, slots=True)
class Round:
    """One serving: commands first, then pictures of `areas` (of the frame), in order, all in one style.

    `era` shows whether it is still valid: after a change of the backlog's era, the rest of it is out of date.
    """

    era: int
    commands: tuple[wire.Command, ...]
    areas: tuple[Rect, ...]
    scaling: Scaling
    style: Style
    film: Rect | None = None
    blocks: bool = False  # the viewer wants pictures of whole `wire.BLOCK`s
    moves_before: int = 0  # how many were noted when it was taken


@dataclass(slots=True)
class Backlog:
    """What one viewer lacks, and its wishes. Sizes are those of the frame."""

    size: Size
    timer_ms: int = DEFAULT_TIMER_MS
    paused: bool = False
    era: int = 0
    grade: Grade = field(default_factory=lambda: Grade(DEFAULT_QUALITY))
    # of the last Screen that the viewer got: its mouse positions are in that picture
    announced: Scaling = field(init=False)
    _abilities: int = 0
    _asked_format: int = wire.ImageFormat.JPEG
    _scaling: int = wire.SCALE_ONE
    _missing: TileMap = field(init=False)
    _due: TileMap = field(init=False)  # what is left of the round
    _clean: Margins = field(init=False)  # of what is missing or due
    _rough: TileMap = field(init=False)  # was sent with loss
    _was_rough: TileMap = field(init=False)  # before it was last taken
    _filmed: Rect | None = None
    _moves: list[MovedArea] = field(default_factory=list)  # not yet taken
    _moves_noted: int = 0
    _changed_s: npt.NDArray[np.float64] = field(init=False)
    _commands: dict[type, wire.Command] = field(default_factory=dict)
    _announce: bool = True
    _first: bool = True
    _next_s: float = 0.0

    def __post_init__(self) -> None:
        self.announced = Scaling(self.size, self._scaling)
        self.refresh()

    @property
    def acknowledges(self) -> bool:
        """Whether the viewer acknowledges the pictures that it has shown."""
        return bool(self._abilities & wire.ACKNOWLEDGES)

    @property
    def takes_video(self) -> bool:
        """Whether video may be sent to this viewer now."""
        return bool(self._abilities & wire.TAKES_VIDEO) and not self.paused and self.announced.is_identity

    @property
    def takes_moves(self) -> bool:
        """Tell whether this viewer may be told what moved now."""
        takes = bool(self._abilities & wire.TAKES_MOVES) and not self._blocks
        return takes and not self.paused and not self._announce and self.announced.is_identity

    @property
    def has_moves(self) -> bool:
        """Tell whether there are moves to be told, which need no room."""
        return bool(self._moves)

    def mark(self, changes: Changes, size: Size, now_s: float) -> None:
        """Note that the tiles in `changes` have newer pixels, in a frame of `size`."""
        if size != self.size:
            self.size = size
            self.refresh()
        else:
            self._missing |= changes.tiles
            self._changed_s[changes.tiles] = now_s
            np.minimum(self._clean, changes.clean, out=self._clean)

    def mark_moved(self, moved: Moved, now_s: float) -> None:
        """Note that there is a newer picture, for a viewer that `takes_moves`; all that is not begun was put back."""
        for move in moved.moves:
            self._moves_noted += 1
            self._changed_s[tiles.touched(self.size, [move.target])] = now_s
            if self._filmed and (self._filmed.meets(move.source) or self._filmed.meets(move.target)):
                put_rect(self._missing, self._clean, move.target)  # which of its frames that moves is not known
            else:
                self._shift(move)
                self._moves.append(move)
        if len(self._moves) > _MOST_MOVES:
            self._forget_moves()
        self.mark(moved.rest, self.size, now_s)

    def take_moves(self) -> tuple[wire.Command, ...]:
        """Take the moves that the viewer was not told yet."""
        moves, self._moves = self._moves, []
        return tuple(wire.Move(*move.source, move.target.x, move.target.y) for move in moves)

    def refresh(self) -> None:
        """Note that the viewer needs the size again, and every tile."""
        self.era += 1
        self._moves = []
        self._announce = True
        self._missing, self._due, self._rough, self._was_rough = (tiles.empty_map(self.size) for _ in range(4))
        self._clean = Changes.throughout(self._missing).clean
        self._miss_all()
        self._changed_s = np.zeros(self._missing.shape)
        self._filmed = None

    def queue_command(self, command: wire.Command) -> None:
        """Send `command` with the next round; a newer command of its type replaces it.

        A command in `_ASKED_FOR` waits until the viewer has the ability for it.
        """
        self._commands[type(command)] = command

    def obey(self, command: wire.Command) -> bool:
        """Carry out a command about pictures; False: it is about something else."""
        match command:
            case wire.Refresh():
                self.refresh()
            case wire.Pause(paused):
                self.paused = paused
                self.era += paused
                if paused:
                    self._forget_moves()
            case wire.FrameRateTimer(timer_ms):
                self._set_timer(timer_ms)
            case wire.Compression():
                self._compress(command)
            case wire.Abilities(bits):
                if bits & ~self._abilities & wire.WANTS_BLOCKS:
                    self._miss_all()
                self._abilities = bits
                self._forget_moves()
            case _:
                return False
        return True

    def due_in(self, now_s: float) -> float | None:
        """The seconds until something may be sent; None: there is nothing to send."""
        if self._announce or self._sayable:
            return 0.0
        if self.paused:
            return None
        if self._due.any():
            return 0.0
        if self._missing.any() or self._moves:
            return max(self._allowed_s - now_s, 0.0)
        if self._refines and self._rough.any():
            return max(float(self._rests_s(now_s)[self._rough].min()) - now_s, 0.0)
        return None

    @property
    def is_shown(self) -> bool:
        """Whether all changes have been sent: then only better quality is due, which has the lowest priority."""
        return not (self._announce or self._sayable or self._moves or self._due.any() or self._missing.any())

    def take(self, now_s: float, pixels: int | None = None, *, tight: bool = False, film: Rect | None = None) -> Round:
        """Take what is due at `now_s` out of the backlog, about `pixels` of it; at least one picture.

        `tight` prefers few bytes to little work, if the viewer gets a lower quality than it asked for. The due tiles
        in `film` are sent as a frame of video in addition.
        """
        said = self._sayable
        commands = (*self._screens(), *said)
        for command in said:
            del self._commands[type(command)]
        areas: tuple[Rect, ...] = ()
        best = False
        if self.paused:
            film = None
        else:
            self._begin_round(now_s)
            film = self._take_film(film)
            areas = self._take_fresh(now_s, pixels)
            if film is None and not areas and not self._missing.any() and self._refines:
                areas, best = self._take_rough(now_s, pixels), True
        style, commands = self._style(tight, best), (*commands, *self.take_moves())
        return Round(self.era, commands, areas, self.announced, style, film, self._blocks, self._moves_noted)

    def put_back(self, serving: Round, areas: Collection[Rect]) -> None:
        """Put back these areas of a serving, which were not sent."""
        if not areas or serving.scaling.frame != self.size:
            return
        if serving.moves_before != self._moves_noted:  # begun before a move, and ended by a pause after it
            self._miss_all()
        elif serving.style.best:
            self._rough |= tiles.touched(self.size, areas)
        else:
            for area in areas:
                put_rect(self._due, self._clean, area)

    def put_back_film(self, serving: Round) -> None:
        """Put back the film's frame, which was not sent."""
        if serving.film is not None and serving.scaling.frame == self.size:
            self._due[tiles.cells(serving.film)] = True
            self._clean[tiles.cells(serving.film)] = 0

    def sent_exactly(self, area: Rect, serving: Round) -> None:
        """Note that `area` was sent without loss."""
        if serving.scaling.frame == self.size and serving.moves_before == self._moves_noted:
            cells = tiles.cells(area)
            self._rough[cells] = self._was_rough[cells] & ~tiles.covered(self.size, [area])[cells]

    def end_serving(self, now_s: float) -> None:
        """Note that a serving has been sent; if it was the last of the round, the quality may rise."""
        if not self._due.any():
            self.grade.done(now_s)

    @property
    def _sayable(self) -> tuple[wire.Command, ...]:
        return tuple(
            one for kind, one in self._commands.items()
            if kind not in _ASKED_FOR or self._abilities & _ASKED_FOR[kind]
        )  # fmt: skip

    @property
    def _allowed_s(self) -> float:
        return self._next_s - min(self.timer_ms / 1000, _EARLY_S)

    @property
    def _format(self) -> Format:
        if self._abilities & wire.TAKES_WEBP or self._asked_format == wire.ImageFormat.WEBP:
            return Format.WEBP
        if self._abilities & wire.TAKES_PNG or self._asked_format == wire.ImageFormat.PNG:
            return Format.PNG
        return Format.JPEG

    @property
    def _refines(self) -> bool:
        # for viewers with blocks, `mesh` sets the abilities, not the viewer
        ours = self._abilities and not self._blocks
        return bool(ours) or self.grade.asked >= REFINED_FROM_QUALITY

    @property
    def _blocks(self) -> bool:
        return bool(self._abilities & wire.WANTS_BLOCKS)

    def _style(self, tight: bool, best: bool) -> Style:
        quality = self.grade.asked if best else self.grade.quality
        return Style(quality, self._format, tight and self.grade.is_pressed, best)

    def _screens(self) -> tuple[wire.Command, ...]:
        if not self._announce:
            return ()
        first, self._first, self._announce = self._first, False, False
        self.announced = Scaling(self.size, self._scaling)
        width, height = self.announced.picture
        screen = wire.Screen(width, height)
        if first and self.announced.picture == _UNSEEN_SIZE:
            return wire.Screen(width, height + 1), screen
        return (screen,)

    def _take_film(self, film: Rect | None) -> Rect | None:
        """Take the due tiles of `film` as a frame of video; None: there are none."""
        if film is None or not self._due[cells := tiles.cells(film)].any():
            return None
        self._mark_taken(cells)
        self._rough[cells] = True  # all tiles, because the frame also covers tiles that were exact
        self._filmed = film
        return film

    def _rests_s(self, now_s: float) -> npt.NDArray[np.float64]:
        """When each tile may be sent exactly.

        All tiles of a film have the same time, because its frames cover them all.
        """
        rests = self._changed_s + REST_S
        if self._filmed is not None:
            cells = tiles.cells(self._filmed)
            rests[cells] = self._changed_s[cells].max() + FILM_REST_S
            if float(rests[cells].max()) <= now_s:
                self._filmed = None
        return rests

    def _begin_round(self, now_s: float) -> None:
        if not self._due.any() and (self._missing.any() or self._moves) and now_s >= self._allowed_s:
            # `_due` is empty here, so it becomes the new `_missing`
            self._due, self._missing = self._missing, self._due
            self._next_s = max(self._next_s, now_s) + self.timer_ms / 1000
            self.grade.begin(now_s)

    def _take_fresh(self, now_s: float, pixels: int | None) -> tuple[Rect, ...]:
        areas = self._first_of(self._due, pixels, MAX_PICTURE_PIXELS, self._clean)
        for area in areas:
            cells = tiles.cells(area)
            self._mark_taken(cells)
            self._was_rough[cells] = self._rough[cells]
            self._rough[cells] = True
        return areas

    def _mark_taken(self, cells: tuple[slice, slice]) -> None:
        self._due[cells] = self._missing[cells] = False
        self._clean[cells] = TILE

    def _shift(self, move: MovedArea) -> None:
        """Move what the viewer lacks with its pixels."""
        lacking, was_due = Boxes.of(self._missing | self._due, self._clean), self._due
        self._missing, self._due = tiles.empty_map(self.size), tiles.empty_map(self.size)
        self._clean = Changes.throughout(self._missing).clean
        self._lack(lacking.without(move.target), was_due)
        self._lack(lacking.within(move.source), was_due, move.dx, move.dy)
        rough = Boxes.of(self._rough, np.zeros_like(self._clean)).within(move.source)
        self._rough = self._rough & ~tiles.covered(self.size, [move.target])
        rough.put(self._rough, np.zeros_like(self._clean), move.dx, move.dy)

    def _lack(self, boxes: Boxes, was_due: TileMap, dx: int = 0, dy: int = 0) -> None:
        boxes.some(was_due).put(self._due, self._clean, dx, dy)
        boxes.some(~was_due).put(self._missing, self._clean, dx, dy)

    def _forget_moves(self) -> None:
        """Send pictures instead: without the moves, the viewer's picture differs in their targets only."""
        for move in self._moves:
            put_rect(self._missing, self._clean, move.target)
        self._moves = []

    def _miss_all(self) -> None:
        self._missing[:] = True
        self._clean[:] = 0

    def _take_rough(self, now_s: float, pixels: int | None) -> tuple[Rect, ...]:
        at_rest = self._rough & (self._rests_s(now_s) <= now_s)
        most = REFINED_PIXELS if pixels is None else min(pixels, REFINED_PIXELS)
        areas = self._first_of(at_rest, most, REFINED_PIXELS)[:1]
        for area in areas:
            self._rough[tiles.cells(area)] = False
        return areas

    def _first_of(
        self, wanted: TileMap, pixels: int | None, most: int, clean: Margins | None = None
    ) -> tuple[Rect, ...]:
        """The first areas of `wanted`, about `pixels` of the frame in all, each at most `most` pixels of the picture.

        They consist of whole tiles, without the `clean` margins.
        """
        shown, here = self.announced.picture, self.size.width * self.size.height
        most = most * here // max(shown.width * shown.height, 1)
        if pixels is not None and pixels < here:
            most = min(most, max(_rounded(pixels), LEAST_PICTURE_PIXELS))
        areas = _areas(wanted.tobytes(), b"" if clean is None else clean.tobytes(), self.size, max(most, 1))
        return areas if pixels is None else tuple(_up_to(areas, pixels))

    def _compress(self, command: wire.Compression) -> None:
        quality = min(max(command.quality, 1), 100)
        if quality > self.grade.asked:  # the shown pictures can be better now
            self._miss_all()
        self.grade.ask(quality)
        self._asked_format = command.format
        if command.frame_timer_ms is not None:
            self._set_timer(command.frame_timer_ms)
        if command.scaling is not None and command.scaling != self._scaling:
            before, self._scaling = Scaling(self.size, self._scaling), command.scaling
            if Scaling(self.size, self._scaling).picture != before.picture:
                self.refresh()

    def _set_timer(self, timer_ms: int) -> None:
        self.timer_ms = min(max(timer_ms, MIN_TIMER_MS), MAX_TIMER_MS)


@lru_cache(maxsize=64)
def _areas(wanted: bytes, clean: bytes, size: Size, most: int) -> tuple[Rect, ...]:
    # Cached, because after each change many viewers lack the same tiles.
    shape = tiles.empty_map(size).shape
    found = tiles.rects(np.frombuffer(wanted, np.bool_).reshape(shape), size)
    pieces = (piece for rect in found for piece in split(rect, most, TILE))
    if not clean:
        return tuple(pieces)
    margins = np.frombuffer(clean, np.uint8).reshape(*shape, 4)
    return tuple(area for piece in pieces if (area := tiles.trimmed(piece, margins)).area)


def _up_to(areas: Iterable[Rect], pixels: int) -> Iterable[Rect]:
    for area in areas:
        yield area
        pixels -= area.area
        if pixels <= 0:
            return


def _rounded(pixels: int) -> int:
    # To a power of two: with few different sizes, slow viewers with a similar rate also share their pictures.
    return 1 << (pixels.bit_length() - 1) if pixels > 0 else 0
