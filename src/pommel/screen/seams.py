"""The contracts between the engine and what is around it. Band: core, no I/O.

Four contracts: where pixels come from (`FrameSource`), where keys and pointer go (`InputSink`), what encodes pixels
(`Encoder`), and the connection of a viewer (`ViewerStream`). An implementation must do what is written here, and the
engine relies on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pommel.screen.actions import Action
from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect
from pommel.screen.moves import Moved, MoveFinder
from pommel.screen.pictures import Image, Style
from pommel.screen.pointer import PointerPicture
from pommel.screen.tiles import Changes
from pommel.wire.messages import ALL_DISPLAYS, CursorShape, Display


@dataclass(frozen=True, slots=True)
class Displays:
    """The displays that can be shown alone, and the one that is shown; empty if there is no choice."""

    all: tuple[Display, ...] = ()
    selected: int = ALL_DISPLAYS


@dataclass(frozen=True, slots=True)
class Update:
    """What is new since the last update. `frame` is the source's; it writes to it again after the next request.

    `pointer_visible`, `lock_keys` (bits of the wire's KeyState), `cursor`, `pointer`, `displays` and `relative` are
    None when they did not change. A source that knows the pointer's shape gives it in `cursor`; any other gives
    `pointer_visible`. A source that knows the pointer's picture gives it in `pointer`, and UNKNOWN when it no longer
    knows it. The same value again counts as no change.

    `relative` is true if the machine's mouse takes only movements, and false if it takes places. If a source never sets
    it, the mouse takes places.

    `changed` is where `frame` differs from the frame of the update before, when the source has compared
    them itself (whole when the size is another). The engine shows `frame` without a copy then; once the next update
    was asked for, it is written to only where this or a later update says so in `changed`.
    None: the engine compares and copies.

    `moved` is what a source found that looks for moves itself (`SearchingSource`), beside `changed`.
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
    moved: Moved | None = None


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """The source has ended and will not come back; `reason` is a text for the viewers."""

    reason: str


class FrameSource(Protocol):
    """The source of the pictures."""

    async def next_update(self) -> Update | SourceEnded:
        """Wait for an update. It may be cancelled and called again without a loss.

        The first update is the whole picture. A source does no work for pictures that nobody has asked for.

        Raises:
            ProtocolError: the other side broke its protocol; the source has ended.
        """

    def watch(self, watched: bool) -> None:
        """Note whether there is a viewer.

        When the first viewer comes, an update must follow soon, even if nothing has changed: this tells the engine that
        its picture is not old. While there is no viewer, a source may check less often.
        """

    def show_display(self, number: int) -> None:
        """Show only the display of this number, or all (ALL_DISPLAYS); an update follows.

        Nothing happens if it cannot.
        """

    def shows_something(self, frame: Frame) -> bool:
        """Whether `frame` is a machine's picture: not blank, and not the source's own placeholder."""


@runtime_checkable
class SearchingSource(Protocol):
    """A `FrameSource` that shows a frame that it writes into, and so looks for moves itself, before it does."""

    finder: MoveFinder


class InputSink(Protocol):
    """The target of keyboard and mouse actions."""

    @property
    def has_sides(self) -> bool:
        """Whether it supports mouse buttons for back and forward."""

    async def perform(self, action: Action) -> str:
        """Do one action, after all actions before it; return the characters or keys that it cannot do, or "".

        Returns when the action was sent, not when a guest has acted on it. If the other side has gone, nothing is done,
        and this is not an error.
        """

    def release(self, actions: Iterable[Action]) -> None:
        """Release keys and buttons at once: for a viewer that left, or for a call that is cancelled."""


class Encoder(Protocol):
    """Encodes pixels as pictures."""

    def encode(self, pixels: Pixels, style: Style) -> Image:
        """Return an image file of `pixels`, a (height, width, 4) BGRX view that may be strided.

        Called from several threads at once. The pixels may change meanwhile; the result may be torn then.
        """


@runtime_checkable
class Draining(Protocol):
    """A `ViewerStream` that reports when bytes have left. For any other, the engine asks again and again."""

    def call_when_drained(self, below: int, call: Callable[[], None]) -> None:
        """Call once, soon after fewer than `below` bytes wait or some more have left; a newer call replaces it."""
