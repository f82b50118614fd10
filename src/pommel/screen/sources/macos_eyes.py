"""The common part of the two ways to capture a Mac's screen. Band: core, no I/O."""

from __future__ import annotations

from typing import Protocol

from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect
from pommel.screen.sources.macos_displays import View


class Eyes(Protocol):
    """A way to capture displays. All its methods are called in the event loop's thread."""

    @property
    def is_open(self) -> bool:
        """Whether it captures displays now."""

    @property
    def trouble(self) -> str:
        """The reason why it captures nothing and will not again; "" while it can."""

    async def open(self, view: View) -> None:
        """Capture `view` from now on, instead of the view before.

        Raises:
            NotPermitted: a setting of the Mac forbids it.
            StateError: macOS cannot do it here.
        """

    async def take(self, frame: Frame) -> tuple[Rect, ...] | None:
        """Write the changes since the last call into `frame`, which has the view's size; return the changed rectangles.

        None: there is no whole picture yet. The first picture is whole. The call may be cancelled.
        """

    def wait_s(self) -> float:
        """Return how many seconds to wait for `news` before the next call of `take`."""

    def close(self) -> None:
        """Capture nothing until it is opened again."""
