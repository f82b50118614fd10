"""The division of a disk into pieces. Band: core, no I/O.

A piece is a part of the guest's disk, at a multiple of one size: a file that changes in the guest changes only the
pieces that contain it. Pieces of zeros are left out. The size depends only on the disk's size, so that two images of
a disk have the same division.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MIB = 1 << 20
PIECE_MIN, PIECE_MAX = 4 * MIB, 256 * MIB
PIECES_MAX = 8192  # for each disk: a manifest of this many is 2.5 MB, and the limit of registries is 4 MiB


@dataclass(frozen=True, slots=True)
class Stretch:
    """`length` bytes of a disk from `start` on; they are in the file number `file` at offset `at`."""

    start: int
    length: int
    file: int
    at: int


def piece_bytes(virtual_bytes: int) -> int:
    """The size of a disk's pieces, in bytes: at least 4 MiB, and large enough for at most `PIECES_MAX` pieces."""
    size = PIECE_MIN
    while size < PIECE_MAX and -(-virtual_bytes // size) > PIECES_MAX:
        size *= 2
    return size


def piece_length(offset: int, size: int, virtual_bytes: int) -> int:
    """The length of the piece at `offset`; the last one of a disk may be shorter."""
    return min(size, virtual_bytes - offset)


def cut(stretches: Iterable[Stretch], size: int) -> Iterator[tuple[int, list[Stretch]]]:
    """The pieces of the stretches (in order, without overlap): the offset, and the parts of stretches in it."""
    offset, inside = -1, list[Stretch]()
    for stretch in stretches:
        done = 0
        while done < stretch.length:
            start = stretch.start + done
            if (mine := start - start % size) != offset:
                if inside:
                    yield offset, inside
                offset, inside = mine, []
            count = min(stretch.length - done, mine + size - start)
            inside.append(Stretch(start, count, stretch.file, stretch.at + done))
            done += count
    if inside:
        yield offset, inside
