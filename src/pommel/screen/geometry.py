"""Rectangles of pixels. Band: core, no I/O. Knows no picture and no tile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Rect(NamedTuple):
    """A rectangle: its upper left corner, then its width and height, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column that is outside."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row that is outside."""
        return self.y + self.height

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return self.width * self.height

    def within(self, size: Size) -> bool:
        """Whether all of it is inside a picture of `size`."""
        return self.x >= 0 and self.y >= 0 and self.right <= size.width and self.bottom <= size.height

    def contains(self, other: Rect) -> bool:
        """Whether all of `other` is inside this rectangle."""
        return self.x <= other.x and self.y <= other.y and other.right <= self.right and other.bottom <= self.bottom

    def meets(self, other: Rect) -> bool:
        """Tell whether the two have a pixel in common."""
        return self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom

    def outward(self, step: int) -> Rect:
        """Return the smallest rectangle around it whose edges are all at multiples of `step`."""
        x, y = self.x // step * step, self.y // step * step
        return Rect(x, y, -(-self.right // step) * step - x, -(-self.bottom // step) * step - y)

    def clipped(self, size: Size) -> Rect:
        """Return the part of it that is inside a picture of `size`; it may be empty."""
        x, y = min(max(self.x, 0), size.width), min(max(self.y, 0), size.height)
        right, bottom = min(max(self.right, x), size.width), min(max(self.bottom, y), size.height)
        return Rect(x, y, right - x, bottom - y)


def whole(size: Size) -> Rect:
    """Return the rectangle that is all of a picture of `size`."""
    return Rect(0, 0, size.width, size.height)


def split(rect: Rect, max_pixels: int, step: int) -> Iterator[Rect]:
    """Cut `rect` into pieces of at most `max_pixels`, with sides that are multiples of `step` if possible.

    Stripes of full width are preferred, because they give the smallest JPEGs for their area. A piece of `step` by
    `step` is allowed even if `max_pixels` is smaller.
    """
    width = rect.width
    height = max_pixels // max(width, 1) // step * step
    if height < step:
        height = step
        width = max(max_pixels // step // step * step, step)
    for y in range(rect.y, rect.bottom, height):
        for x in range(rect.x, rect.right, width):
            yield Rect(x, y, min(width, rect.right - x), min(height, rect.bottom - y))


def total_area(rects: Iterable[Rect]) -> int:
    """Add up the areas of `rects`."""
    return sum(rect.area for rect in rects)
