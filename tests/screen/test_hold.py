from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.screen.actions import MovePointer, PressKey
from pommel.screen.hold import Hold

SHIFT, LEFT_SHIFT = 0x10, 0xA0


def key(vk: int, down: bool) -> PressKey:
    return PressKey(vk, False, down)


def test_a_key_two_viewers_hold_goes_up_with_the_last() -> None:
    hold = Hold()
    assert hold.press("a", key(SHIFT, True)) and hold.press("b", key(SHIFT, True))
    assert not hold.press("a", key(SHIFT, False))
    assert hold.press("b", key(SHIFT, False))


def test_letting_go_of_what_nobody_holds_is_passed_on() -> None:
    assert Hold().press("a", key(SHIFT, False))


def test_one_key_by_two_numbers_is_one_key() -> None:
    hold = Hold()
    hold.press("a", key(LEFT_SHIFT, True))
    assert not hold.press("b", key(SHIFT, False))
    assert hold.leave("a") == [key(SHIFT, False)]


def test_who_leaves_lets_go_of_keys_and_buttons() -> None:
    hold = Hold()
    hold.press("a", key(65, True))
    hold.press("a", key(SHIFT, True))
    hold.point("a", 5, 6, 3)
    assert hold.leave("a") == [key(SHIFT, False), key(65, False), MovePointer(5, 6, 0)]
    assert hold.leave("a") == []


def test_what_another_still_holds_stays_down() -> None:
    hold = Hold()
    for who in "ab":
        hold.press(who, key(65, True))
        hold.point(who, 1, 1, 1)
    assert hold.leave("a") == []
    assert hold.leave("b") == [key(65, False), MovePointer(1, 1, 0)]


def test_buttons_of_all_viewers_are_down_together() -> None:
    hold = Hold()
    hold.point("a", 1, 1, 1)
    assert hold.point("b", 2, 2, 4) == MovePointer(2, 2, 5)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([65, 66, SHIFT, LEFT_SHIFT, 0xFE]), st.booleans())))
def test_the_machine_has_down_what_anybody_holds_and_nothing_when_all_left(events) -> None:
    hold = Hold()
    machine: set[int] = set()
    mine: dict[str, set[int]] = {who: set() for who in "abc"}

    def apply(press: PressKey) -> None:
        name = SHIFT if press.vk == LEFT_SHIFT else press.vk
        (machine.add if press.down else machine.discard)(name)

    for who, vk, down in events:
        name = SHIFT if vk == LEFT_SHIFT else vk
        (mine[who].add if down else mine[who].discard)(name)
        if hold.press(who, key(vk, down)):
            apply(key(vk, down))
        assert machine == set().union(*mine.values())
    for who in "abc":
        for action in hold.leave(who):
            apply(action)  # type: ignore[arg-type]
    assert machine == set()
