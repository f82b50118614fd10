"""Growing files: reads their last lines and new lines, and limits their size. Band: shell.

It knows nothing about the lines. Reading uses bounded memory, however large a file is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from pommel import private
from pommel.machine.journal import Written

MOST = 1 << 20  # the maximum that is read for one answer
_BLOCK = 1 << 16
_ANYWAY = 8


def read_end(path: Path, count: int, *, since: int = 0, most: int = MOST) -> Written:
    """The last `count` lines of a file from offset `since` on; empty if there is no file.

    If a line is longer than `most`, its end is returned.
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
    """The path of the older part of a file."""
    return path.with_name(path.name + ".1")


def put_aside(path: Path, limit: int) -> None:
    """Rename a file that is larger than `limit` to its older part. For files that no process keeps open.

    Raises:
        OSError: it cannot be renamed.
    """
    if size(path) > limit:
        path.replace(older(path))


def turn_over(path: Path, limit: int) -> bool:
    """Copy a file that is larger than `limit` to its older part and empty it; return whether this was done.

    For files to which a running program appends, with O_APPEND: it continues at the beginning. Output between the copy
    and the truncation is lost. If there is no space for a copy, the file may grow to eight times the limit before it is
    emptied without a copy.

    Raises:
        OSError: it cannot be written to.
    """
    if size(path) <= limit:
        return False
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    with os.fdopen(fd, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process rotates it
            return False
        if (length := os.fstat(fd).st_size) <= limit:  # another process may just have rotated it
            return False
        if not _kept_end(path, limit) and length <= _ANYWAY * limit:
            return False
        file.truncate(0)
    return True


class Tail:
    """Follows a file over rotation, truncation and deletion."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = size(path)
        self._inode = _inode(path)
        self._rest = b""

    def read(self) -> tuple[list[bytes], bool]:
        """The complete new lines, and whether there was any new data."""
        inode = _inode(self._path)
        if inode != self._inode or size(self._path) < self._offset:  # another file, or emptied
            self._inode, self._offset, self._rest = inode, 0, b""
        data = _read(self._path, self._offset)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST:  # too long for a useful line
            lines, self._rest = [*lines, self._rest], b""
        return lines, bool(data)


def size(path: Path) -> int:
    """The size of a file; 0 if it does not exist."""
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
    """Copy the file, of a larger one the last two limits, to its older part; return whether there was space."""
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
