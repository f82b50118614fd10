from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.screen.grade import FLOOR, Grade


def test_who_is_not_held_up_gets_what_it_asked_for() -> None:
    grade = Grade(50)
    for now_s in (0.0, 0.03, 0.06):
        grade.begin(now_s)
        grade.held_up(now_s + 0.01)
        grade.done(now_s + 0.02)
    assert grade.quality == 50 and not grade.is_pressed


def test_quality_goes_down_while_a_round_takes_long_and_not_below_the_floor() -> None:
    grade = Grade(50)
    grade.begin(0.0)
    seen = []
    for tenth in range(1, 12):
        grade.held_up(tenth * 0.11)
        seen.append(grade.quality)
    assert seen[:3] == [37, 27, FLOOR] and seen[-1] == FLOOR and grade.is_pressed


def test_it_comes_back_as_soon_as_rounds_are_short() -> None:
    grade = Grade(50)
    grade.begin(0.0)
    grade.held_up(0.2)
    grade.done(0.25)  # that round was long
    assert grade.quality == 37
    for now_s in (1.0, 1.1):
        grade.begin(now_s)
        grade.done(now_s + 0.01)
    assert grade.quality == 50


def test_a_new_wish_holds_at_once() -> None:
    grade = Grade(50)
    grade.begin(0.0)
    grade.held_up(1.0)
    grade.ask(80)
    assert grade.quality == grade.asked == 80


@given(st.integers(1, 100), st.lists(st.tuples(st.sampled_from(["begin", "held_up", "done"]), st.floats(0, 1))))
def test_law_never_more_than_asked_nor_less_than_the_floor(asked: int, script: list[tuple[str, float]]) -> None:
    grade, now_s = Grade(asked), 0.0
    for what, wait_s in script:
        now_s += wait_s
        getattr(grade, what)(now_s)
        assert min(asked, FLOOR) <= grade.quality <= asked
