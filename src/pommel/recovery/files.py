"""Hashes and copies large files with their holes, and waits for a lock on a file. Band: shell.

Every loop reports at least each 64 MiB, so that a face can draw it and a caller can stop it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from pommel import private
from pommel.errors import BusyError, RecoveryError
from pommel.locks import hold
from pommel.progress import Progress, Report

BLOCK = 1 << 20
_REPORT_BLOCKS = 64
_HOLE = 1 << 16  # runs of zeros from this size on are left out of a copy
_LOCK_EVERY_S = 0.1


def blocks(path: Path, step: str, report: Report) -> Iterator[bytes]:
    """Yield a file in blocks of 1 MiB, telling how far it is.

    Raises:
        OSError: it cannot be read.
    """
    total = path.stat().st_size
    done = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block
            if (done // BLOCK) % _REPORT_BLOCKS == 0:
                report(Progress(step, path.name, done, total, "B"))
            done += len(block)
    report(Progress(step, path.name, done, total, "B", finished=True))


def sha256(path: Path, report: Report) -> str:
    """The SHA-256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    for block in blocks(path, "hash", report):
        digest.update(block)
    return digest.hexdigest()


def copy(source: Path, target: Path, report: Report) -> str:
    """Copy a file, blocks of zeros as holes, and return the SHA-256 of what was copied, in hex.

    Raises:
        RecoveryError: the disk has not enough space.
        OSError: one of them cannot be read or written.
    """
    check_room(target.parent, source.stat().st_blocks * 512)
    digest, size, zeros = hashlib.sha256(), 0, bytes(_HOLE)
    with target.open("xb") as out:
        os.fchmod(out.fileno(), private.FILE)
        for block in blocks(source, "copy", report):
            digest.update(block)
            for at in range(0, len(block), _HOLE):
                piece = block[at : at + _HOLE]
                if piece != zeros:
                    out.seek(size + at)
                    out.write(piece)
            size += len(block)
        out.truncate(size)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def check_room(folder: Path, needed: int) -> None:
    """Check that `needed` bytes can be written in `folder`.

    Raises:
        RecoveryError: they cannot.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RecoveryError(
            f"{folder} has {free / 1e6:.0f} MB free, but {needed / 1e6:.0f} MB are needed",
            hint="free some space, then run the same command again",
        )


@contextlib.contextmanager
def waited(path: Path, busy: str, report: Report) -> Iterator[bool]:
    """Hold the lock on `path`, however long another has it; yields whether that was so. `busy` tells what it does."""
    turns = 0
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold(path, busy=busy))
                break
            except BusyError as error:
                report(Progress("wait", f"{error.message}; waiting for it"))
            turns += 1
            time.sleep(_LOCK_EVERY_S)
        if turns:
            report(Progress("wait", busy, finished=True))
        yield turns > 0
