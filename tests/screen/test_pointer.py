from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen.pointer import UNKNOWN, PointerPicture, may_be_multiplied, picture_of

byte = st.integers(0, 255)


def array(*pixels: tuple[int, int, int, int]) -> np.ndarray:
    return np.array([pixels], np.uint8)


def nearest(part: int, whole: int) -> int:
    return min(int(Fraction(255 * part, whole) + Fraction(1, 2)), 255)


def test_rows_and_the_hot_spot_stay_and_colours_change_places() -> None:
    bgra = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) + 1
    picture = picture_of(bgra, 2, 1, multiplied=False)
    assert (picture.width, picture.height, picture.hot_x, picture.hot_y) == (3, 2, 2, 1)
    assert picture.rgba == bgra[:, :, [2, 1, 0, 3]].tobytes()


@settings(deadline=None)
@given(st.lists(st.tuples(byte, byte, byte, byte), min_size=1, max_size=30))
def test_alpha_is_taken_out_to_the_nearest_number(pixels: list[tuple[int, int, int, int]]) -> None:
    wanted = []
    for blue, green, red, alpha in pixels:
        wanted += [nearest(one, alpha) if alpha else 0 for one in (red, green, blue)] + [alpha]
    assert picture_of(array(*pixels), 0, 0, multiplied=True).rgba == bytes(wanted)


@settings(deadline=None)
@given(st.lists(st.tuples(byte, byte, byte, byte), min_size=1, max_size=30))
def test_what_is_multiplied_in_can_be_seen_to_be_so_and_taken_out(pixels: list[tuple[int, int, int, int]]) -> None:
    alpha = [one[3] for one in pixels]
    multiplied = [(*((one * pixel[3] + 127) // 255 for one in pixel[:3]), pixel[3]) for pixel in pixels]
    assert may_be_multiplied(array(*multiplied))
    picture = np.frombuffer(picture_of(array(*multiplied), 0, 0, multiplied=True).rgba, np.uint8).reshape(-1, 4)
    assert picture[:, 3].tolist() == alpha
    for one, found in zip(pixels, picture.tolist(), strict=True):
        half_a_step = 0.5 + (127.5 / one[3] if one[3] else 255)
        assert all(abs(a - b) <= half_a_step for a, b in zip(one[2::-1], found, strict=False))


@pytest.mark.parametrize("pixel", [(1, 0, 0, 0), (9, 9, 10, 9), (255, 0, 0, 254)])
def test_a_colour_above_its_alpha_is_not_multiplied(pixel: tuple[int, int, int, int]) -> None:
    assert not may_be_multiplied(array((1, 1, 1, 255), pixel))
    assert may_be_multiplied(array((1, 1, 1, 255)))


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0), (257, 1), (1, 257)])
def test_what_the_wire_does_not_take_is_unknown(width: int, height: int) -> None:
    assert picture_of(np.ones((height, width, 4), np.uint8), 3, 3, multiplied=True) == UNKNOWN
    assert PointerPicture(0, 0, 0, 0, b"") == UNKNOWN


def test_the_largest_is_known() -> None:
    picture = picture_of(np.full((256, 256, 4), 255, np.uint8), 255, 255, multiplied=True)
    assert picture.rgba == b"\xff" * (4 * 256 * 256)
