"""Lines with a time: the bound is never wrong, nothing is lost, and nothing reaches the terminal but text."""

from __future__ import annotations

import datetime
import json
import re
import unicodedata
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.machine import journal
from pommel.machine.journal import Event, LogLine, LogSource, Word, Written, clean, merge, parse, render, spell, telling

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


def at(second: float) -> datetime.datetime:
    return NOON + datetime.timedelta(seconds=second)


# --- events ----------------------------------------------------------------------------------------------------------


@given(
    st.builds(
        Event,
        st.datetimes(timezones=st.just(datetime.UTC)).map(
            lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)
        ),
        st.sampled_from([*map(str, Word), "another"]),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers(0, 1 << 60),
        st.integers(0, 1 << 60),
    )
)
def test_an_event_is_one_line_and_comes_back(event: Event) -> None:
    line = render(event)
    assert line.isascii() and line.count("\n") == 1 and line.endswith("\n")
    assert parse(line) == event


GOOD = json.loads(render(Event(NOON, "start", "x", 1, 2)))


@pytest.mark.parametrize(
    "damaged",
    [
        *({key: value for key, value in GOOD.items() if key != gone} for gone in GOOD),
        GOOD | {"time": "noon"},
        GOOD | {"time": "2026-01-02T12:00:00"},
        GOOD | {"time": 7},
        GOOD | {"event": None},
        GOOD | {"text": 1},
        GOOD | {"qemu_log": -1},
        GOOD | {"serial_log": True},
        [],
        None,
    ],
)
def test_what_is_no_event_is_none(damaged: object) -> None:
    assert parse(json.dumps(damaged)) is None


@given(st.text())
def test_any_line_is_an_event_or_none(line: str) -> None:
    found = parse(line)
    assert found is None or isinstance(found, Event)


# --- cleaning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"plain\ttext\r\n", "plain\ttext"),
        (b"\x1b[1;31mred\x1b[0m and \x1b[2Jwiped", "red and wiped"),
        (b"\x1b]0;a title\x07shell", "shell"),
        (b"\x1b]52;c;c3RlYWw=\x1b\\pasted", "pasted"),
        (b"\x1bP+q544e\x1b\\x", "x"),
        (b"\x1b(Bx\x1b7y\x1bcz", "xyz"),
        (b"half an escape \x1b[12", "half an escape "),
        (b"10%\r20%\r30%", "10% 20% 30%"),
        (b"bell\x07 back\x08 null\x00 del\x7f", "bell back null del"),
        ("c1 \x9b31m".encode(), "c1 31m"),
        ("evil \u202eexe.txt".encode(), "evil exe.txt"),
        (b"\xff\xfe ok", "\ufffd\ufffd ok"),
        ("grün 文".encode(), "grün 文"),
    ],
)
def test_clean(raw: bytes, said: str) -> None:
    assert clean(raw) == said


@given(st.binary())
def test_nothing_that_controls_a_terminal_is_left(raw: bytes) -> None:
    assert not any(unicodedata.category(char) == "Cc" and char != "\t" for char in clean(raw))


# --- merging ---------------------------------------------------------------------------------------------------------


@dataclass
class Log:
    """What a file and the one before it hold, written at known times."""

    file: bytes = b""
    before: bytes = b""
    turned: bool = False

    def written(self) -> list[Written]:
        files = [self.before, self.file] if self.turned else [self.file]
        return [Written(tuple(offsets(data)), len(data)) for data in files]


def offsets(data: bytes) -> list[tuple[int, bytes]]:
    found, offset = [], 0
    for line in data.removesuffix(b"\n").split(b"\n") if data else []:
        found.append((offset, line))
        offset += len(line) + 1
    return found


@dataclass
class World:
    """A machine's life: whoever writes, notes or turns over, one step a second."""

    events: list[Event] = field(default_factory=list)
    logs: dict[LogSource, Log] = field(default_factory=lambda: {LogSource.QEMU: Log(), LogSource.SERIAL: Log()})

    def live(self, steps: list[tuple[str, LogSource]]) -> list[LogLine]:
        for second, (what, source) in enumerate(steps):
            log = self.logs[source]
            if what == "write":
                log.file += f"{second}\n".encode()
            elif what == "turn over":
                log.before, log.file, log.turned = log.file, b"", True
            else:
                sizes = [len(self.logs[source].file) for source in (LogSource.QEMU, LogSource.SERIAL)]
                self.events.append(Event(at(second), "event", str(second), *sizes))
        return merge(self.events, self.logs[LogSource.QEMU].written(), self.logs[LogSource.SERIAL].written())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write"] * 4 + ["event"] * 2 + ["turn over"]),
        st.sampled_from([LogSource.QEMU, LogSource.SERIAL]),
    ),
    max_size=40,
)


def second_of(line: LogLine) -> int:
    return int(line.text.removeprefix("event: "))


@settings(deadline=None)
@given(STEPS)
def test_a_line_is_never_older_than_it_is_said_to_be(steps: list[tuple[str, LogSource]]) -> None:
    world = World()
    lines = world.live(steps)
    for line in lines:
        assert line.time is None or line.time <= at(second_of(line))
    for source in LogSource:
        own = [second_of(line) for line in lines if line.source is source]
        assert own == sorted(own), "each voice stays in order"
    kept = sum(len(offsets(log.file)) + len(offsets(log.before)) for log in world.logs.values())
    assert len(lines) == kept + len(world.events), "nothing is lost"
    times = [line.time for line in lines if line.time is not None]
    assert times == sorted(times)


@settings(deadline=None)
@given(STEPS)
def test_while_no_log_is_turned_over_the_bound_is_the_last_event(steps: list[tuple[str, LogSource]]) -> None:
    steps = [step for step in steps if step[0] != "turn over"]
    for line in World().live(steps):
        if line.source is not LogSource.POMMEL:
            before = [second for second, (what, _) in enumerate(steps[: second_of(line)]) if what == "event"]
            assert line.time == (at(before[-1]) if before else None)


def test_a_log_that_was_turned_over_since_the_last_event() -> None:
    events = [Event(at(1), "start", "", 0, 0), Event(at(9), "later", "", 50, 0)]
    lines = merge(events, [Written(((0, b"old"), (60, b"late")), 64), Written(((0, b"new"),), 4)], [])
    assert [(line.text, line.time) for line in lines] == [
        ("start", at(1)),
        ("old", at(1)),
        ("later", at(9)),
        ("late", at(9)),
        ("new", at(9)),
    ]


def test_a_file_of_which_only_the_end_was_kept_is_bound_no_tighter_than_is_true() -> None:
    events = [Event(at(1), "start", "", 0, 0), Event(at(9), "later", "", 5000, 0), Event(at(11), "new", "", 0, 0)]
    older = Written(((0, b"old"),), 100)  # was at 4900 of a file of 5000
    lines = merge(events, [older, Written(((0, b"young"),), 6)], [])
    assert {line.text: line.time for line in lines if line.source is LogSource.QEMU} == {"old": at(1), "young": at(11)}


def test_the_last_lines() -> None:
    events = [Event(at(1), "a"), Event(at(2), "b")]
    assert [line.text for line in merge(events, [], [], 1)] == ["b"]
    assert merge(events, [], [], 0) == []
    assert len(merge(events, [], [], 5)) == 2


def test_a_headline_is_told_once() -> None:
    headline = b"=== 2026-01-02 12:00:00Z m starts"
    alone = merge([], [Written(((0, headline), (40, b"said")), 45)], [])
    assert alone == [LogLine(NOON, LogSource.POMMEL, "m starts"), LogLine(None, LogSource.QEMU, "said")]
    start = Event(at(0.4), Word.START, "qemu", len(headline) + 1, 0)
    with_event = merge([start], [Written(((0, headline), (34, b"said")), 39)], [])
    assert with_event == [LogLine(at(0.4), LogSource.POMMEL, "start: qemu"), LogLine(at(0.4), LogSource.QEMU, "said")]


def test_an_event_is_spelled_for_a_person() -> None:
    assert spell(Event(NOON, Word.KILL)) == "kill"
    assert spell(Event(NOON, Word.CRASHED, "a\x1b[2J\nb")) == "crashed: ab"


def test_last_words() -> None:
    assert telling([]) == ""
    assert telling(["=== 2026-01-02 12:00:00Z m starts", ""]) == ""
    assert telling(["one", "two", "  ", "three\r"]) == "two / three"
    assert telling(["of another run", "=== 2026-01-02 12:00:00Z m starts", "its own"]) == "its own"


def test_what_is_drawn_with_characters_is_cut_short() -> None:
    assert journal.clean("a" + " " * 80 + "b") == "a   …b"
    assert journal.clean(b"\xc4" * 60) == "\ufffd\ufffd\ufffd…"
    assert journal.clean("=" * 39) == "=" * 39


@pytest.mark.parametrize(
    "day", ["9999-99-99 99:99:99", "2026-02-30 00:00:00", "2026-01-01 24:61:00", "2026-01-01 00:00:00"]
)
def test_a_guest_never_speaks_as_pommel(day: str) -> None:
    line = f"=== {day}Z stopped: all is well".encode()
    (told,) = journal.merge([], [], [journal.Written(((0, line),), len(line))])
    assert (told.source, told.time, told.text) == (journal.LogSource.SERIAL, None, line.decode())
    (told,) = journal.merge([], [journal.Written(((0, line),), len(line))], [])
    assert (told.source is journal.LogSource.POMMEL) == (day == "2026-01-01 00:00:00")


def test_an_event_before_all_time_is_damaged() -> None:
    line = journal.render(journal.Event(datetime.datetime.now(datetime.UTC), "start"))
    assert journal.parse(line) is not None
    for moment in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        assert journal.parse(re.sub(r'"time": "[^"]*"', f'"time": "{moment}"', line)) is None
