"""A machine's log of events: events.log. Band: shell.

One event per line, appended by one write, so that any number of processes can write at once. Only messages for people
and a watcher's decision to start a machine again depend on it: on a full disk the event is lost, but the work goes on.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os

from pommel import private
from pommel.machine import journal, tailing
from pommel.machine.journal import Event, Word
from pommel.paths import MachinePaths

__all__ = ["Event", "Word", "bound", "note_event", "read"]

BOUND_BYTES = 256 << 10
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def note_event(paths: MachinePaths, word: str, text: str = "") -> None:
    """Note an event, a `Word` or another, with the present time. Never raises: on a full disk the event is lost."""
    now = datetime.datetime.now(datetime.UTC)
    lengths = tailing.size(paths.log), tailing.size(paths.serial_log)
    line = journal.render(Event(now, str(word), text, *lengths)).encode()
    with contextlib.suppress(OSError):
        fd = os.open(paths.events_log, _FLAGS, private.FILE)
        try:
            length = os.fstat(fd).st_size
            if length and os.pread(fd, 1, length - 1) != b"\n":  # a line that a full disk cut off
                line = b"\n" + line
            os.write(fd, line)
        finally:
            os.close(fd)


def read(paths: MachinePaths) -> list[Event]:
    """All events that are still stored, in their order."""
    files = [tailing.older(paths.events_log), paths.events_log]
    lines = [line for path in files for _, line in tailing.read_end(path, BOUND_BYTES).lines]
    found = (journal.parse(line.decode(errors="replace")) for line in lines)
    return [event for event in found if event is not None]


def bound(paths: MachinePaths) -> None:
    """Rotate a log that is too long; the previous older one is removed. Never raises."""
    if tailing.size(paths.events_log) <= BOUND_BYTES:
        return
    with contextlib.suppress(OSError):
        fd = os.open(paths.events_log, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), paths.events_log.stat()):  # else another process has just done it
                paths.events_log.replace(tailing.older(paths.events_log))
        finally:
            os.close(fd)
