"""Captures a Mac's screen picture by picture: up to macOS 13, and where there are no streams. Band: shell.

CGDisplayCreateImage takes milliseconds and does not report changes. So a thread takes the pictures, and bands of rows
are compared with the last picture. While nothing changes, pictures are taken less and less often.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np

from pommel.errors import StateError
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, whole
from pommel.screen.sources.macos_displays import View
from pommel.screen.sources.macos_frameworks import Frameworks
from pommel.screen.sources.macos_pixels import Canvas
from pommel.tasks import start_task

_BUSY_S, _IDLE_S = 1 / 30, 0.2
_SLOWER = 1.3
_BAND = 64
# A display that sleeps gives no picture: after this time its part of the picture is shown black.
_WHOLE_S = 1.0


class StillEyes:
    """Takes single pictures of the displays of a view, one after the other."""

    def __init__(self, frameworks: Frameworks) -> None:
        self._frameworks = frameworks
        self._view = View()
        self._canvas: Canvas | None = None
        self._shot: asyncio.Future[int] | None = None
        self._first = True
        self._gap_s, self._next_s, self._whole_by_s = _BUSY_S, 0.0, 0.0

    @property
    def is_open(self) -> bool:
        """See `Eyes`."""
        return self._canvas is not None

    @property
    def trouble(self) -> str:
        """See `Eyes`. Always "": a display without a picture may only be asleep."""
        return ""

    async def open(self, view: View) -> None:
        """See `Eyes`."""
        if not self._frameworks.has_stills:
            raise StateError("this macOS needs ScreenCaptureKit to capture a display")
        await self._settle()
        self._view, self._canvas = view, Canvas(self._frameworks, view.size)
        self._first, self._gap_s, self._next_s = True, _BUSY_S, 0.0
        self._whole_by_s = time.monotonic() + _WHOLE_S

    async def take(self, frame: Frame) -> tuple[Rect, ...] | None:
        """See `Eyes`."""
        canvas = self._canvas
        if canvas is None or (self._shot is None and time.monotonic() < self._next_s):
            return None if self._first else ()
        drawn = await self._picture(canvas)
        if not drawn and self._first and time.monotonic() < self._whole_by_s:
            return None
        damage = self._changes(frame, canvas) if drawn or self._first else ()
        self._gap_s = _BUSY_S if damage else min(self._gap_s * _SLOWER, _IDLE_S)
        self._next_s = time.monotonic() + self._gap_s
        return damage

    def wait_s(self) -> float:
        """See `Eyes`."""
        return max(self._next_s - time.monotonic(), 0.0)

    def close(self) -> None:
        """See `Eyes`."""
        self._canvas = None

    async def _picture(self, canvas: Canvas) -> int:
        """Draw the displays in a thread; return the number of displays with a picture."""
        # A thread cannot be cancelled: after a cancelled call, the next call waits for the same picture.
        shot = self._shot = self._shot or start_task(asyncio.to_thread(self._draw, canvas, self._view))
        try:
            return await asyncio.shield(shot)
        finally:
            if shot.done():
                self._shot = None

    def _draw(self, canvas: Canvas, view: View) -> int:
        """Draw the displays; called in a thread. Return the number of displays with a picture."""
        drawn = 0
        for display in view.displays:
            with self._frameworks.pool():
                image = self._frameworks.still(display.id)
                if image is not None:
                    canvas.draw(image, view.place(display))
                    drawn += 1
        return drawn

    def _changes(self, frame: Frame, canvas: Canvas) -> tuple[Rect, ...]:
        damage = []
        for y in range(0, frame.size.height, _BAND):
            band = Rect(0, y, frame.size.width, min(_BAND, frame.size.height - y))
            now = canvas.pixels[band.y : band.bottom]
            if not np.array_equal(now, frame.view(band)):
                frame.view(band)[:] = now
                damage.append(band)
        first, self._first = self._first, False
        return (whole(frame.size),) if first else tuple(damage)

    async def _settle(self) -> None:
        """Wait for a picture of the last view that is still being taken."""
        if self._shot is not None and self._canvas is not None:
            await self._picture(self._canvas)
        self._shot = None
