"""Memory that is shared with a compositor: a file without a name, sealed against shrinking. Band: shell."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shared_file(data: bytes) -> Iterator[int]:
    """Give a file with `data` during the block."""
    file = _new(len(data))
    try:
        os.pwrite(file, data, 0)
        yield file
    finally:
        os.close(file)


def shared_memory(size: int) -> tuple[int, mmap.mmap]:
    """Make `size` bytes; return the file, to be closed by the caller, and its contents. OSError: there is no room."""
    file = _new(size)
    return file, mmap.mmap(file, size)


def _new(size: int) -> int:
    file = os.memfd_create("pommel-wayland", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    # A compositor that shrank it would end this process at the next read (SIGBUS).
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return file
