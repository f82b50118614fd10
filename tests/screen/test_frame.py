from __future__ import annotations

import numpy as np

from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole


def numbered(size: Size) -> Frame:
    count = size.width * size.height * 4
    return Frame((np.arange(count) % 251).astype(np.uint8).reshape(size.height, size.width, 4))


def test_full_width_rows_are_the_frame_itself() -> None:
    frame = Frame.blank(Size(7, 5))
    rows = frame.rows(Rect(0, 2, 7, 2))
    assert rows is not None and len(rows) == 7 * 2 * 4
    rows[:] = bytes(range(56))
    assert frame.pixels[2:4].tobytes() == bytes(range(56))
    assert not frame.pixels[:2].any() and not frame.pixels[4:].any()


def test_other_rectangles_do_not_lie_in_one_piece() -> None:
    frame = Frame.blank(Size(7, 5))
    assert frame.rows(Rect(1, 0, 6, 5)) is None
    assert frame.rows(Rect(0, 0, 7, 0)) is None


def test_copying_within_takes_the_pixels_as_they_were() -> None:
    frame = numbered(Size(8, 8))
    before = frame.pixels.copy()
    frame.copy_within(1, 1, Rect(2, 2, 5, 5))
    assert (frame.pixels[2:7, 2:7] == before[1:6, 1:6]).all()
    assert (frame.pixels[:2] == before[:2]).all()


def test_a_copy_is_its_own() -> None:
    frame = numbered(Size(4, 4))
    other = frame.copy()
    frame.pixels[:] = 0
    assert other.pixels.any()


def test_plain_is_about_colour_only() -> None:
    frame = Frame.blank(Size(4, 4))
    frame.pixels[:, :, 3] = np.arange(16).reshape(4, 4)
    assert frame.is_plain(whole(frame.size))
    frame.pixels[3, 3, 0] = 1
    assert not frame.is_plain(whole(frame.size))
    assert frame.is_plain(Rect(0, 0, 3, 3)) and frame.is_plain(Rect(0, 0, 0, 0))
