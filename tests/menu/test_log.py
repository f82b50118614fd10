"""What is new in a log of which only the end is read. (The screen itself: test_home.)"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.menu.log import added

LINES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12)


@given(LINES, LINES)
def test_what_is_shown_always_ends_as_the_log_does(before: list[str], after: list[str]) -> None:
    shown = [*before, *added(before, after)]
    assert shown[len(shown) - len(after) :] == after


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 20))
def test_of_lines_that_differ_exactly_the_new_ones_are_added(old: int, new: int, last: int) -> None:
    log = [str(number) for number in range(old + new)]
    assert added(log[:old][-last:], log[-last:]) == log[old:][-last:]


def test_an_unchanged_log_adds_nothing() -> None:
    assert added(["same"] * 5, ["same"] * 5) == []
