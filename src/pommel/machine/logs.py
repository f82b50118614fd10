"""QEMU's log: begin a run in it, read its end, follow it. Band: shell.

QEMU itself writes the lines. Each run begins with a dated line of ours; a log that has grown is put aside as
`qemu.log.1` when the next run begins. Reading takes bounded memory, however large the log is.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pommel.paths import MachinePaths

ROTATE_BYTES = 1 << 20
_BLOCK = 1 << 16
_MOST = 1 << 20  # the most that is read back for one answer
_POLL_S = 0.2


def begin(paths: MachinePaths, headline: str) -> int:
    """Begin a run: rotate a large log, add a dated line. Return the offset where QEMU's own lines will begin."""
    if paths.log.exists() and paths.log.stat().st_size > ROTATE_BYTES:
        paths.log.replace(older(paths))
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    with paths.log.open("ab") as log:
        log.write(f"=== {now} {headline}\n".encode())
        return log.tell()


def older(paths: MachinePaths) -> Path:
    """Where the log before the present one is."""
    return paths.log.with_name(paths.log.name + ".1")


def last(paths: MachinePaths, count: int, *, since: int = 0) -> list[str]:
    """The last `count` lines, none of them from before offset `since`; no log, no lines."""
    try:
        with paths.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            start = max(min(since, end), end - _MOST)
            data = b""
            while end > start and data.count(b"\n") <= count:
                step = min(_BLOCK, end - start)
                end = log.seek(end - step)
                data = log.read(step) + data
    except FileNotFoundError:
        return []
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return [_text(line) for line in lines[-count:]] if count > 0 else []


def tail(paths: MachinePaths, count: int = 10, *, since: int = 0) -> str:
    """`last` as one text, for an error message."""
    return "\n".join(last(paths, count, since=since))


def follow(paths: MachinePaths, count: int = 10, *, done: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """The last `count` lines, then each one to come, over rotation and deletion, until `done()` at a quiet moment."""
    offset = _size(paths.log)
    yield from last(paths, count)
    inode, rest = _inode(paths.log), b""
    while True:
        finished = done()  # before reading: what was written until then is still told
        if _inode(paths.log) != inode or _size(paths.log) < offset:  # another file, or emptied
            inode, offset, rest = _inode(paths.log), 0, b""
        data = _read(paths.log, offset)
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > _MOST:  # no line that anybody reads
            lines, rest = [*lines, rest], b""
        for line in lines:
            yield _text(line)
        if not data:
            if finished:
                return
            time.sleep(_POLL_S)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as log:
            log.seek(offset)
            return log.read(_BLOCK)
    except FileNotFoundError:
        return b""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
