"""Pauses between connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.mesh.backoff import CALM_S, LONGEST_S, Backoff


def test_it_doubles_up_to_a_few_minutes_and_begins_anew_after_calm() -> None:
    backoff = Backoff()
    pauses = [backoff.pause_s(0, 0.5) for _ in range(12)]
    assert pauses[:4] == [1.25, 2.5, 5, 10]
    assert pauses[-1] == 300
    backoff.lost(1000, known=True, online_for_s=CALM_S - 1)
    assert backoff.pause_s(1000, 0.5) == 300
    backoff.lost(2000, known=True, online_for_s=CALM_S)
    assert backoff.pause_s(2000, 0.0) == 0.5


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 400), st.floats(0, 1)), max_size=60))
def test_the_server_never_sees_more_than_four_leaves_in_two_minutes(lives: list[tuple[bool, float, float]]) -> None:
    backoff, now, left = Backoff(), 0.0, []
    for known, online_for_s, chance in lives:
        # What the server counts when it takes us in again: more than four is one too many.
        assert not known or sum(now - one < 120 for one in left) <= 4
        now += online_for_s
        backoff.lost(now, known=known, online_for_s=online_for_s)
        if known:
            left.append(now)
        pause = backoff.pause_s(now, chance)
        assert 0.5 <= pause <= LONGEST_S[1]
        now += pause
