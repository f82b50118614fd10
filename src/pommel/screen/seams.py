"""The contracts between the engine and what is around it. Band: core, no I/O.

Four seams: where pixels come from (`FrameSource`), where hands go to (`InputSink`), what makes pictures of pixels
(`Encoder`), and who looks on (`ViewerStream`). Who implements one keeps to what is written here, and nothing else is
relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pommel.screen.actions import Action
from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect
from pommel.screen.pictures import Image, Style
from pommel.screen.pointer import PointerPicture
from pommel.screen.tiles import Changes
from pommel.wire.messages import ALL_DISPLAYS, CursorShape, Display


@dataclass(frozen=True, slots=True)
class Displays:
    """The displays that can be shown alone, and the one that is; none of them if there is no choice."""

    all: tuple[Display, ...] = ()
    selected: int = ALL_DISPLAYS


@dataclass(frozen=True, slots=True)
class Update:
    """What is new since the last update. `frame` is the source's own, written to again after the next request.

    `pointer_visible`, `lock_keys` (bits of the wire's KeyState), `cursor`, `pointer`, `displays` and `relative` are
    None when they did not change. A source that knows the pointer's shape says so in `cursor`, any other in
    `pointer_visible`. One that knows what it looks like says so in `pointer`, and UNKNOWN when it no longer does; the
    same again is no news.

    `relative` tells that the machine's mouse knows only how far it was moved, or that it knows places; of a source that
    never says so it does.

    `changed` is where `frame` differs from the frame of the update before, when the source has compared
    them itself (whole when the size is another). The engine shows `frame` without a copy then; once the next update
    was asked for, it is written to only where this or a later update says so in `changed`.
    None: the engine compares and copies.
    """

    frame: Frame
    damage: tuple[Rect, ...]
    pointer_visible: bool | None = None
    lock_keys: int | None = None
    cursor: CursorShape | None = None
    pointer: PointerPicture | None = None
    displays: Displays | None = None
    changed: Changes | None = None
    relative: bool | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has gone for good; `reason` is for the people who look on."""

    reason: str


class FrameSource(Protocol):
    """Where pixels come from."""

    async def next_update(self) -> Update | Ended:
        """Wait for something new. May be cancelled and called again without losing anything.

        The first update is the whole picture. A source does no work for pictures that nobody has asked for.

        Raises:
            ProtocolError: the other side spoke nonsense; the source has ended.
        """

    def watch(self, watched: bool) -> None:
        """Take note whether anybody looks on.

        When somebody begins to, an update follows soon even if nothing has changed: so the engine knows that its
        picture is not an old one. While nobody does, a source may look less often.
        """

    def show_display(self, number: int) -> None:
        """Show the display of this number alone, or all (ALL_DISPLAYS); an update follows. Nothing if it cannot."""

    def shows_something(self, frame: Frame) -> bool:
        """Tell whether `frame` is a machine's picture: not blank, not the source's own stand-in for one."""


class InputSink(Protocol):
    """Where hands go to."""

    @property
    def has_sides(self) -> bool:
        """Tell whether a mouse there may have buttons for back and forward."""

    async def perform(self, action: Action) -> str:
        """Do one thing, after all that was asked before; return the characters or keys it cannot do, or "".

        Returns once the other side has been told, not when a guest has acted. Once that side has gone there
        is nothing to do, and that is no error.
        """

    def release(self, actions: Iterable[Action]) -> None:
        """Do what lets go of keys and buttons, at once: for a viewer that left, or a call being cancelled."""


class Encoder(Protocol):
    """What makes pictures of pixels."""

    def encode(self, pixels: Pixels, style: Style) -> Image:
        """Return an image file of `pixels`, a (height, width, 4) BGRX view that may be strided.

        Called from several threads at once. The pixels may change meanwhile; the result may be torn then.
        """


@runtime_checkable
class Draining(Protocol):
    """A `ViewerStream` that can tell when bytes have left. Of any other the engine asks again and again."""

    def call_when_drained(self, below: int, call: Callable[[], None]) -> None:
        """Call once, soon after fewer than `below` bytes wait or some more have left; a newer call replaces it."""
