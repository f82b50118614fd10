"""The rules, one by one, and as laws over any interleaving of what can happen."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.clipboard.content import EMPTY, HTML, PNG, TEXT, Content, HeldBack, content_of, text_of
from pommel.clipboard.engine import ECHO_S, Side, SyncDirection, SyncEngine, Write

A, B, C = text_of("a"), text_of("b"), text_of("c")
RICH = content_of({TEXT: b"a", HTML: b"<b>a</b>"})
SECRET = Content(held=HeldBack.SECRET)
HOST, GUEST = Side.HOST, Side.GUEST


class Bench:
    """An engine whose writes are all taken at once, and its clock."""

    def __init__(self, **how: object) -> None:
        self.engine = SyncEngine(**how)  # type: ignore[arg-type]
        self.now = 100.0
        self.sequence = {HOST: 0, GUEST: 0}

    def copy(self, side: Side, content: Content, *, at: float | None = -1.0) -> list[Write]:
        self.now += 10 * ECHO_S
        self.sequence[side] += 1
        return self.engine.observe(side, content, self.sequence[side], self.now if at == -1.0 else at)

    def copied(self, side: Side, content: Content, *, at: float | None = -1.0) -> list[tuple[Side, Content]]:
        writes = self.copy(side, content, at=at)
        for write in writes:
            self.engine.written(write.side, write.token, self.now)
        return [(write.side, write.content) for write in writes]

    def together(self, host: Content = A, guest: Content = EMPTY) -> Bench:
        self.copied(HOST, host)
        self.engine.connect()
        self.copied(GUEST, guest, at=None)
        return self


def test_a_copy_travels_both_ways() -> None:
    bench = Bench().together()
    assert bench.copied(HOST, B) == [(GUEST, B)]
    assert bench.copied(GUEST, C) == [(HOST, C)]
    assert bench.engine.holds(HOST) == bench.engine.holds(GUEST) == C
    assert bench.engine.settled


@pytest.mark.parametrize(
    ("direction", "to_guest", "to_host"),
    [(SyncDirection.BOTH, 1, 1), (SyncDirection.HOST_TO_GUEST, 1, 0), (SyncDirection.GUEST_TO_HOST, 0, 1)],
)
def test_direction(direction: SyncDirection, to_guest: int, to_host: int) -> None:
    bench = Bench(direction=direction).together()
    assert len(bench.copied(HOST, B)) == to_guest
    assert len(bench.copied(GUEST, C)) == to_host


def test_an_echo_is_no_copy_and_a_keeper_may_drop_forms() -> None:
    bench = Bench().together()
    (write,) = bench.copy(HOST, RICH)
    bench.engine.written(GUEST, write.token, bench.now)
    for echo in (RICH, A):
        assert bench.engine.observe(GUEST, echo, 5, bench.now + ECHO_S) == []
    assert bench.engine.holds(HOST) == bench.engine.holds(GUEST) == RICH


def test_the_same_text_copied_anew_is_what_the_other_side_gets_back() -> None:
    bench = Bench(direction=SyncDirection.HOST_TO_GUEST).together()
    bench.copied(HOST, B)
    bench.copied(GUEST, C)
    assert bench.copied(HOST, B) == [(GUEST, B)]


def test_a_tie_goes_to_the_host_and_the_guests_copy_to_history() -> None:
    bench = Bench(history=3).together()
    (write,) = bench.copy(HOST, B)
    assert bench.copy(GUEST, C) == []
    bench.engine.written(GUEST, write.token, bench.now)
    assert [(lost.side, lost.content) for lost in bench.engine.history] == [(GUEST, C)]
    # The other way round: our write to the host comes too late for its copy.
    (write,) = bench.copy(GUEST, C)
    assert write.expected == bench.sequence[HOST]
    assert bench.copied(HOST, A) == [(GUEST, A)]
    bench.engine.superseded(HOST, write.token)
    assert bench.engine.holds(HOST) == bench.engine.holds(GUEST) == A
    assert bench.engine.settled


def test_a_guest_that_tells_again_what_seemed_to_lose_wins() -> None:
    """A shell's end may tell of a copy made after our write before it confirms that write; it tells it again then."""
    bench = Bench(history=3).together()
    (write,) = bench.copy(HOST, B)
    assert bench.copy(GUEST, C) == []
    bench.engine.written(GUEST, write.token, bench.now)
    assert bench.copied(GUEST, C) == [(HOST, C)]
    assert not bench.engine.history


@pytest.mark.parametrize("no_copy", ["a keeper takes it over", "its program ends"])
def test_what_is_no_copy_of_the_hosts_wins_no_tie(no_copy: str) -> None:
    """The host counts it, and so refuses the write: it is made again."""
    bench = Bench().together()
    bench.copied(HOST, B)
    (write,) = bench.copy(GUEST, C)
    seen = B if no_copy == "a keeper takes it over" else Content(held=HeldBack.GONE)
    bench.now -= 10 * ECHO_S
    (again,) = bench.engine.observe(HOST, seen, 7, bench.now)
    assert (again.side, again.content, again.expected) == (HOST, C, 7) and write.expected < 7
    bench.engine.superseded(HOST, write.token)
    bench.engine.written(HOST, again.token, bench.now)
    assert bench.engine.holds(HOST) == bench.engine.holds(GUEST) == C and bench.engine.settled


def test_a_copy_that_lost_to_a_write_that_fails_has_not_lost() -> None:
    bench = Bench(history=3).together()
    (write,) = bench.copy(HOST, B)
    assert bench.copy(GUEST, C) == []
    (back,) = bench.engine.failed(GUEST, write.token)
    assert (back.side, back.content) == (HOST, C)
    bench.engine.written(HOST, back.token, bench.now)
    assert bench.engine.holds(HOST) == bench.engine.holds(GUEST) == C
    assert not bench.engine.history and bench.engine.failed(GUEST, write.token) == []


def test_what_lost_to_an_older_write_too_has_lost() -> None:
    bench = Bench().together()
    bench.copy(HOST, B)
    bench.copy(GUEST, C)
    (newest,) = bench.copy(HOST, RICH)
    assert bench.engine.failed(GUEST, newest.token) == []


def test_what_is_on_its_way_is_not_sent_twice() -> None:
    bench = Bench().together()
    (write,) = bench.copy(HOST, B)
    assert bench.copy(HOST, B) == []
    bench.engine.written(GUEST, write.token, bench.now)
    (write,) = bench.copy(GUEST, C)
    assert bench.copy(GUEST, C) == []
    bench.engine.written(HOST, write.token, bench.now)
    assert bench.engine.holds(HOST) == bench.engine.holds(GUEST) == C


def test_history_keeps_nothing_unless_asked() -> None:
    bench = Bench().together()
    bench.copy(HOST, B)
    bench.copy(GUEST, C)
    assert not bench.engine.history


def test_a_secret_stays_and_its_removal_takes_nothing_away() -> None:
    bench = Bench().together()
    for side in Side:
        bench.copied(side, B)
        assert bench.copied(side, SECRET) == []
        assert bench.engine.stayed[side] is HeldBack.SECRET
        assert bench.copied(side, EMPTY) == []
        assert bench.engine.stayed[side] is None
        assert bench.engine.holds(side.other) == B


def test_the_shared_copy_emptied_is_emptied_on_both() -> None:
    bench = Bench().together()
    for side in Side:
        bench.copied(side, B)
        assert bench.copied(side, EMPTY) == [(side.other, EMPTY)]


def test_emptying_does_not_take_the_other_sides_secret() -> None:
    bench = Bench().together()
    bench.copied(GUEST, SECRET)
    assert bench.copied(HOST, EMPTY) == []


def test_the_end_of_a_program_empties_nothing() -> None:
    bench = Bench().together()
    assert bench.copied(HOST, Content(held=HeldBack.GONE)) == []
    assert bench.engine.holds(GUEST) == A


def test_more_than_the_limit_is_refused_whole() -> None:
    bench = Bench(limit=3).together()
    assert bench.copied(HOST, text_of("1234")) == []
    assert bench.engine.stayed[HOST] is HeldBack.TOO_LARGE
    assert bench.copied(HOST, text_of("123")) == [(GUEST, text_of("123"))]


def test_a_side_gets_what_it_knows() -> None:
    bench = Bench()
    bench.engine.knows(GUEST, {TEXT})
    bench.together()
    bench.copied(HOST, B)
    assert bench.copied(HOST, RICH) == [(GUEST, A)]
    assert bench.copied(HOST, content_of({PNG: b"png"})) == []
    assert bench.engine.stayed[HOST] is HeldBack.FOREIGN
    assert bench.engine.holds(GUEST) == A


def away(bench: Bench, *, host: Content | None, guest: Content | None, guest_at: float | None = None) -> object:
    """Both have A; the guest goes, copies are made, it comes back."""
    bench.engine.disconnect()
    if host is not None:
        assert bench.copied(HOST, host) == []
    bench.engine.connect()
    return bench.copied(GUEST, guest if guest is not None else A, at=guest_at)


@pytest.mark.parametrize(
    ("host", "guest", "written", "lost"),
    [
        (None, None, [], []),
        (B, None, [(GUEST, B)], []),
        (None, C, [(HOST, C)], []),
        (B, C, [(GUEST, B)], [C]),
        (B, B, [], []),
        (None, EMPTY, [(GUEST, A)], []),  # the guest was restarted
        (B, EMPTY, [(GUEST, B)], []),
        (EMPTY, None, [(GUEST, EMPTY)], []),
        (EMPTY, C, [(HOST, C)], []),
        (SECRET, None, [], []),
        (SECRET, C, [(HOST, C)], []),
        (None, SECRET, [], []),
        (B, SECRET, [(GUEST, B)], []),
    ],
)
def test_after_a_disconnection(
    host: Content | None, guest: Content | None, written: list[object], lost: list[Content]
) -> None:
    bench = Bench(history=5).together()
    assert away(bench, host=host, guest=guest) == written
    assert [entry.content for entry in bench.engine.history] == lost


def test_a_guest_that_can_say_when_wins_if_it_is_newer() -> None:
    bench = Bench(history=5).together()
    assert away(bench, host=B, guest=C, guest_at=bench.now + 1000) == [(HOST, C)]
    assert [entry.content for entry in bench.engine.history] == [B]


def test_a_write_that_may_have_got_through_is_no_change_of_the_guest() -> None:
    bench = Bench(history=5).together()
    bench.copy(HOST, B)
    bench.engine.disconnect()
    bench.copied(HOST, C)
    bench.engine.connect()
    assert bench.copied(GUEST, B, at=None) == [(GUEST, C)]
    assert not bench.engine.history


def test_first_meeting() -> None:
    assert Bench().together(A, B).engine.holds(GUEST) == A
    assert Bench().together(EMPTY, B).engine.holds(HOST) == B
    assert Bench(direction=SyncDirection.GUEST_TO_HOST).together(A, B).engine.holds(HOST) == B
    assert Bench().together(EMPTY, EMPTY).engine.settled


def test_asked_for_by_a_person() -> None:
    bench = Bench(direction=SyncDirection.GUEST_TO_HOST).together(A, EMPTY)
    (write,) = bench.engine.offer_again(HOST)
    assert (write.side, write.content) == (GUEST, A)


class World:
    """Two clipboards, the queues between them and the engine, and a clock: whatever order things happen in.

    The host takes a write only if no other copy came before it; the guest takes every write, in order. A guest of the
    shell's kind tells of our writes as if they were copies.
    """

    def __init__(self, echoes: bool) -> None:
        self.engine = SyncEngine(history=1000)
        self.echoes = echoes
        self.now = 0.0
        self.host, self.guest = EMPTY, EMPTY
        self.host_sequence = self.guest_count = 0
        self.from_host: deque[tuple[object, ...]] = deque()
        self.to_host: deque[Write] = deque()
        self.from_guest: deque[tuple[object, ...]] = deque()
        self.to_guest: deque[Write] = deque()
        self.connected = False
        self.writes = 0
        self.copies = 0
        self.from_host.append(("saw", EMPTY, 0))
        self.step("host")

    def copy_on_host(self, content: Content) -> None:
        self.copies += 1
        self.host, self.host_sequence = content, self.host_sequence + 1
        self.from_host.append(("saw", content, self.host_sequence))

    def copy_on_guest(self, content: Content) -> None:
        self.copies += 1
        self.guest, self.guest_count = content, self.guest_count + 1
        if self.connected:
            self.from_guest.append(("saw", content, self.guest_count))

    def connect(self) -> None:
        if not self.connected:
            self.connected, self.first = True, True
            self.engine.connect()
            self.from_guest.append(("saw", self.guest, self.guest_count))

    def disconnect(self) -> None:
        self.connected = False
        self.engine.disconnect()
        self.from_guest.clear()
        # What was on its way may get there, or not.
        if len(self.to_guest) % 2:
            self.guest = self.to_guest[0].content
        self.to_guest.clear()

    def restart_guest(self) -> None:
        self.disconnect()
        self.guest = EMPTY

    def send(self, writes: list[Write]) -> None:
        self.writes += len(writes)
        for write in writes:
            (self.to_host if write.side is HOST else self.to_guest).append(write)

    def step(self, queue: str) -> bool:
        """Let one thing in a queue happen; False if there was none."""
        self.now += 0.01
        if queue == "host" and self.from_host:
            what, *rest = self.from_host.popleft()
            if what == "saw":
                self.send(self.engine.observe(HOST, rest[0], rest[1], self.now))  # type: ignore[arg-type]
            elif what == "done":
                self.engine.written(HOST, rest[0], self.now)  # type: ignore[arg-type]
            else:
                self.engine.superseded(HOST, rest[0])  # type: ignore[arg-type]
        elif queue == "to host" and self.to_host:
            write = self.to_host.popleft()
            if self.host_sequence > write.expected:
                self.from_host.append(("superseded", write.token))
            else:
                self.host = write.content
                self.from_host.append(("done", write.token))
        elif queue == "guest" and self.from_guest:
            what, *rest = self.from_guest.popleft()
            if what == "saw":
                at = None if self.first else self.now
                self.first = False
                self.send(self.engine.observe(GUEST, rest[0], rest[1], at))  # type: ignore[arg-type]
            else:
                self.engine.written(GUEST, rest[0], self.now)  # type: ignore[arg-type]
        elif queue == "to guest" and self.to_guest:
            write = self.to_guest.popleft()
            self.guest = write.content
            self.from_guest.append(("done", write.token))
            if self.echoes:
                self.from_guest.append(("saw", write.content, self.guest_count))
        else:
            return False
        return True

    def settle(self) -> None:
        steps = 0
        while any([self.step(queue) for queue in ("host", "to host", "guest", "to guest")]):
            steps += 1
            assert steps < 1000, "it goes round and round"


QUEUES = ("host", "to host", "guest", "to guest")
CONTENTS = [text_of(letter) for letter in "abc"]
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("copy_on_host"), st.sampled_from(CONTENTS)),
        st.tuples(st.just("copy_on_guest"), st.sampled_from(CONTENTS)),
        st.tuples(st.just("step"), st.sampled_from(QUEUES)),
        st.tuples(st.just("step"), st.sampled_from(QUEUES)),
        st.tuples(st.sampled_from(["connect", "connect", "disconnect", "restart_guest"])),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=400)
@given(HAPPENINGS, st.booleans())
def test_any_interleaving_ends_equal_and_at_rest(happenings: list[tuple[object, ...]], echoes: bool) -> None:
    world = World(echoes)
    connections = 1
    for what, *rest in happenings:
        connections += what == "connect"
        getattr(world, str(what))(*rest)
    world.connect()
    world.settle()
    assert world.host == world.guest
    assert world.engine.settled
    assert world.engine.holds(HOST) == world.engine.holds(GUEST) == world.host
    # No ping-pong: a copy or a new connection is written about once.
    assert world.writes <= world.copies + connections


@settings(deadline=None, max_examples=200)
@given(HAPPENINGS, st.booleans())
def test_the_last_copy_wins_once_all_is_quiet(happenings: list[tuple[object, ...]], echoes: bool) -> None:
    world = World(echoes)
    for what, *rest in happenings:
        getattr(world, str(what))(*rest)
    world.connect()
    world.settle()
    world.now += 100
    last = text_of("the last")
    for copy in (world.copy_on_host, world.copy_on_guest):
        copy(last)
        world.settle()
        assert world.host == world.guest == last


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["copy_on_host", "copy_on_guest"]), st.sampled_from([A, SECRET, EMPTY])),
            st.tuples(st.just("step"), st.sampled_from(QUEUES)),
            st.tuples(st.sampled_from(["connect", "disconnect"])),
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_a_secret_is_never_written_and_nothing_goes_round(happenings: list[tuple[object, ...]], echoes: bool) -> None:
    world = World(echoes)
    sent: list[Content] = []
    deliver = world.send
    world.send = lambda writes: (sent.extend(write.content for write in writes), deliver(writes))[1]  # type: ignore[method-assign]
    for what, *rest in happenings:
        getattr(world, str(what))(*rest)
    world.connect()
    world.settle()
    assert all(content.held is None for content in sent)
