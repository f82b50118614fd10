"""Files that grow: their last lines, what comes to them, and a bound to their size. Band: shell.

Whose lines they are is not known here. Reading takes bounded memory, however large a file is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from pommel import private
from pommel.machine.journal import Written

MOST = 1 << 20  # the most that is read back for one answer
_BLOCK = 1 << 16
_ANYWAY = 8


def read_end(path: Path, count: int, *, since: int = 0, most: int = MOST) -> Written:
    """The last `count` lines of a file, none from before offset `since`; no file, no lines.

    A file of longer lines than `most` gives the end of the last one.
    """
    try:
        with path.open("rb") as file:
            size = end = file.seek(0, os.SEEK_END)
            start = max(min(since, end), end - most)
            data = b""
            while end > start and data.count(b"\n") <= count:
                step = min(_BLOCK, end - start)
                end = file.seek(end - step)
                data = file.read(step) + data
    except FileNotFoundError:
        return Written()
    return Written(_with_offsets(data, end, count), size)


def older(path: Path) -> Path:
    """Where what a file held before is kept."""
    return path.with_name(path.name + ".1")


def put_aside(path: Path, limit: int) -> None:
    """Put a file that is larger than `limit` aside. For files that nobody has open for long.

    Raises:
        OSError: it cannot be renamed.
    """
    if size(path) > limit:
        path.replace(older(path))


def turn_over(path: Path, limit: int) -> bool:
    """Copy a file that is larger than `limit` aside and empty it; whether it was done.

    For files that a running program appends to, with O_APPEND: it goes on at the beginning. What it writes in the
    instant between copy and emptying is lost. When there is no room for a copy, the file may grow to eight times the
    limit before it is emptied without.

    Raises:
        OSError: it cannot be written to.
    """
    if size(path) <= limit:
        return False
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    with os.fdopen(fd, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody else is at it
            return False
        if (length := os.fstat(fd).st_size) <= limit:  # and was, a moment ago
            return False
        if not _kept_end(path, limit) and length <= _ANYWAY * limit:
            return False
        file.truncate(0)
    return True


class Tail:
    """A file that is followed: over rotation, emptying and deletion."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = size(path)
        self._inode = _inode(path)
        self._rest = b""

    def read(self) -> tuple[list[bytes], bool]:
        """The whole lines that have come, and whether anything has."""
        inode = _inode(self._path)
        if inode != self._inode or size(self._path) < self._offset:  # another file, or emptied
            self._inode, self._offset, self._rest = inode, 0, b""
        data = _read(self._path, self._offset)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST:  # no line that anybody reads
            lines, self._rest = [*lines, self._rest], b""
        return lines, bool(data)


def size(path: Path) -> int:
    """How long a file is; 0 when it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _with_offsets(data: bytes, offset: int, count: int) -> tuple[tuple[int, bytes], ...]:
    lines = []
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        lines.append((offset, line))
        offset += len(line) + 1
    return tuple(lines[-count:]) if count > 0 else ()


def _kept_end(path: Path, limit: int) -> bool:
    """Copy the file aside, of a much larger one its end of twice the limit; whether there was room."""
    aside = older(path).with_name(f".{older(path).name}.new")
    try:
        with path.open("rb") as source, private.written(aside) as target:
            source.seek(-min(2 * limit, size(path)), os.SEEK_END)
            shutil.copyfileobj(source, target)
        aside.replace(older(path))
    except OSError:
        aside.unlink(missing_ok=True)
        return False
    return True


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_BLOCK)
    except FileNotFoundError:
        return b""


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
