"""What one viewer has still to be sent. Band: core, no I/O; time is an argument.

Pixels are state: the backlog is the set of tiles whose newest picture the viewer lacks, so it has one size however
slow the viewer is, and taking from it always gives the newest. Nothing is ever queued here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pommel.screen import tiles
from pommel.screen.geometry import Rect, Size, split
from pommel.screen.scaling import Scaling
from pommel.screen.tiles import TILE, TileMap
from pommel.wire import messages as wire

# MeshCentral's page begins with a canvas of this size and takes a Screen that says so for no news (it then never
# sends its Compression). Another size just before makes it news.
_UNSEEN_SIZE = Size(960, 701)

# A picture of 1920×256 decodes and encodes in parallel with its neighbours; smaller ones cost more than they win.
MAX_PICTURE_PIXELS = 512 * 1024

# The bounds the reference agent for Windows keeps, and its quality before anything was asked.
DEFAULT_QUALITY = 50
MIN_TIMER_MS, MAX_TIMER_MS, DEFAULT_TIMER_MS = 20, 5000, 20


@dataclass(frozen=True, slots=True)
class Round:
    """One serving: commands first, then pictures of `areas` (of the frame), in order.

    `era` tells whether it still makes sense: once the backlog's is another, what is left of it is stale.
    """

    era: int
    commands: tuple[wire.Command, ...]
    areas: tuple[Rect, ...]
    scaling: Scaling
    quality: int


@dataclass(slots=True)
class Backlog:
    """What one viewer lacks, and how it wants it. Sizes are the frame's."""

    size: Size
    quality: int = DEFAULT_QUALITY
    timer_ms: int = DEFAULT_TIMER_MS
    paused: bool = False
    era: int = 0
    announced: Scaling = field(init=False)  # what the viewer's last Screen told; its mouse speaks in that picture
    _scaling: int = wire.SCALE_ONE
    _missing: TileMap = field(init=False)
    _commands: dict[type, wire.Command] = field(default_factory=dict)
    _announce: bool = True
    _first: bool = True
    _next_s: float = 0.0

    def __post_init__(self) -> None:
        self.announced = Scaling(self.size, self._scaling)
        self.refresh()

    def mark(self, changed: TileMap, size: Size) -> None:
        """Note that the tiles of `changed` have a newer picture, in a frame of `size`."""
        if size != self.size:
            self.size = size
            self.refresh()
        else:
            self._missing |= changed

    def refresh(self) -> None:
        """Note that the viewer is to hear of the size again and lacks everything."""
        self.era += 1
        self._announce = True
        self._missing = ~tiles.empty_map(self.size)

    def say(self, command: wire.Command) -> None:
        """Have `command` sent with the next round; a newer one of its kind takes its place."""
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
            case _:
                return False
        return True

    def due_in(self, now_s: float) -> float | None:
        """Return the seconds until there is something to send and it may be sent; None if there is nothing."""
        if self._announce or self._commands:
            return 0.0
        if self.paused or not self._missing.any():
            return None
        return max(self._next_s - now_s, 0.0)

    def take(self, now_s: float) -> Round:
        """Take what is due at `now_s` out of the backlog."""
        commands = (*self._screens(), *self._commands.values())
        self._commands.clear()
        scaling = self.announced
        if self.paused or now_s < self._next_s:
            return Round(self.era, commands, (), scaling, self.quality)
        areas = self._areas(scaling)
        if areas:
            self._next_s = now_s + self.timer_ms / 1000
        return Round(self.era, commands, areas, scaling, self.quality)

    def put_back(self, serving: Round, left: int) -> None:
        """Note that the last `left` areas of a serving were not sent after all."""
        if left and serving.scaling.frame == self.size:
            self._missing |= tiles.touched(self.size, serving.areas[-left:])

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

    def _areas(self, scaling: Scaling) -> tuple[Rect, ...]:
        shown = scaling.picture.width * scaling.picture.height
        most = MAX_PICTURE_PIXELS * self.size.width * self.size.height // max(shown, 1)
        areas = [piece for rect in tiles.rects(self._missing, self.size) for piece in split(rect, max(most, 1), TILE)]
        self._missing = np.zeros_like(self._missing)
        return tuple(areas)

    def _compress(self, command: wire.Compression) -> None:
        quality = min(max(command.quality, 1), 100)
        if quality > self.quality:  # what is on the screen can be better now
            self._missing = ~tiles.empty_map(self.size)
        self.quality = quality
        if command.frame_timer_ms is not None:
            self._set_timer(command.frame_timer_ms)
        if command.scaling is not None and command.scaling != self._scaling:
            before, self._scaling = Scaling(self.size, self._scaling), command.scaling
            if Scaling(self.size, self._scaling).picture != before.picture:
                self.refresh()

    def _set_timer(self, timer_ms: int) -> None:
        self.timer_ms = min(max(timer_ms, MIN_TIMER_MS), MAX_TIMER_MS)
