"""One picture in memory: BGRX, rows from the top. Band: core, no I/O.

A frame is only memory: its owner must know who writes into it, and when it is complete.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pommel.screen.geometry import Rect, Size

Pixels = npt.NDArray[np.uint8]  # (height, width, 4): blue, green, red, unused

BYTES_PER_PIXEL = 4


class Frame:
    """A picture of fixed size. `pixels` is C-contiguous, (height, width, 4), blue first; byte 3 means nothing."""

    __slots__ = ("pixels",)

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = np.ascontiguousarray(pixels, dtype=np.uint8)

    @classmethod
    def blank(cls, size: Size) -> Frame:
        """Make a black frame of `size`."""
        return cls(np.zeros((size.height, size.width, BYTES_PER_PIXEL), np.uint8))

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size(self.pixels.shape[1], self.pixels.shape[0])

    def view(self, rect: Rect) -> Pixels:
        """The pixels of `rect`, without a copy."""
        return self.pixels[rect.y : rect.bottom, rect.x : rect.right]

    def words(self, rect: Rect) -> npt.NDArray[np.uint32]:
        """Return the pixels of `rect` as (height, width) words of one pixel, not copied."""
        return self.view(rect).view(np.uint32)[:, :, 0]

    def rows(self, rect: Rect) -> memoryview | None:
        """The bytes of `rect`, writable and without a copy, if they are contiguous; else None.

        They are contiguous if the rectangle has the frame's full width.
        """
        if rect.width != self.size.width or rect.area == 0:
            return None
        return self.view(rect).data.cast("B")

    def copy_within(self, source_x: int, source_y: int, target: Rect) -> None:
        """Copy pixels of this frame to `target`; source and target may overlap."""
        source = Rect(source_x, source_y, target.width, target.height)
        self.view(target)[:] = self.view(source).copy()

    def copy(self) -> Frame:
        """A new frame with a copy of the pixels."""
        return Frame(self.pixels.copy())

    def is_plain(self, rect: Rect) -> bool:
        """Whether all of `rect` has one colour; an empty rectangle counts too."""
        colours = self.view(rect)[:, :, :3]
        return colours.size == 0 or bool((colours == colours[0, 0]).all())


def grown(pixels: Pixels, size: Size) -> Pixels:
    """`pixels` with their last column and row repeated up to `size`; unchanged if they have that size."""
    right, below = size.width - pixels.shape[1], size.height - pixels.shape[0]
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge") if right or below else pixels
