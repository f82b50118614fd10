"""Ways to get an X server's pixels into a frame. Band: shell; in a connection's thread.

With MIT-SHM the server writes whole lines directly into the frame that is compared, shown and encoded, without a copy.
Rectangles narrower than half of the frame are written beside it and copied, which is less work than whole lines. A
server on another machine sends pixels in plain replies.
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
from pommel.screen.tiles import Changes
from pommel.screen.turns import Turns

# The most pixels in one plain reply: python-xlib builds a reply by appending, so its time grows with the square of the
# length.
_REPLY_PIXELS = 128 << 10


class X11Picture(Protocol):
    """A frame that can be updated. It shows `place` of the root window."""

    place: Rect

    @property
    def frame(self) -> Frame:
        """The picture of the last `turn`; not written to until after the next."""

    def grab(self, rects: Sequence[Rect]) -> None:
        """Fetch the pixels of `rects` (of the frame, none overlapping). XError: the root window is smaller now."""

    def turn(self) -> Changes:
        """Put the pixels that were fetched since the last turn into `frame`, and return the changes."""

    def close(self) -> None:
        """Free it on the server. The frame stays readable."""


class SharedPicture:
    """A picture in memory that is shared with the server."""

    def __init__(self, display: Display, place: Rect) -> None:
        """Share memory for `place`. OSError, or XError: it cannot be shared with this server."""
        self._display, self._root, self.place = display, display.screen().root, place
        size = place.area * BYTES_PER_PIXEL
        # Two frames, then room for packed rectangles; the kernel allocates only pages that are used.
        memory = SharedMemory(3 * size)
        parts = [memory.data[i * size : (i + 1) * size] for i in range(3)]
        frames = [Frame(part.reshape(place.height, place.width, BYTES_PER_PIXEL)) for part in parts[:2]]
        self._turns = Turns(*frames)
        self._offsets = {id(frame): i * size for i, frame in enumerate(frames)}
        self._room, self._beside = parts[2], 2 * size
        self._segment: int = display.display.allocate_resource_id()
        self._opcode = display.display.get_extension_major(ask.SHM)
        self._attach(memory)

    def _attach(self, memory: SharedMemory) -> None:
        refused: list[XError] = []

        def refuse(failure: XError, _: object) -> int:
            refused.append(failure)
            return 1

        ask.ShmAttach(
            self._display.display, refuse, opcode=self._opcode, segment=self._segment, shm_id=memory.id,
            read_only=False,
        )  # fmt: skip
        self._display.sync()
        if refused:
            raise refused[0]

    @property
    def frame(self) -> Frame:
        """See `X11Picture`."""
        return self._turns.front

    def grab(self, rects: Sequence[Rect]) -> None:
        """See `X11Picture`. All requests are sent before we wait for the first reply: one round trip for all."""
        taken = [self._widened(rect) for rect in rects]
        self._turns.write(taken)
        back = self._turns.back
        asked, packed, used = [], [], 0
        for rect in taken:
            if rect.width == self.place.width:
                asked.append(self._ask(rect, self._offsets[id(back)] + rect.y * rect.width * BYTES_PER_PIXEL))
            else:
                asked.append(self._ask(rect, self._beside + used))
                packed.append((rect, used))
                used += rect.area * BYTES_PER_PIXEL
        for one in asked:
            one.reply()
        for rect, at in packed:
            pixels = self._room[at : at + rect.area * BYTES_PER_PIXEL]
            back.view(rect)[:] = pixels.reshape(rect.height, rect.width, BYTES_PER_PIXEL)

    def turn(self) -> Changes:
        """See `X11Picture`."""
        return self._turns.turn()

    def close(self) -> None:
        """See `X11Picture`."""
        ask.ShmDetach(self._display.display, opcode=self._opcode, segment=self._segment)
        self._display.display.free_resource_id(self._segment)

    def _widened(self, rect: Rect) -> Rect:
        return Rect(0, rect.y, self.place.width, rect.height) if 2 * rect.width >= self.place.width else rect

    def _ask(self, rect: Rect, offset: int) -> ask.ShmGetImage:
        on_root = rect._replace(x=rect.x + self.place.x, y=rect.y + self.place.y)
        return ask.start_shm_image(self._display, self._root, on_root, self._segment, offset)


class SentPicture:
    """A picture that the server sends, piece by piece."""

    def __init__(self, root: Window, place: Rect) -> None:
        self._root, self.place = root, place
        size = Size(place.width, place.height)
        self._turns = Turns(Frame.blank(size), Frame.blank(size))

    @property
    def frame(self) -> Frame:
        """See `X11Picture`."""
        return self._turns.front

    def grab(self, rects: Sequence[Rect]) -> None:
        """See `X11Picture`."""
        self._turns.write(rects)
        for rect in rects:
            for piece in split(rect, _REPLY_PIXELS, 1):
                x, y = piece.x + self.place.x, piece.y + self.place.y
                image = self._root.get_image(x, y, piece.width, piece.height, X.ZPixmap, ask.ALL_PLANES)
                pixels = np.frombuffer(bytes(image.data), np.uint8, count=piece.area * BYTES_PER_PIXEL)
                self._turns.back.view(piece)[:] = pixels.reshape(piece.height, piece.width, BYTES_PER_PIXEL)

    def turn(self) -> Changes:
        """See `X11Picture`."""
        return self._turns.turn()

    def close(self) -> None:
        """See `X11Picture`."""


def new_picture(display: Display, place: Rect, *, shared: bool) -> X11Picture:
    """Make a picture of `place`, in shared memory if `shared` and if the server can do it."""
    if shared:
        try:
            return SharedPicture(display, place)
        except (OSError, XError):  # the server is on another machine or belongs to another user
            pass
    return SentPicture(display.screen().root, place)
