"""Compare an image on disk with its chunklist. Band: shell.

It says whether a file is the one that the chunklist's signer meant, not which macOS is inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pommel.errors import RecoveryError
from pommel.progress import Progress, Report, ignore
from pommel.recovery.chunklist import APPLE, FILE_BYTES_MAX, Chunk, Chunklist, ChunklistKey, parse

_STEP = "verify"
_BLOCK = 1 << 20


def read_chunklist(path: Path, key: ChunklistKey = APPLE) -> Chunklist:
    """Read a chunklist file and check its signature.

    Raises:
        RecoveryError: it cannot be read or trusted.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise RecoveryError(f"{path} cannot be read: {error.strerror}") from None
    return parse(data, key)


def verify_file(image: Path, chunklist: Chunklist, report: Report = ignore) -> None:
    """Check that `image` is, byte for byte, what `chunklist` says.

    Raises:
        RecoveryError: it is shorter, longer, or differs; the message says where.
    """
    try:
        with image.open("rb", buffering=0) as file:
            size = file.seek(0, 2)
            if size != chunklist.total_size:
                raise _bad(image, f"it has {size} bytes, not {chunklist.total_size}")
            for index, good in enumerate(good_chunks(file, chunklist.chunks)):
                chunk = chunklist.chunks[index]
                if not good:
                    raise _bad(image, f"chunk {index} (at byte {chunk.offset}) differs")
                report(Progress(_STEP, image.name, chunk.offset + chunk.size, chunklist.total_size, "B"))
    except OSError as error:
        raise RecoveryError(f"{image} cannot be read: {error.strerror}") from None
    report(Progress(_STEP, image.name, size, size, "B", finished=True))


def good_chunks(file: BinaryIO, chunks: tuple[Chunk, ...]) -> Iterator[bool]:
    """Yield for each chunk, in order, whether it is correct in `file` (opened without a buffer)."""
    block = memoryview(bytearray(_BLOCK))
    for chunk in chunks:
        file.seek(chunk.offset)
        digest, left = hashlib.sha256(), chunk.size
        while left:
            count = file.readinto(block[: min(left, _BLOCK)])  # type: ignore[attr-defined]
            if not count:
                break
            digest.update(block[:count])
            left -= count
        yield digest.digest() == chunk.sha256


def _bad(image: Path, why: str) -> RecoveryError:
    return RecoveryError(f"{image} is not Apple's image: {why}", hint=f"remove it and fetch it again: rm {image}")
