from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.screen.wheel import Notches

steps = st.one_of(st.integers(-40, 40), st.integers(-5000, 5000), st.integers(-4, 4).map(lambda n: 120 * n))


@given(st.lists(steps, max_size=60), st.sampled_from([1, 40, 120]))
def test_law_what_comes_out_and_what_is_kept_is_what_came_in(turns: list[int], size: int) -> None:
    wheel, turned, out = Notches(size), 0, 0
    for turn in turns:
        notches = wheel.take(turn)
        turned, out = turned + turn, out + notches
        assert notches * turn >= 0, "never the other way"
        assert abs(notches) * size < abs(turn) + size, "never more"
        assert abs(notches) >= abs(turn) // size, "a whole notch comes at once"
        assert out * size + wheel.rest == turned and abs(wheel.rest) < size


def test_slow_steps_make_a_notch_and_a_turn_back_is_felt_at_once() -> None:
    wheel = Notches()
    assert [wheel.take(15) for _ in range(8)] == [0] * 7 + [1]
    assert (wheel.take(119), wheel.take(-120), wheel.take(1)) == (0, -1, 1)
