"""What was said about a machine, as lines with a time: Pommel's events, QEMU's words, the guest's. Band: core, no I/O.

QEMU and the guest write without a clock. But every event notes how long their logs were when it happened, so a line
is known to be no older than the last event that its log had already outgrown. That bound is never wrong, only coarse.
Reads and writes nothing itself; `events` and `logs` do.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# CSI, then OSC and the other strings, then the short ones (ECMA-48, 5.3 to 5.6); unfinished ones as well.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
# What is left of the control characters, but for the tab; and those that turn the direction of writing about.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Boot loaders draw frames and clear screens by long runs of one character; in a log they only push words out of sight.
_DRAWN_FROM = 40
_DRAWN = re.compile(rf"([ \ufffd─━═_=*-])\1{{{_DRAWN_FROM - 1},}}")
_HEADLINE = re.compile(r"=== ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})Z (.*)")
_INTEGERS = ("qemu_log", "serial_log")
_SAME = datetime.timedelta(seconds=5)


class Word(StrEnum):
    """What happens to a machine."""

    START = "start"
    RUNNING = "running"
    START_FAILED = "start failed"
    STOP = "stop"  # it was asked for
    STOP_OFF = "stop called off"
    KILL = "kill"  # SIGKILL is about to be sent
    STOPPED = "stopped"
    CRASHED = "crashed"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    SNAPSHOT_SAVED = "snapshot saved"
    SNAPSHOT_LOADED = "snapshot loaded"
    SNAPSHOT_FAILED = "snapshot failed"  # one that the timer asked for
    CONSOLE_OPENED = "console opened"
    CONSOLE_CLOSED = "console closed"
    RESTART = "restart"  # by whoever watches
    GIVEN_UP = "given up"  # by the same


class Source(StrEnum):
    """Who said a line."""

    POMMEL = "pommel"
    QEMU = "qemu"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: when (UTC), a `Word` or another, more about it, and how long the logs were then."""

    time: datetime.datetime
    word: str
    text: str = ""
    qemu_log: int = 0
    serial_log: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line, fit to be printed. `time` is exact for Pommel's own, for others the line is no older; None: unknown."""

    time: datetime.datetime | None
    source: Source
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The end of a log: where in the file each line began, its bytes, and how long the file is."""

    lines: tuple[tuple[int, bytes], ...] = ()
    size: int = 0


def render(event: Event) -> str:
    """The event as one line of JSON, with its end."""
    document = {
        "time": event.time.astimezone(datetime.UTC).isoformat(timespec="milliseconds"),
        "event": event.word,
        "text": event.text,
        "qemu_log": event.qemu_log,
        "serial_log": event.serial_log,
    }
    return json.dumps(document) + "\n"


def parse(line: str) -> Event | None:
    """Read what `render` wrote; None: it is damaged, or no event."""
    try:
        found: Any = json.loads(line)
        time = datetime.datetime.fromisoformat(found["time"])
        time.astimezone(datetime.UTC)
        word, text, (qemu_log, serial_log) = found["event"], found["text"], (found[key] for key in _INTEGERS)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    sizes_fit = all(type(size) is int and size >= 0 for size in (qemu_log, serial_log))
    if not (isinstance(word, str) and isinstance(text, str) and sizes_fit and time.tzinfo is not None):
        return None
    return Event(time, word, text, qemu_log, serial_log)


def clean(text: str | bytes) -> str:
    """Make a line fit for a terminal: without what would move its cursor, ask it things or fool who reads."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    plain = text.rstrip("\r\n").replace("\r", " ")
    if not plain.isprintable():  # then there may be something to take out; most lines have nothing
        plain = _CONTROLS.sub("", _ESCAPES.sub("", plain))
    return plain if len(plain) < _DRAWN_FROM else _DRAWN.sub(lambda run: run[0][:3] + "…", plain)


def merge(
    events: Sequence[Event], qemu: Sequence[Written], serial: Sequence[Written], last: int | None = None
) -> list[Line]:
    """One stream of events and lines, in order, or the `last` lines of it.

    `qemu` and `serial` are the files of a log, the oldest first. Of lines between the same two events, QEMU's come
    first: which of the two was really first, nobody knows.
    """
    keyed = [(i, 0, Line(event.time, Source.POMMEL, spell(event))) for i, event in enumerate(events)]
    for rank, source, files, sizes in (
        (1, Source.QEMU, qemu, [event.qemu_log for event in events]),
        (2, Source.SERIAL, serial, [event.serial_log for event in events]),
    ):
        keyed += [(i, rank, _line(source, data, events, i)) for i, data in _placed(files, sizes)]
    starts = [event.time for event in events if event.word == Word.START]
    keyed = [entry for entry in keyed if entry[1] == 0 or not _is_told(entry[2], starts)]
    keyed.sort(key=lambda entry: entry[:2])  # stable: within a source, lines stay in order
    lines = [line for _, _, line in keyed]
    return lines if last is None else lines[len(lines) - min(last, len(lines)) :]


def spell(event: Event) -> str:
    """An event as a person reads it."""
    return clean(f"{event.word}: {event.text}" if event.text else event.word)


def telling(lines: Iterable[str], count: int = 2) -> str:
    """The last words of a QEMU that broke down, out of the last lines of its log; "" when it said nothing."""
    said: list[str] = []
    for text in lines:
        text = clean(text).strip()
        said = [] if _HEADLINE.match(text) else [*said, text] if text else said
    return " / ".join(said[-count:])


def _placed(files: Sequence[Written], sizes: Sequence[int]) -> list[tuple[int, bytes]]:
    """Each line with the index of the last event before it; -1: none is known to be.

    Sizes that shrink from one event to the next tell that a file was begun anew in between: so from the newest file
    backwards, each takes the events up to the last shrinking. A line of one is younger than all events before these.
    """
    placed: list[tuple[int, bytes]] = []
    end = len(sizes)
    for file in reversed(files):
        first, most = end, file.size if file is files[-1] else sys.maxsize
        while first and sizes[first - 1] <= most:
            first -= 1
            most = sizes[first]
        own = sizes[first:end]
        placed[:0] = [(first + bisect_right(own, offset) - 1, data) for offset, data in file.lines]
        end = first
    return placed


def _line(source: Source, data: bytes, events: Sequence[Event], index: int) -> Line:
    text = clean(data)
    # Pommel writes such lines into QEMU's log only: in the guest's own they are words of the guest's.
    headline = _HEADLINE.fullmatch(text) if source is Source.QEMU else None
    if headline is not None and (time := _moment(headline[1])) is not None:
        return Line(time, Source.POMMEL, headline[2])
    return Line(events[index].time if index >= 0 else None, source, text)


def _moment(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text + "+00:00")
    except ValueError:  # there is no such day, or hour
        return None


def _is_told(line: Line, starts: Sequence[datetime.datetime]) -> bool:
    """Whether it is the line in QEMU's log that a start begins with, and an event tells of that start as well."""
    time = line.time
    return line.source is Source.POMMEL and time is not None and any(abs(time - start) < _SAME for start in starts)
