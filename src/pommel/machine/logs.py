"""A machine's logs: begin a run in them, read their end, follow them, merge them, keep them bounded. Band: shell.

QEMU itself writes its log and the guest's serial port; Pommel's own events are noted beside them (`events`). Each run
begins with a dated line of ours. A log that has grown is put aside as `….log.1` when the next run begins; one that
grows while QEMU runs is turned over by whoever calls `bound`.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pommel import private
from pommel.machine import events, journal, tailing
from pommel.machine.journal import Line, Source, Word
from pommel.paths import MachinePaths

__all__ = ["Line", "Serial", "Source", "begin", "bound", "follow", "follow_merged", "last", "merged", "older", "tail"]

ROTATE_BYTES = 1 << 20
_POLL_S = 0.2


def begin(paths: MachinePaths, headline: str) -> int:
    """Begin a run: rotate large logs, add a dated line. Return the offset where QEMU's own lines will begin."""
    for path in (paths.log, paths.serial_log):
        tailing.put_aside(path, ROTATE_BYTES)
    events.bound(paths)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    with private.appended(paths.log) as log:
        log.write(f"=== {now} {headline}\n".encode())
        return log.tell()


def bound(paths: MachinePaths) -> None:
    """Keep the logs of a machine that runs for months bounded, each to thrice ROTATE_BYTES. Cheap; never raises.

    Nobody else does: whoever looks at a machine, or stays with it, calls this now and then.
    """
    for path in (paths.log, paths.serial_log):
        with contextlib.suppress(OSError):
            tailing.turn_over(path, ROTATE_BYTES)
    events.bound(paths)


def older(paths: MachinePaths) -> Path:
    """Where the log before the present one is."""
    return tailing.older(paths.log)


def last(paths: MachinePaths, count: int, *, since: int = 0) -> list[str]:
    """The last `count` lines of QEMU's log, none of them from before offset `since`; no log, no lines."""
    return [_text(line) for _, line in tailing.read_end(paths.log, count, since=since).lines]


def tail(paths: MachinePaths, count: int = 10, *, since: int = 0) -> str:
    """`last` as one text, for an error message."""
    return "\n".join(last(paths, count, since=since))


class Serial:
    """What the guest writes on its serial port: what it wrote in the present run, then line by line what comes."""

    def __init__(self, paths: MachinePaths, count: int = 1000) -> None:
        self._tail = tailing.Tail(paths.serial_log)
        starts = [event.serial_log for event in events.read(paths) if event.word == Word.START]
        # Where the start of the run is not known, no line is known to be of it.
        since = starts[-1] if starts else tailing.size(paths.serial_log)
        if since > tailing.size(paths.serial_log):  # turned over since: all that is there is younger
            since = 0
        self.before = [journal.clean(line) for _, line in tailing.read_end(paths.serial_log, count, since=since).lines]

    def read(self) -> list[str]:
        """The whole lines that have come since."""
        return [journal.clean(line) for line in self._tail.read()[0]]


def follow(paths: MachinePaths, count: int = 10, *, done: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """The last `count` lines of QEMU's log, then each one to come, until `done()` at a quiet moment."""
    log = tailing.Tail(paths.log)
    yield from last(paths, count)
    while True:
        finished = done()  # before reading: what was written until then is still told
        lines, busy = log.read()
        for line in lines:
            yield _text(line)
        if not busy:
            if finished:
                return
            time.sleep(_POLL_S)


def merged(paths: MachinePaths, count: int = 50) -> list[Line]:
    """The last `count` lines of events, QEMU's log and serial port, in one stream, cleaned for a terminal.

    The time of a line is when it was written at the earliest; exact for events.
    """
    told = events.read(paths)  # first: a log that is then shorter than an event says has been turned over
    files = {
        log: [tailing.read_end(path, count) for path in (tailing.older(log), log)]
        for log in (paths.log, paths.serial_log)
    }
    return journal.merge(told, files[paths.log], files[paths.serial_log], count)


def follow_merged(paths: MachinePaths, count: int = 50, *, done: Callable[[], bool] = lambda: False) -> Iterator[Line]:
    """The last `count` merged lines, then each one to come with the time it came, until `done()` at a quiet moment.

    Keeps the logs bounded meanwhile.
    """
    logs = ((Source.QEMU, paths.log), (Source.SERIAL, paths.serial_log), (Source.POMMEL, paths.events_log))
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


def _arrived(source: Source, data: bytes, now: datetime.datetime) -> Line | None:
    if source is not Source.POMMEL:
        return Line(now, source, journal.clean(data))
    event = journal.parse(data.decode(errors="replace"))
    return None if event is None else Line(event.time, source, journal.spell(event))


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")
