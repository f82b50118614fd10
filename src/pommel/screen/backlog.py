"""What one viewer has still to be sent. Band: core, no I/O; time is an argument.

Pixels are state: the backlog is the set of tiles whose newest picture the viewer lacks, so it has one size however
slow the viewer is, and taking from it always gives the newest. Nothing is ever queued here.

What is missing when the frame timer allows it is a round, and is taken in as many servings as the link needs; a tile
that changes before its turn comes is taken once, as it is then. Where all is quiet, what was sent as less than exact
is taken again, a little at a time, to be sent as well as can be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pommel.screen import tiles
from pommel.screen.geometry import Rect, Size, split
from pommel.screen.grade import Grade
from pommel.screen.pictures import Format, Style
from pommel.screen.scaling import Scaling
from pommel.screen.tiles import TILE, Changes, Margins, TileMap
from pommel.wire import messages as wire

# MeshCentral's page begins with a canvas of this size and takes a Screen that says so for no news (it then never
# sends its Compression). Another size just before makes it news.
_UNSEEN_SIZE = Size(960, 701)

# A picture of 1920×256 decodes and encodes in parallel with its neighbours; smaller ones cost more than they win.
MAX_PICTURE_PIXELS = 512 * 1024
LEAST_PICTURE_PIXELS = TILE * TILE
# Two milliseconds of work, even lossless: a change that comes meanwhile waits for no more than that.
REFINED_PIXELS = 128 * 1024
REST_S = 0.25
FILM_REST_S = 0.5

# The bounds the reference agent for Windows keeps, and its quality before anything was asked.
DEFAULT_QUALITY = 50
MIN_TIMER_MS, MAX_TIMER_MS, DEFAULT_TIMER_MS = 20, 5000, 20
# A change that comes in two pieces must not have its second wait out a timer: a round may come this much early as long
# as they keep to the timer on the whole.
_EARLY_S = 0.02

# A viewer of MeshCentral's that asks for less than this wants few bytes (its wall of thumbnails asks for 20), and is
# not sent anything twice. Whoever asks for more wants to see, and bytes are cheap while nothing moves.
REFINED_FROM_QUALITY = 30


# What only those are told who ask for it in their Abilities.
_ASKED_FOR: dict[type[wire.Command], int] = {wire.Pointer: wire.SHOWS_POINTER, wire.MouseKind: wire.ASKS_OF_MOUSE}


@dataclass(frozen=True, slots=True)
class Round:
    """One serving: commands first, then pictures of `areas` (of the frame), in order, all in one style.

    `era` tells whether it still makes sense: once the backlog's is another, what is left of it is stale.
    """

    era: int
    commands: tuple[wire.Command, ...]
    areas: tuple[Rect, ...]
    scaling: Scaling
    style: Style
    film: Rect | None = None
    blocks: bool = False  # the viewer wants pictures of whole `wire.BLOCK`s


@dataclass(slots=True)
class Backlog:
    """What one viewer lacks, and how it wants it. Sizes are the frame's."""

    size: Size
    timer_ms: int = DEFAULT_TIMER_MS
    paused: bool = False
    era: int = 0
    grade: Grade = field(default_factory=lambda: Grade(DEFAULT_QUALITY))
    announced: Scaling = field(init=False)  # what the viewer's last Screen told; its mouse speaks in that picture
    _abilities: int = 0
    _asked_format: int = wire.ImageFormat.JPEG
    _scaling: int = wire.SCALE_ONE
    _missing: TileMap = field(init=False)
    _due: TileMap = field(init=False)  # what is left of the round
    _clean: Margins = field(init=False)  # of what is missing or due
    _rough: TileMap = field(init=False)  # was sent, and not exactly
    _was_rough: TileMap = field(init=False)  # before it was last taken
    _filmed: Rect | None = None
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
        """Tell whether the viewer says what it has shown."""
        return bool(self._abilities & wire.ACKNOWLEDGES)

    @property
    def takes_video(self) -> bool:
        """Tell whether what moves may be sent to this viewer as video now."""
        return bool(self._abilities & wire.TAKES_VIDEO) and not self.paused and self.announced.is_identity

    def mark(self, changes: Changes, size: Size, now_s: float) -> None:
        """Note that there is a newer picture where `changes` say, in a frame of `size`."""
        if size != self.size:
            self.size = size
            self.refresh()
        else:
            self._missing |= changes.tiles
            self._changed_s[changes.tiles] = now_s
            np.minimum(self._clean, changes.clean, out=self._clean)

    def refresh(self) -> None:
        """Note that the viewer is to hear of the size again and lacks everything."""
        self.era += 1
        self._announce = True
        self._missing, self._due, self._rough, self._was_rough = (tiles.empty_map(self.size) for _ in range(4))
        self._clean = Changes.throughout(self._missing).clean
        self._miss_all()
        self._changed_s = np.zeros(self._missing.shape)
        self._filmed = None

    def say(self, command: wire.Command) -> None:
        """Have `command` sent with the next round; a newer one of its kind takes its place.

        What few ask for (`_ASKED_FOR`) is kept from a viewer that does not, and sent once it does.
        """
        self._commands[type(command)] = command

    def obey(self, command: wire.Command) -> bool:
        """Act on a command about pictures; False if it is about something else."""
        match command:
            case wire.Refresh():
                self.refresh()
            case wire.Pause(paused):
                self.paused = paused
                self.era += paused
            case wire.FrameRateTimer(timer_ms):
                self._set_timer(timer_ms)
            case wire.Compression():
                self._compress(command)
            case wire.Abilities(bits):
                if bits & ~self._abilities & wire.WANTS_BLOCKS:
                    self._miss_all()
                self._abilities = bits
            case _:
                return False
        return True

    def due_in(self, now_s: float) -> float | None:
        """Return the seconds until there is something to send and it may be sent; None if there is nothing."""
        if self._announce or self._sayable:
            return 0.0
        if self.paused:
            return None
        if self._due.any():
            return 0.0
        if self._missing.any():
            return max(self._allowed_s - now_s, 0.0)
        if self._refines and self._rough.any():
            return max(float(self._rests_s(now_s)[self._rough].min()) - now_s, 0.0)
        return None

    @property
    def is_shown(self) -> bool:
        """Tell whether the viewer has been sent all that changed: what is due then can wait for everything else."""
        return not (self._announce or self._sayable or self._due.any() or self._missing.any())

    def take(self, now_s: float, pixels: int | None = None, *, tight: bool = False, film: Rect | None = None) -> Round:
        """Take what is due at `now_s` out of the backlog, some `pixels` of it; at least one picture.

        `tight` asks for few bytes rather than little work, once the viewer gets less than it asked for; what is due of
        `film` leaves as a frame of video, on top.
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
        return Round(self.era, commands, areas, self.announced, self._style(tight, best), film, self._blocks)

    def put_back(self, serving: Round, left: int) -> None:
        """Note that the last `left` areas of a serving were not sent after all."""
        if left and serving.scaling.frame == self.size:
            back = tiles.touched(self.size, serving.areas[-left:])
            if serving.style.best:
                self._rough |= back
            else:
                self._due |= back
                self._clean[back] = 0

    def put_back_film(self, serving: Round) -> None:
        """Note that the film's frame was not sent after all."""
        if serving.film is not None and serving.scaling.frame == self.size:
            self._due[tiles.cells(serving.film)] = True
            self._clean[tiles.cells(serving.film)] = 0

    def sent_exactly(self, area: Rect, serving: Round) -> None:
        """Note that `area` was sent exactly as it was."""
        if serving.scaling.frame == self.size:
            cells = tiles.cells(area)
            self._rough[cells] = self._was_rough[cells] & ~tiles.covered(self.size, [area])[cells]

    def end_serving(self, now_s: float) -> None:
        """Note that a serving has been sent; if that was all of the round, the next may look better."""
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
        ours = self._abilities and not self._blocks  # who wants blocks is spoken for by `mesh`
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
        """Take what is due of `film` as a frame of video."""
        if film is None or not self._due[cells := tiles.cells(film)].any():
            return None
        self._taken(cells)
        self._rough[cells] = True  # all of it: a frame is drawn over what was exact, too
        self._filmed = film
        return film

    def _rests_s(self, now_s: float) -> npt.NDArray[np.float64]:
        """Return when each tile may be sent exactly: a film's all at once, as its frames are drawn over them."""
        rests = self._changed_s + REST_S
        if self._filmed is not None:
            cells = tiles.cells(self._filmed)
            rests[cells] = self._changed_s[cells].max() + FILM_REST_S
            if float(rests[cells].max()) <= now_s:
                self._filmed = None
        return rests

    def _begin_round(self, now_s: float) -> None:
        if not self._due.any() and self._missing.any() and now_s >= self._allowed_s:
            self._due, self._missing = self._missing, self._due  # that one is empty
            self._next_s = max(self._next_s, now_s) + self.timer_ms / 1000
            self.grade.begin(now_s)

    def _take_fresh(self, now_s: float, pixels: int | None) -> tuple[Rect, ...]:
        areas = self._first_of(self._due, pixels, MAX_PICTURE_PIXELS, self._clean)
        for area in areas:
            cells = tiles.cells(area)
            self._taken(cells)
            self._was_rough[cells] = self._rough[cells]
            self._rough[cells] = True
        return areas

    def _taken(self, cells: tuple[slice, slice]) -> None:
        self._due[cells] = self._missing[cells] = False
        self._clean[cells] = TILE

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
        """Return the first areas of `wanted`, up to about `pixels` of the frame, each of at most `most` shown.

        They are of whole tiles but for what is `clean`.
        """
        shown, here = self.announced.picture, self.size.width * self.size.height
        most = most * here // max(shown.width * shown.height, 1)
        if pixels is not None and pixels < here:
            most = min(most, max(_rounded(pixels), LEAST_PICTURE_PIXELS))
        areas = _areas(wanted.tobytes(), b"" if clean is None else clean.tobytes(), self.size, max(most, 1))
        return areas if pixels is None else tuple(_up_to(areas, pixels))

    def _compress(self, command: wire.Compression) -> None:
        quality = min(max(command.quality, 1), 100)
        if quality > self.grade.asked:  # what is on the screen can be better now
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
    # Many viewers lack the same after each change: the rectangles are found once for all of them.
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
    # To few different sizes, so that slow viewers of about the same pace share their pictures too.
    return 1 << (pixels.bit_length() - 1) if pixels > 0 else 0
