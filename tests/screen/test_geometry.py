from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen.geometry import Rect, Size, split, total_area, whole

small = st.integers(0, 300)


@settings(deadline=None)
@given(small, small, st.integers(1, 300), st.integers(1, 300), st.integers(1, 20000), st.sampled_from([1, 16, 64]))
def test_pieces_cover_the_whole_once_and_keep_to_the_limit(x, y, width, height, most, step) -> None:
    rect = Rect(x, y, width, height)
    seen = np.zeros((y + height, x + width), np.uint8)
    for piece in split(rect, most, step):
        seen[piece.y : piece.bottom, piece.x : piece.right] += 1
        assert piece.area <= max(most, step * step)
        assert (piece.x - x) % step == 0 and (piece.y - y) % step == 0
    assert seen[y:, x:].all() and seen.max() == 1 and total_area([rect]) == seen.sum()


@given(st.integers(-50, 350), st.integers(-50, 350), small, small)
def test_a_clipped_rectangle_is_inside_and_loses_only_what_was_outside(x, y, width, height) -> None:
    size = Size(200, 100)
    rect = Rect(x, y, width, height)
    inside = rect.clipped(size)
    assert inside.within(size)
    expected = max(min(rect.right, 200) - max(x, 0), 0) * max(min(rect.bottom, 100) - max(y, 0), 0)
    assert inside.area == expected


def test_within_is_exact() -> None:
    size = Size(10, 10)
    assert whole(size).within(size)
    assert not Rect(0, 0, 11, 10).within(size)
    assert not Rect(-1, 0, 5, 5).within(size)
    assert Rect(10, 10, 0, 0).within(size)


@given(small, small, small, small, st.sampled_from([1, 16, 64]))
def test_outward_is_the_smallest_around_it(x, y, width, height, step) -> None:
    rect = Rect(x, y, width, height)
    around = rect.outward(step)
    assert around.contains(rect)
    assert not any(edge % step for edge in (around.x, around.y, around.right, around.bottom))
    assert around.width < width + 2 * step and around.height < height + 2 * step
