"""Merges a machine's messages into lines with a time: from Pommel's events, QEMU and the guest. Band: core, no I/O.

QEMU and the guest write no time. But every event notes how long their logs were at its moment. So a line is at least
as new as the last event at which the log ended before it. This bound is always correct, but coarse.
This module does no I/O; `events` and `logs` do.
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

# CSI, then OSC and the other strings, then the short sequences (ECMA-48, 5.3 to 5.6); incomplete ones too.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
# The remaining control characters except the tab; and those that change the direction of text.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Boot loaders draw frames and clear screens with long runs of one character; in a log these only move words out of
# view.
_DRAWN_FROM = 40
_DRAWN = re.compile(rf"([ \ufffd─━═_=*-])\1{{{_DRAWN_FROM - 1},}}")
_HEADLINE = re.compile(r"=== ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})Z (.*)")
_INTEGERS = ("qemu_log", "serial_log")
_SAME = datetime.timedelta(seconds=5)


class Word(StrEnum):
    """The kinds of events."""

    START = "start"
    RUNNING = "running"
    START_FAILED = "start failed"
    STOP = "stop"  # a stop was requested
    STOP_OFF = "stop called off"  # a stop was cancelled
    KILL = "kill"  # SIGKILL is about to be sent
    STOPPED = "stopped"
    CRASHED = "crashed"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    SNAPSHOT_SAVED = "snapshot saved"
    SNAPSHOT_LOADED = "snapshot loaded"
    SNAPSHOT_FAILED = "snapshot failed"  # for a snapshot of the timer
    CONSOLE_OPENED = "console opened"
    CONSOLE_CLOSED = "console closed"
    TERMINAL_OPENED = "terminal opened"  # by a viewer
    TERMINAL_CLOSED = "terminal closed"
    RESTART = "restart"  # by a watcher
    GIVEN_UP = "given up"  # by a watcher
    FILES = "files"  # what a viewer did with the guest's files
    MCP = "mcp"  # an action of a client of `pommel mcp`


class LogSource(StrEnum):
    """The origin of a line."""

    POMMEL = "pommel"
    QEMU = "qemu"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its time (UTC), a `Word` or another, a text, and the lengths of the logs at that time."""

    time: datetime.datetime
    word: str
    text: str = ""
    qemu_log: int = 0
    serial_log: int = 0


@dataclass(frozen=True, slots=True)
class LogLine:
    """One printable line. `time` is exact for Pommel's own lines; others are not older than it; None: unknown."""

    time: datetime.datetime | None
    source: LogSource
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The end of a log: the lines with their offsets in the file, and the length of the file."""

    lines: tuple[tuple[int, bytes], ...] = ()
    size: int = 0


def render(event: Event) -> str:
    """The event as one line of JSON, with a newline."""
    document = {
        "time": event.time.astimezone(datetime.UTC).isoformat(timespec="milliseconds"),
        "event": event.word,
        "text": event.text,
        "qemu_log": event.qemu_log,
        "serial_log": event.serial_log,
    }
    return json.dumps(document) + "\n"


def parse(line: str) -> Event | None:
    """Parse what `render` wrote; None: it is damaged, or not an event."""
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
    """Make a line safe for a terminal: remove escape sequences and characters that could mislead the reader."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    plain = text.rstrip("\r\n").replace("\r", " ")
    if not plain.isprintable():  # only then is there something to remove; most lines have nothing
        plain = _CONTROLS.sub("", _ESCAPES.sub("", plain))
    return plain if len(plain) < _DRAWN_FROM else _DRAWN.sub(lambda run: run[0][:3] + "…", plain)


def merge(
    events: Sequence[Event], qemu: Sequence[Written], serial: Sequence[Written], last: int | None = None
) -> list[LogLine]:
    """One stream of events and lines, in order, or its last `last` lines.

    `qemu` and `serial` are the files of a log, the oldest first. Between the same two events, QEMU's lines come first,
    because their real order is unknown.
    """
    keyed = [(i, 0, LogLine(event.time, LogSource.POMMEL, spell(event))) for i, event in enumerate(events)]
    for rank, source, files, sizes in (
        (1, LogSource.QEMU, qemu, [event.qemu_log for event in events]),
        (2, LogSource.SERIAL, serial, [event.serial_log for event in events]),
    ):
        keyed += [(i, rank, _line(source, data, events, i)) for i, data in _placed(files, sizes)]
    starts = [event.time for event in events if event.word == Word.START]
    keyed = [entry for entry in keyed if entry[1] == 0 or not _is_told(entry[2], starts)]
    keyed.sort(key=lambda entry: entry[:2])  # stable: within a source, lines stay in order
    lines = [line for _, _, line in keyed]
    return lines if last is None else lines[len(lines) - min(last, len(lines)) :]


def spell(event: Event) -> str:
    """An event as text for people."""
    return clean(f"{event.word}: {event.text}" if event.text else event.word)


def telling(lines: Iterable[str], count: int = 2) -> str:
    """The last words of a QEMU that failed, from the last lines of its log; "" if it printed nothing."""
    said: list[str] = []
    for text in lines:
        text = clean(text).strip()
        said = [] if _HEADLINE.match(text) else [*said, text] if text else said
    return " / ".join(said[-count:])


def _placed(files: Sequence[Written], sizes: Sequence[int]) -> list[tuple[int, bytes]]:
    """Each line with the index of the last event before it; -1: no such event is known.

    If the size shrinks from one event to the next, a new file was begun between them. So, from the newest file
    backwards, each file gets the events back to the last shrinking. A line of this file is newer than all events before
    these.
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


def _line(source: LogSource, data: bytes, events: Sequence[Event], index: int) -> LogLine:
    text = clean(data)
    # Pommel writes such lines only into QEMU's log: in the serial log they are the guest's own text.
    headline = _HEADLINE.fullmatch(text) if source is LogSource.QEMU else None
    if headline is not None and (time := _moment(headline[1])) is not None:
        return LogLine(time, LogSource.POMMEL, headline[2])
    return LogLine(events[index].time if index >= 0 else None, source, text)


def _moment(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text + "+00:00")
    except ValueError:  # there is no such date or time
        return None


def _is_told(line: LogLine, starts: Sequence[datetime.datetime]) -> bool:
    """Whether this is the line in QEMU's log at the beginning of a run, and an event reports the same start."""
    time = line.time
    return line.source is LogSource.POMMEL and time is not None and any(abs(time - start) < _SAME for start in starts)
