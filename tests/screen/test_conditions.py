"""Conditions on a picture, over frames with known pixels."""

from __future__ import annotations

import numpy as np
import pytest

from pommel.screen.conditions import Bright, Changed, Like, Rest, Watch
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size

SIZE = Size(64, 48)
LEFT, RIGHT = Rect(0, 0, 32, 48), Rect(32, 0, 32, 48)


def frame(left: int = 0, right: int = 0, size: Size = SIZE) -> Frame:
    made = Frame.blank(size)
    made.pixels[:, : size.width // 2, :3] = left
    made.pixels[:, size.width // 2 :, :3] = right
    return made


def test_rest_needs_its_time_and_begins_anew_with_each_change() -> None:
    watch = Watch(Rest(3))
    assert not watch.see(0, frame(1, 2)) and not watch.see(2.9, frame(1, 2))
    assert "at rest for 3 s of 3 s" in watch.told
    assert watch.see(3, frame(1, 2))
    assert not watch.see(4, frame(1, 3)) and not watch.see(6.9, frame(1, 3)) and watch.see(7, frame(1, 3))


def test_rest_of_a_region_does_not_see_the_rest_of_the_screen() -> None:
    part, all_of_it = Watch(Rest(3, LEFT)), Watch(Rest(3))
    seen = [(part.see(at, frame(7, at)), all_of_it.see(at, frame(7, at))) for at in range(5)]
    assert seen == [(False, False)] * 3 + [(True, False)] * 2


def test_a_cursor_that_blinks_is_at_rest() -> None:
    watch, shown = Watch(Rest(3)), [frame(1, 2), frame(1, 3)]
    assert [watch.see(at, shown[at % 2]) for at in range(6)][-1]


def test_a_clock_is_rest_within_the_tolerance() -> None:
    shown = [frame(1, 2) for _ in range(6)]
    for at, each in enumerate(shown):
        each.pixels[:4, :5, 0] = at
    few, none = Watch(Rest(3, None, 20)), Watch(Rest(3, None, 19))
    assert [few.see(at, each) for at, each in enumerate(shown)] == [False] * 3 + [True] * 3
    assert not any([none.see(at, each) for at, each in enumerate(shown)])


def test_changed_holds_against_what_was_shown_first_though_its_source_draws_in_it() -> None:
    watch, shown = Watch(Changed(tolerance=20)), frame(1, 1)
    assert not watch.see(0, shown)
    shown.pixels[2:6, 3:8] = 9
    assert not watch.see(1, shown)
    shown.pixels[40, 60] = 9
    assert watch.see(2, shown) and watch.where == Rect(3, 2, 58, 39)


def test_changed_compares_with_the_picture_before_and_counts_pixels() -> None:
    watch = Watch(Changed(0.4), before=frame(1, 1))
    assert not watch.see(0, frame(1, 1)) and watch.see(1, frame(1, 2))
    assert not Watch(Changed(0.5), before=frame(1, 1)).see(0, frame(1, 2))
    assert not Watch(Changed(region=LEFT), before=frame(1, 1)).see(0, frame(1, 2))
    assert Watch(Changed(region=RIGHT), before=frame(1, 1)).see(0, frame(1, 2))


def test_changed_without_a_picture_before_takes_the_first_and_byte_3_is_no_change() -> None:
    watch, other = Watch(Changed()), frame(1, 1)
    other.pixels[:, :, 3] = 9
    assert not watch.see(0, frame(1, 1)) and not watch.see(1, other) and watch.see(2, frame(2, 1))


def test_another_size_is_a_change() -> None:
    assert Watch(Changed(0.9), before=frame()).see(0, frame(size=Size(80, 60)))


@pytest.mark.parametrize(("least", "most", "holds"), [(0.4, 0.6, True), (0.6, 1.0, False), (0.0, 0.4, False)])
def test_brightness_is_a_mean(least: float, most: float, holds: bool) -> None:
    assert Watch(Bright(least, most)).see(0, frame(0, 255)) is holds


def test_like_a_reference_within_its_tolerance() -> None:
    assert Watch(Like(frame(10, 20), 0.02)).see(0, frame(10, 24))
    assert not Watch(Like(frame(10, 20), 0.02)).see(0, frame(10, 40))
    assert Watch(Like(frame(10, 20), 0.02, LEFT)).see(0, frame(10, 200))
    noisy = frame(10, 20)
    noisy.pixels[:, :, :3] += np.random.default_rng(1).integers(0, 5, noisy.pixels[:, :, :3].shape, dtype=np.uint8)
    assert Watch(Like(frame(10, 20), 0.02)).see(0, noisy)


def test_a_screen_of_another_size_or_without_the_region_holds_nothing_and_says_why() -> None:
    watch = Watch(Like(frame(), 1.0))
    assert not watch.see(0, frame(size=Size(80, 60))) and "80×60" in watch.told and "64×48" in watch.told
    for condition in (Rest(0, Rect(60, 0, 10, 10)), Changed(0, Rect(0, 0, 0, 5)), Bright(region=Rect(0, 0, 65, 48))):
        outside = Watch(condition)
        assert not outside.see(0, frame()) and "not on it" in outside.told
