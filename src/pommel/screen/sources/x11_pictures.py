"""Ways to get pixels out of an X server into a frame. Band: shell; in a connection's thread.

Through MIT-SHM the server writes where we read: whole lines land in the frame itself, and only rectangles narrower
than half of it, for which that would be more than copying, are packed beside it and copied.
A server on another machine sends them as plain replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from Xlib import X
from Xlib.display import Display
from Xlib.error import XError
from Xlib.xobject.drawable import Window

from pommel.screen.frame import BYTES_PER_PIXEL, Frame
from pommel.screen.geometry import Rect, Size, split
from pommel.screen.sources import x11_requests as ask
from pommel.screen.sources.x11_memory import SharedMemory

# What one plain reply may carry: python-xlib gathers a reply by appending, which takes the square of its length.
_REPLY_PIXELS = 128 << 10


class Picture(Protocol):
    """A frame that can be brought up to date. Its upper left corner is at `place` on the root window."""

    frame: Frame
    place: Rect

    def grab(self, rects: Sequence[Rect]) -> None:
        """Write what `rects` (of the frame, none overlapping) show now into it. XError: the root is smaller."""

    def close(self) -> None:
        """Have the server forget it. The frame stays readable."""


class SharedPicture:
    """A picture in memory that is shared with the server."""

    def __init__(self, display: Display, place: Rect) -> None:
        """Share memory for `place`. OSError, or XError: it cannot be shared with this server."""
        self._display, self._root, self.place = display, display.screen().root, place
        size = place.area * BYTES_PER_PIXEL
        memory = SharedMemory(2 * size)  # the frame, then room for packed rectangles; the kernel gives what is used
        self.frame = Frame(memory.data[:size].reshape(place.height, place.width, BYTES_PER_PIXEL))
        self._room, self._beside = memory.data[size:], size
        self._segment: int = display.display.allocate_resource_id()
        self._opcode = display.display.get_extension_major(ask.SHM)
        refused: list[XError] = []

        def refuse(failure: XError, _: object) -> int:
            refused.append(failure)
            return 1

        ask.ShmAttach(
            display.display, refuse, opcode=self._opcode, segment=self._segment, shm_id=memory.id, read_only=False
        )
        display.sync()
        if refused:
            raise refused[0]

    def grab(self, rects: Sequence[Rect]) -> None:
        """See `Picture`. All requests go out before the first reply is waited for."""
        asked, packed, used = [], [], 0
        for rect in rects:
            if 2 * rect.width >= self.place.width:
                lines = Rect(0, rect.y, self.place.width, rect.height)
                asked.append(self._ask(lines, lines.y * self.place.width * BYTES_PER_PIXEL))
            else:
                asked.append(self._ask(rect, self._beside + used))
                packed.append((rect, used))
                used += rect.area * BYTES_PER_PIXEL
        for one in asked:
            one.reply()
        for rect, at in packed:
            pixels = self._room[at : at + rect.area * BYTES_PER_PIXEL]
            self.frame.view(rect)[:] = pixels.reshape(rect.height, rect.width, BYTES_PER_PIXEL)

    def close(self) -> None:
        """See `Picture`."""
        ask.ShmDetach(self._display.display, opcode=self._opcode, segment=self._segment)
        self._display.display.free_resource_id(self._segment)

    def _ask(self, rect: Rect, offset: int) -> ask.ShmGetImage:
        on_root = rect._replace(x=rect.x + self.place.x, y=rect.y + self.place.y)
        return ask.start_shm_image(self._display, self._root, on_root, self._segment, offset)


class SentPicture:
    """A picture that the server sends, piece by piece."""

    def __init__(self, root: Window, place: Rect) -> None:
        self._root, self.place = root, place
        self.frame = Frame.blank(Size(place.width, place.height))

    def grab(self, rects: Sequence[Rect]) -> None:
        """See `Picture`."""
        for rect in rects:
            for piece in split(rect, _REPLY_PIXELS, 1):
                x, y = piece.x + self.place.x, piece.y + self.place.y
                image = self._root.get_image(x, y, piece.width, piece.height, X.ZPixmap, ask.ALL_PLANES)
                pixels = np.frombuffer(bytes(image.data), np.uint8, count=piece.area * BYTES_PER_PIXEL)
                self.frame.view(piece)[:] = pixels.reshape(piece.height, piece.width, BYTES_PER_PIXEL)

    def close(self) -> None:
        """See `Picture`."""


def new_picture(display: Display, place: Rect, *, shared: bool) -> Picture:
    """Make a picture of `place`, in shared memory if that is wished for and can be had."""
    if shared:
        try:
            return SharedPicture(display, place)
        except (OSError, XError):  # a server elsewhere, or of another user
            pass
    return SentPicture(display.screen().root, place)
