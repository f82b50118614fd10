#!/usr/bin/python3 -IS
"""copy_disk.py SOURCE TARGET: copies a disk past the cache, without what is zero, and prints how far it is."""

import mmap
import os
import sys

CHUNK = 4 << 20


def copy(source: str, target: str) -> None:
    """Copy all bytes; both are whole numbers of sectors."""
    reads, writes = os.open(source, os.O_RDONLY | os.O_DIRECT), os.open(target, os.O_WRONLY | os.O_DIRECT)
    size, nothing = os.lseek(reads, 0, os.SEEK_END), bytes(CHUNK)
    buffer = mmap.mmap(-1, CHUNK)  # aligned, as O_DIRECT wants it
    for place in range(0, size, CHUNK):
        got = os.preadv(reads, [buffer], place)
        if buffer[:got] != nothing[:got]:  # bytes: a memoryview is compared one by one
            os.pwritev(writes, [memoryview(buffer)[:got]], place)
        print(f"Preparing: {90 * (place + got) / size:.1f}%", flush=True)
    os.fsync(writes)


if __name__ == "__main__":
    copy(sys.argv[1], sys.argv[2])
