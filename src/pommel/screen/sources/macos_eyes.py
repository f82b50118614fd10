"""What the two ways to see a Mac's screen have in common. Band: core, no I/O."""

from __future__ import annotations

from typing import Protocol

from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect
from pommel.screen.sources.macos_displays import View


class Eyes(Protocol):
    """A way to see displays. All of it is called in the event loop's thread."""

    @property
    def is_open(self) -> bool:
        """Tell whether it looks at something."""

    @property
    def trouble(self) -> str:
        """Why it sees nothing more and will not again; "" while it may."""

    async def open(self, view: View) -> None:
        """Look at `view` from now on, instead of what was looked at before.

        Raises:
            NotPermitted: a setting of the Mac forbids it.
            StateError: macOS cannot do it here.
        """

    async def take(self, frame: Frame) -> tuple[Rect, ...] | None:
        """Write into `frame`, which is of the view's size, what changed since the last call; return where.

        None: there is no whole picture yet. The first picture is whole. It may be cancelled.
        """

    def wait_s(self) -> float:
        """Return how long to wait for `news` before `take` is worth another call."""

    def close(self) -> None:
        """Look at nothing, until it is opened again."""
