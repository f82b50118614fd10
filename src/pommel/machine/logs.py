"""A machine's logs: begins a run in them, reads, follows and merges them, and keeps them bounded. Band: shell.

QEMU writes its log and the guest's serial port itself; Pommel's own events are noted beside them (`events`). Each run
begins with a dated line of ours. A large log is renamed to `….log.1` when the next run begins; one that grows while
QEMU runs is rotated by any caller of `bound`.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pommel import private
from pommel.machine import events, journal, tailing
from pommel.machine.journal import LogLine, LogSource, Word
from pommel.paths import MachinePaths

__all__ = [
    "LogLine",
    "LogSource",
    "Serial",
    "begin",
    "bound",
    "follow",
    "follow_merged",
    "last",
    "merged",
    "older",
    "tail",
]

ROTATE_BYTES = 1 << 20
_POLL_S = 0.2


def begin(paths: MachinePaths, headline: str) -> int:
    """Begin a run: rotate large logs, add a dated line. Return the offset at which QEMU's own lines will begin."""
    for path in (paths.log, paths.serial_log):
        tailing.put_aside(path, ROTATE_BYTES)
    events.bound(paths)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    with private.appended(paths.log) as log:
        log.write(f"=== {now} {headline}\n".encode())
        return log.tell()


def bound(paths: MachinePaths) -> None:
    """Keep the logs of a machine that runs for months bounded, each to three times ROTATE_BYTES. Cheap; never raises.

    No daemon does this: each process that inspects a machine, or stays with it, calls this from time to time.
    """
    for path in (paths.log, paths.serial_log):
        with contextlib.suppress(OSError):
            tailing.turn_over(path, ROTATE_BYTES)
    events.bound(paths)


def older(paths: MachinePaths) -> Path:
    """The path of the log before the present one."""
    return tailing.older(paths.log)


def last(paths: MachinePaths, count: int, *, since: int = 0) -> list[str]:
    """The last `count` lines of QEMU's log from offset `since` on; without a log, an empty list."""
    return [_text(line) for _, line in tailing.read_end(paths.log, count, since=since).lines]


def tail(paths: MachinePaths, count: int = 10, *, since: int = 0) -> str:
    """`last` as one text, for an error message."""
    return "\n".join(last(paths, count, since=since))


class Serial:
    """The guest's serial port: first the lines of the present run so far, then new lines as they come."""

    def __init__(self, paths: MachinePaths, count: int = 1000) -> None:
        self._tail = tailing.Tail(paths.serial_log)
        starts = [event.serial_log for event in events.read(paths) if event.word == Word.START]
        # If the start of the run is unknown, no line is known to belong to it.
        since = starts[-1] if starts else tailing.size(paths.serial_log)
        if since > tailing.size(paths.serial_log):  # rotated since then: all lines in it are newer
            since = 0
        self.before = [journal.clean(line) for _, line in tailing.read_end(paths.serial_log, count, since=since).lines]

    def read(self) -> list[str]:
        """The complete lines since the last call."""
        return [journal.clean(line) for line in self._tail.read()[0]]


def follow(paths: MachinePaths, count: int = 10, *, done: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """The last `count` lines of QEMU's log, then each new one, until `done()` when no more lines come."""
    log = tailing.Tail(paths.log)
    yield from last(paths, count)
    while True:
        finished = done()  # before the read, so that lines written until then are still returned
        lines, busy = log.read()
        for line in lines:
            yield _text(line)
        if not busy:
            if finished:
                return
            time.sleep(_POLL_S)


def merged(paths: MachinePaths, count: int = 50) -> list[LogLine]:
    """The last `count` lines of events, QEMU's log and serial port, in one stream, cleaned for a terminal.

    The time of a line is the earliest time when it can have been written; it is exact for events.
    """
    told = events.read(paths)  # first, so that a log that is shorter than an event says is known to have been rotated
    files = {
        log: [tailing.read_end(path, count) for path in (tailing.older(log), log)]
        for log in (paths.log, paths.serial_log)
    }
    return journal.merge(told, files[paths.log], files[paths.serial_log], count)


def follow_merged(
    paths: MachinePaths, count: int = 50, *, done: Callable[[], bool] = lambda: False
) -> Iterator[LogLine]:
    """The last `count` merged lines, then each new one with its arrival time, until `done()` when no more lines come.

    It keeps the logs bounded meanwhile.
    """
    logs = ((LogSource.QEMU, paths.log), (LogSource.SERIAL, paths.serial_log), (LogSource.POMMEL, paths.events_log))
    tails = [(source, tailing.Tail(path)) for source, path in logs]
    yield from merged(paths, count)
    while True:
        finished = done()
        read = [(source, tail.read()) for source, tail in tails]
        now = datetime.datetime.now(datetime.UTC)
        for source, (lines, _) in read:
            yield from (line for data in lines if (line := _arrived(source, data, now)) is not None)
        if not any(busy for _, (_, busy) in read):
            if finished:
                return
            bound(paths)
            time.sleep(_POLL_S)


def _arrived(source: LogSource, data: bytes, now: datetime.datetime) -> LogLine | None:
    if source is not LogSource.POMMEL:
        return LogLine(now, source, journal.clean(data))
    event = journal.parse(data.decode(errors="replace"))
    return None if event is None else LogLine(event.time, source, journal.spell(event))


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")
