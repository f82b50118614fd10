"""A frame as a viewer wants to see it: smaller, larger, or as it is. Band: core, no I/O.

MeshCentral's scaling is in 1024ths of a side (reference agents: 64 to 4096). To shrink, each pixel of the picture is
the mean of the four corners of its area in the frame, so that text stays readable. To enlarge, pixels are repeated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, Size
from pommel.wire.messages import SCALE_ONE

MIN_SCALING, MAX_SCALING = 64, 4096
_Ints = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint32]

_MAX_SIDE = 16384
_MAX_PIXELS = 7680 * 4320


class Scaling:
    """Converts positions between a frame and its scaled picture."""

    def __init__(self, frame: Size, scaling: int) -> None:
        self.frame = frame
        scaling = min(max(scaling, MIN_SCALING), MAX_SCALING)
        self.picture = _scaled(frame, scaling)
        if max(self.picture) > _MAX_SIDE or self.picture.width * self.picture.height > _MAX_PIXELS:
            self.picture = _scaled(frame, min(scaling, SCALE_ONE))

    @property
    def is_identity(self) -> bool:
        """Whether nothing is scaled."""
        return self.picture == self.frame

    def cover(self, rect: Rect) -> Rect:
        """The pixels of the picture that depend on any pixel of the frame's `rect`."""
        if self.is_identity or rect.area == 0:
            return rect
        x, right = _cover(rect.x, rect.right, self.frame.width, self.picture.width)
        y, bottom = _cover(rect.y, rect.bottom, self.frame.height, self.picture.height)
        return Rect(x, y, right - x, bottom - y)

    def read(self, cover: Rect) -> Rect:
        """The frame's pixels that `render` reads for `cover`."""
        if self.is_identity or cover.area == 0:
            return cover
        x, right = _read(cover.x, cover.right, self.frame.width, self.picture.width)
        y, bottom = _read(cover.y, cover.bottom, self.frame.height, self.picture.height)
        return Rect(x, y, right - x, bottom - y)

    def render(self, frame: Frame, cover: Rect) -> Pixels:
        """The picture's pixels in `cover`; a view of the frame if nothing is scaled."""
        if self.is_identity:
            return frame.view(cover)
        return _averaged(
            frame.pixels,
            _edges(cover.y, cover.bottom, self.frame.height, self.picture.height),
            _edges(cover.x, cover.right, self.frame.width, self.picture.width),
        )

    def to_frame(self, x: int, y: int) -> tuple[int, int]:
        """Return the frame's pixel in the middle of the picture's pixel x, y, kept inside the frame."""
        return (
            _middle(x, self.frame.width, self.picture.width),
            _middle(y, self.frame.height, self.picture.height),
        )


def _scaled(frame: Size, scaling: int) -> Size:
    return Size(max(frame.width * scaling // SCALE_ONE, 1), max(frame.height * scaling // SCALE_ONE, 1))


def _cover(first: int, end: int, frame: int, picture: int) -> tuple[int, int]:
    # Pixel i of the picture shows the frame's pixels from i*frame//picture up to the start of the next one, which is
    # not included. When the picture is larger than the frame, starts repeat: then it shows at least that one pixel.
    begin = first * picture // frame
    return begin, min(-(-end * picture // frame), picture)


def _read(first: int, end: int, frame: int, picture: int) -> tuple[int, int]:
    begin = first * frame // picture
    return begin, max(end * frame // picture, (end - 1) * frame // picture + 1)


def _edges(first: int, end: int, frame: int, picture: int) -> _Ints:
    return np.arange(first, end + 1, dtype=np.int64) * frame // picture


def _averaged(pixels: Pixels, rows: _Ints, columns: _Ints) -> Pixels:
    words = pixels.view(np.uint32)[:, :, 0]
    last_rows, last_columns = np.maximum(rows[1:] - 1, rows[:-1]), np.maximum(columns[1:] - 1, columns[:-1])
    lines = _mean(words[rows[:-1]], words[last_rows])
    # `take` and not an index, because an index would give an array in column order.
    shown = _mean(np.take(lines, columns[:-1], axis=1), np.take(lines, last_columns, axis=1))
    return shown[:, :, None].view(np.uint8)


def _mean(a: _Words, b: _Words) -> _Words:
    # The mean of four bytes at once: a|b is the common bits plus all different bits; half of the different ones is
    # taken off.
    return (a | b) - (((a ^ b) >> np.uint32(1)) & np.uint32(0x7F7F7F7F))


def _middle(at: int, frame: int, picture: int) -> int:
    return max(min((2 * at + 1) * frame // (2 * picture), frame - 1), 0)
