"""What is known of a viewer that only answers pings."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.mesh.pings import ANSWERS_WITHIN_S, ASK_AFTER_BYTES, MOST_ASKED, Pings, is_picture
from pommel.wire import messages as wire
from pommel.wire.codec import encode

SMALL = encode(wire.Picture(0, 0, bytes(1000)))
LARGE = encode(wire.Picture(0, 0, bytes(70_000)))
OTHER = encode(wire.Screen(640, 480))


def begun() -> Pings:
    pings = Pings()
    pings.begin(0.0)
    return pings


def test_pictures_are_told_from_what_else_is_sent() -> None:
    assert is_picture(SMALL)
    assert is_picture(LARGE), "in a JUMBO"
    assert not is_picture(OTHER)
    assert not is_picture(encode(wire.Message("x" * 70_000)))


@given(st.lists(st.sampled_from([SMALL, LARGE, OTHER, None])))
def test_through_a_relay_it_is_known_of_each_picture_once_it_is_there_and_never_before(
    steps: list[bytes | None],
) -> None:
    pings = begun()
    under_way: deque[bytes] = deque([b""])  # a ping is nothing; what is sent comes in order
    there = known = 0

    def arrives() -> None:
        nonlocal there, known
        if one := under_way.popleft():
            there += is_picture(one)
            return
        answer = pings.answered(1.0)
        assert answer is not None
        known, more = answer
        assert known <= there
        under_way.extend([b""] * more)

    for step in steps:
        if step is None:
            if under_way:
                arrives()
        else:
            under_way.extend([step] + [b""] * pings.sent(step))
    while under_way:
        arrives()
    assert known == there == sum(map(is_picture, filter(None, steps)))


def test_many_small_pictures_share_a_ping() -> None:
    pings = begun()
    pings.answered(0.0)
    asked = sum(pings.sent(SMALL) for _ in range(100))
    assert asked == 1 + 99 * len(SMALL) // ASK_AFTER_BYTES


def test_of_a_viewer_that_never_answers_nothing_more_is_asked() -> None:
    pings = begun()
    assert not any(pings.sent(LARGE) for _ in range(100))
    assert not pings.answers


def test_what_a_server_says_unasked_is_not_taken_for_an_answer() -> None:
    pings = begun()
    assert pings.answered(ANSWERS_WITHIN_S) is None
    assert not pings.answers
    pings = begun()
    assert pings.answered(0.2) == (0, False)
    assert pings.answered(60.0) is None, "nothing was asked"
    assert pings.sent(LARGE)
    assert pings.sent(LARGE)
    assert [pings.answered(61.0) for _ in range(3)] == [(1, False), (2, False), None]  # the first was not the viewer's
    assert pings.sent(LARGE), "and from here on all is as before"
    assert pings.answered(62.0) == (3, False)


def test_pictures_that_were_sent_before_the_first_ping_count() -> None:
    pings = Pings()
    assert not pings.sent(LARGE)
    assert pings.answered(0.0) is None, "nothing was asked"
    pings.begin(3.0)
    assert not pings.sent(SMALL)
    assert pings.answered(3.5) == (1, True)
    assert pings.answered(3.6) == (2, False)


def test_a_viewer_that_falls_silent_costs_no_memory() -> None:
    pings = begun()
    pings.answered(0.0)
    assert sum(pings.sent(LARGE) for _ in range(3 * MOST_ASKED)) == MOST_ASKED


@pytest.mark.parametrize("size", range(12))
def test_any_bytes_of_an_agent_are_a_picture_or_none(size: int) -> None:
    assert is_picture(SMALL[:size]) == (size >= 2)
    assert not is_picture(encode(wire.Message("x" * 70_000))[:size])
