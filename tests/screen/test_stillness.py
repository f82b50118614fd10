"""What counts as rest: pictures held against one that stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.stillness import TOLERANCE, Stillness, differing, parse_region

SIZE = Size(320, 200)
ALL = whole(SIZE)


def frame() -> Frame:
    return Frame.blank(SIZE)


def marked(area: Rect, value: int = 200) -> Frame:
    made = frame()
    made.view(area)[:] = value
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 140), st.data())
def test_all_pixels_that_differ_are_counted_and_held(width: int, height: int, data: st.DataObject) -> None:
    size = Size(width, height)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    old, new = Frame.blank(size), Frame.blank(size)
    new.pixels[:] = random.integers(0, 2, (height, width, 1), np.uint8) * random.integers(
        0, 2, (height, 1, 1), np.uint8
    )
    new.pixels[:, :, 3] = random.integers(0, 256, (height, width), np.uint8)  # which means nothing
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    area = Rect(x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    differs = new.view(area)[:, :, 0] != 0
    count, held = differing(old, new, area)
    assert count == differs.sum()
    if count:
        rows, columns = np.nonzero(differs.any(axis=1))[0], np.nonzero(differs.any(axis=0))[0]
        assert held == Rect(x + columns[0], y + rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_a_caret_and_a_clock_are_rest_and_what_moves_slowly_is_not() -> None:
    still = Stillness()
    still.see(0, frame(), ALL)
    for second in range(1, 10):
        still.see(second, marked(Rect(8, 8, 9, 16), second), ALL)
    assert still.still_s(10) == 10
    bar = Stillness()
    for second in range(20):  # a bar that grows by 100 pixels each second: never much at a time
        bar.see(second, marked(Rect(0, 50, 10 * second + 1, 10)), ALL)
    assert bar.still_s(19.5) < 5


def test_a_change_and_another_size_begin_the_time_anew() -> None:
    still = Stillness()
    assert still.still_s(5) == 0
    still.see(1, frame(), ALL)
    still.see(3, marked(Rect(100, 60, 40, 20)), ALL)
    assert still.still_s(4) == 1
    still.see(6, Frame.blank(Size(64, 64)), Rect(0, 0, 64, 64))
    assert still.still_s(7) == 1


def test_the_tolerance_is_a_count_of_pixels() -> None:
    for pixels, tolerance, began in ((TOLERANCE, TOLERANCE, 0), (TOLERANCE + 1, TOLERANCE, 1), (1, 0, 1)):
        still, now = Stillness(tolerance), frame()
        still.see(0, frame(), ALL)
        now.pixels.reshape(-1, 4)[:pixels] = 1
        still.see(1, now, ALL)
        assert still.still_s(1) == 1 - began


def test_only_the_area_counts_and_the_picture_that_is_held_against_is_a_copy() -> None:
    still, shown, below = Stillness(), frame(), Rect(0, 100, 320, 100)
    still.see(0, shown, below)
    shown.view(Rect(0, 0, 320, 100))[:] = 9
    still.see(1, shown, below)
    assert still.still_s(1) == 1
    shown.view(below)[:] = 9
    still.see(2, shown, below)
    assert still.still_s(2) == 0


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,0", "-1,0,5,5", "0,0,70000,5", "a,b,c,d", "1;2;3;4", "0,0,5,²"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a part of a screen") as told:
        parse_region(text)
    assert told.value.hint


def test_a_region_is_read() -> None:
    assert parse_region("1, 2,30,40") == Rect(1, 2, 30, 40)
