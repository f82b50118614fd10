from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pommel.screen.pace import FIRST_BYTES, LEAST_BYTES, MOST_BYTES, QUEUE_S, Pace


def test_at_first_a_good_deal_may_be_on_its_way_and_then_nothing() -> None:
    pace = Pace()
    assert pace.room(0.0, 0) == FIRST_BYTES
    pace.send(0.0, FIRST_BYTES)
    assert pace.in_flight == FIRST_BYTES and pace.room(0.0, FIRST_BYTES) == 0


def test_room_is_never_so_little_that_pictures_become_many() -> None:
    pace = Pace()
    pace.send(0.0, FIRST_BYTES - FIRST_BYTES // 3 + 1)
    assert pace.room(0.0, 0) == 0
    assert Pace().room(0.0, FIRST_BYTES // 2) == FIRST_BYTES // 2


def test_what_was_shown_is_not_on_its_way_any_more() -> None:
    pace = Pace()
    for size in (10, 20, 30):
        pace.send(0.0, size)
    pace.shown(0.05, 2)
    assert pace.in_flight == 30 and pace.round_trip_s == 0.05
    pace.shown(0.06, 2)
    pace.shown(0.06, 1)  # an old count says nothing new
    assert pace.in_flight == 30
    pace.shown(0.07, 3)
    assert pace.in_flight == 0


def test_counts_wrap_and_those_of_an_endpoint_before_us_do_no_harm() -> None:
    pace = Pace()
    pace.send(0.0, 10)
    pace.shown(0.1, 2**31 - 5)  # what others sent on the same connection: all of ours is shown
    assert pace.in_flight == 0
    for count in range(10):
        pace.send(0.0, 10)
        pace.shown(0.1, (2**31 - 4 + count) % 2**32)
        assert pace.in_flight == 0
    pace.send(0.0, 10)
    pace.shown(0.1, 2**31)
    assert pace.in_flight == 10


def test_news_that_does_not_come_is_not_waited_for_for_ever() -> None:
    pace = Pace()
    assert not pace.is_silent(99.0)
    pace.send(10.0, 100)
    assert not pace.is_silent(10.9) and pace.is_silent(11.0)
    pace.forget(11.0)
    assert pace.in_flight == 0 and not pace.is_silent(99.0)
    pace.send(12.0, 50)
    pace.shown(12.1, 1)  # of the one that was forgotten
    assert pace.in_flight == 50
    pace.shown(12.2, 2)
    assert pace.in_flight == 0


def test_the_longer_a_viewer_is_silent_the_less_is_sent_after_it() -> None:
    pace, now_s = Pace(), 0.0
    for silence_s in (1, 2, 4, 8, 16, 16):
        pace.send(now_s, 100)
        assert not pace.is_silent(now_s + silence_s - 0.1)
        now_s += silence_s
        assert pace.is_silent(now_s)
        pace.forget(now_s)
    pace.shown(now_s, 1)  # late, but news
    pace.send(now_s, 100)
    assert pace.is_silent(now_s + 1)


@dataclass
class Link:
    """A line of some rate and round trip, with a queue before it, and a viewer that shows and says so."""

    rate: float
    trip_s: float
    acknowledges: bool
    pace: Pace = field(default_factory=Pace)
    free_s: float = 0.0
    sent: int = 0
    shown: int = 0
    bytes: int = 0
    ages: list[float] = field(default_factory=list)
    events: list[tuple[float, int, int]] = field(default_factory=list)

    def send(self, now_s: float, size: int) -> None:
        self.free_s = max(self.free_s, now_s) + size / self.rate
        self.ages.append(self.free_s + self.trip_s / 2 - now_s)
        self.sent += 1
        self.pace.send(now_s, size)
        heapq.heappush(self.events, (self.free_s + self.trip_s, self.sent, size))

    def unsent(self, now_s: float) -> int:
        """What the other machine has not confirmed: as the kernel counts it, in bytes."""
        waiting = sum(size for _, _, size in self.events)
        if not self.events:
            return 0
        first, _, size = self.events[0]
        begun = first - size / self.rate
        return waiting - int(min(max(now_s - begun, 0.0) * self.rate, size))

    def look(self, now_s: float) -> int:
        while self.events and self.events[0][0] <= now_s:
            _, count, size = heapq.heappop(self.events)
            self.shown, self.bytes = count, self.bytes + size
            if self.acknowledges:
                self.pace.shown(now_s, count)
        unsent = self.unsent(now_s)
        if not self.acknowledges:
            self.pace.left(now_s, unsent)
            return unsent
        return 0


def play(link: Link, seconds: float, busy_from_s: float = 0.0) -> None:
    """Send as much as may be, in pieces, every 2 ms."""
    for tick in range(int(seconds * 500)):
        now_s = busy_from_s + tick * 0.002
        while room := link.pace.room(now_s, link.look(now_s)):
            link.send(now_s, min(max(room // 2, 2000), 30_000))


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([50e3, 200e3, 500e3, 2e6, 10e6]), st.sampled_from([0.001, 0.02, 0.1, 0.25]), st.booleans()
)  # fmt: skip
def test_law_a_link_is_used_well_and_its_queue_stays_short(rate: float, trip_s: float, acknowledges: bool) -> None:
    link = Link(rate, trip_s, acknowledges)
    assume(acknowledges or rate * trip_s <= 500e3)  # a long fat one takes longer to be known without
    warm_s = 3.0 + 20 * trip_s
    play(link, warm_s)
    before = link.bytes
    link.ages.clear()
    play(link, 4.0, warm_s)
    assert link.bytes - before > 0.7 * 4 * rate
    ages = sorted(link.ages)
    assert ages[len(ages) // 2] < 2.5 * trip_s + 2 * QUEUE_S + 2 * LEAST_BYTES / rate
    assert LEAST_BYTES <= link.pace.window <= MOST_BYTES


def test_a_link_that_becomes_slow_is_soon_known_for_it_and_so_is_one_that_becomes_fast() -> None:
    for acknowledges in (True, False):
        link = Link(10e6, 0.02, acknowledges)
        play(link, 3.0)
        assert link.pace.rate == pytest.approx(10e6, rel=0.5)
        link.rate = 200e3
        play(link, 6.0, 3.0)
        assert link.pace.rate == pytest.approx(200e3, rel=0.6)
        link.rate = 10e6
        play(link, 4.0, 9.0)
        assert link.pace.rate > 3e6


sizes = st.integers(1, 100_000)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), sizes),
        st.tuples(st.just("shown"), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("left"), sizes),
        st.tuples(st.just("forget"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 5000)),
    ),
    max_size=60,
)


@given(steps)
def test_law_whatever_a_viewer_says_its_pace_stays_sound(script: list[tuple[str, int]]) -> None:
    pace, now_s = Pace(), 0.0
    for what, how in script:
        match what:
            case "send":
                pace.send(now_s, how)
            case "shown":
                pace.shown(now_s, how)
            case "left":
                pace.left(now_s, how)
            case "forget":
                pace.forget(now_s)
            case "wait":
                now_s += how / 1000
        assert pace.in_flight >= 0
        assert LEAST_BYTES <= pace.window <= MOST_BYTES
        assert 0 <= pace.room(now_s, 0) <= pace.window
