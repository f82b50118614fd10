"""When a machine is started again: laws of the back-off and of the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine.restarting import RestartChoice, RestartLimits, judge, recent_only
from pommel.machine.runstate import How, RunEnd

CRASH = RunEnd(How.CRASHED, "it broke")
LIMITS = st.builds(RestartLimits, st.integers(0, 9), st.floats(1, 1e6), st.floats(0.001, 60), st.floats(60, 600))
TIMES = st.lists(st.floats(0, 1e6), max_size=12).map(sorted)


@pytest.mark.parametrize("how", [How.GUEST, How.STOPPED, How.SIGNAL])
def test_an_orderly_end_is_left_alone(how: How) -> None:
    verdict = judge(RunEnd(how, "so it was"), (), 0, RestartLimits())
    assert (verdict.choice, verdict.text) == (RestartChoice.LEAVE, "so it was")


def test_the_waits_double_up_to_a_minute() -> None:
    limits = RestartLimits(restarts=9)
    waits = [judge(CRASH, (0.0,) * before, 1, limits).wait_s for before in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert judge(CRASH, (0.0,) * 9, 1, limits).choice is RestartChoice.GIVE_UP


def test_it_says_what_happens_and_why() -> None:
    assert judge(CRASH, (0.0,), 1, RestartLimits()).text == "in 2 s, number 2 of 5: it broke"
    assert (
        judge(CRASH, (0.0,) * 5, 1, RestartLimits()).text == "it crashed again after 5 restarts within 10 min: it broke"
    )


@given(TIMES, LIMITS, st.floats(0, 2e6))
def test_never_more_than_the_limit_in_its_time(times: list[float], limits: RestartLimits, now_s: float) -> None:
    verdict = judge(CRASH, times, now_s, limits)
    recent = recent_only(times, now_s, limits)
    assert (verdict.choice is RestartChoice.GIVE_UP) == (len(recent) >= limits.restarts)
    assert 0 <= verdict.wait_s <= limits.longest_s
    assert judge(CRASH, recent, now_s, limits) == verdict, "what no longer counts may be forgotten"


@given(st.integers(0, 10**6))
def test_any_number_of_restarts_is_survived(before: int) -> None:
    limits = RestartLimits(restarts=10**9)
    assert judge(CRASH, [0.0] * min(before, 2000), 1, limits).wait_s <= 60
