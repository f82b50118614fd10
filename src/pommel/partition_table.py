"""The offsets of a disk's partitions, by GPT (UEFI 2.10, chapter 5) or MBR. Band: core, no I/O.

An image may be hostile: so the number of entries is limited, and `read` is called for a few bytes at a time.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]  # offset, count -> so many bytes, fewer only at the end

_SECTORS = (512, 4096)
_ENTRIES_MAX, _ENTRY_BYTES_MAX = 256, 1024


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its type (a UUID in GPT, a byte in MBR) and its offset in bytes."""

    kind: uuid.UUID | int
    start: int


def partitions(read: Read) -> Iterator[Partition]:
    """The partitions in the table's order; none if there is no table. They may be outside of the disk.

    Raises:
        ValueError: the table is too damaged to read; also the errors of `read`.
    """
    boot = read(0, 512).ljust(512, b"\0")
    for sector in _SECTORS:
        header = read(sector, 92).ljust(92, b"\0")
        if header.startswith(b"EFI PART"):
            yield from _gpt(read, header, sector)
            return
    if boot[510:512] == b"\x55\xaa" and not looks_like_fat(boot):
        for index in range(4):
            kind, start = struct.unpack_from("<4xB3xI", boot, 446 + 16 * index)
            if kind:
                yield Partition(kind, start * 512)


def looks_like_fat(boot: bytes) -> bool:
    """Whether a sector of 512 bytes is the first of a FAT file system (Microsoft's fatgen103)."""
    return boot[54:57] == b"FAT" or boot[82:87] == b"FAT32"


def _gpt(read: Read, header: bytes, sector: int) -> Iterator[Partition]:
    at, count, size = struct.unpack_from("<QII", header, 72)
    if not 128 <= size <= _ENTRY_BYTES_MAX:
        raise ValueError("its partition table is damaged")
    for index in range(min(count, _ENTRIES_MAX)):
        entry = read(at * sector + index * size, 128)
        if len(entry) < 128:
            return
        if any(entry[:16]):
            yield Partition(uuid.UUID(bytes_le=entry[:16]), struct.unpack_from("<Q", entry, 32)[0] * sector)
