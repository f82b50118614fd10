"""Packs a disk into pieces, and unpacks pieces into a disk. Band: shell.

Pieces are packed by zstd on all cores. A piece whose content an earlier image has is not packed again, but reused: so
the second image of a machine only costs reading and hashing. Unpacked data is compared with the manifest's SHA-256,
piece by piece, and can never be longer than the piece.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import zstandard

from pommel.errors import ImageError
from pommel.image.manifest import Blob, Disk, Manifest, Piece, SmallFile, blob_of
from pommel.image.pieces import Stretch, cut, piece_length
from pommel.image.store import AGAIN, ImageStore
from pommel.progress import Progress, Report, ignore

LEVEL = 3
_HOLE = 64 << 10  # aligned blocks of zeros of this size are written as holes
_MEMORY = 256 << 20  # the maximum memory for pieces in progress
S = TypeVar("S")
T = TypeVar("T")


def pack_disk(
    store: ImageStore,
    disk: Disk,
    stretches: Sequence[Stretch],
    files: Sequence[Path],
    known: Mapping[str, Blob],
    *,
    report: Report = ignore,
) -> list[Piece]:
    """Put the pieces of a disk into the store: `stretches` are the places of its data in `files`, the rest is zeros.

    `known` has blobs by the SHA-256 of their unpacked data.

    Raises:
        OSError: a file cannot be read, or the store cannot be written.
    """
    total, done = sum(each.length for each in stretches), 0
    found: list[Piece] = []
    fds = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in files]
    try:

        def pack(part: tuple[int, list[Stretch]]) -> tuple[int, int, Piece | None]:
            offset, inside = part
            count = sum(each.length for each in inside)
            return offset, count, _pack(store, disk, offset, inside, fds, known)

        parts = cut(stretches, disk.piece_bytes)
        for _, count, piece in _on_all_cores(pack, _with_first(parts), disk.piece_bytes):
            done += count
            found += [piece] if piece is not None else []
            report(Progress("pack", f"packing {disk.slot}", done, max(total, 1), "B"))
    finally:
        for fd in fds:
            os.close(fd)
    report(Progress("pack", f"{disk.slot} is packed", finished=True))
    return found


def pack_file(store: ImageStore, name: str, data: bytes) -> SmallFile:
    """Put a small file into the store.

    Raises:
        OSError: it cannot be written.
    """
    packed = _squeezed(data)
    blob = blob_of(packed)
    store.add(packed, blob)
    return SmallFile(blob, name, len(data), hashlib.sha256(data).hexdigest())


def unpack_disk(store: ImageStore, manifest: Manifest, disk: Disk, target: Path, *, report: Report = ignore) -> int:
    """Write the disk raw, with holes, to the new file `target`; return the number of bytes that are not holes.

    Raises:
        ImageError: a piece is missing or does not match the manifest; the message names it.
        OSError: it cannot be written.
    """
    pieces = [piece for piece in manifest.pieces if piece.slot == disk.slot]
    total, done, written = sum(piece.blob.size for piece in pieces), 0, 0
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, disk.virtual_bytes)  # pieces of zeros are not in the image: they stay holes

        def unpack(piece: Piece) -> tuple[Piece, int]:
            data = piece_data(store, piece, disk)
            return piece, _write_with_holes(fd, data, piece.offset)

        for piece, count in _on_all_cores(unpack, iter(pieces), disk.piece_bytes):
            done, written = done + piece.blob.size, written + count
            report(Progress("unpack", f"unpacking {disk.slot}", done, max(total, 1), "B"))
    finally:
        os.close(fd)
    report(Progress("unpack", f"{disk.slot} is unpacked, and is what the image says", finished=True))
    return written


def verify(store: ImageStore, manifest: Manifest, disks: Iterable[Disk], *, report: Report = ignore) -> int:
    """Read and unpack a whole image and compare it with its manifest; return the number of bytes read.

    Raises:
        ImageError: a part does not match; the message names it.
    """
    by_slot = {disk.slot: disk for disk in disks}
    largest = max((disk.piece_bytes for disk in by_slot.values()), default=1)
    total, done = sum(piece.blob.size for piece in manifest.pieces), 0

    def look(piece: Piece) -> Piece:
        piece_data(store, piece, by_slot[piece.slot])
        return piece

    for file in manifest.files:
        file_data(store, file)
        done += file.blob.size
    for piece in _on_all_cores(look, iter(manifest.pieces), largest):
        done += piece.blob.size
        report(Progress("verify", "reading the image", done, max(total, 1), "B"))
    report(Progress("verify", "the image is what its manifest says", finished=True))
    return done


def piece_data(store: ImageStore, piece: Piece, disk: Disk) -> bytes:
    """The unpacked data of a piece. ImageError: it is missing, or does not match the manifest."""
    length = piece_length(piece.offset, disk.piece_bytes, disk.virtual_bytes)
    what = f"the piece at {piece.offset} of {piece.slot} ({piece.blob.digest})"
    return _unpacked(store, piece.blob, length, piece.content, what)


def file_data(store: ImageStore, file: SmallFile) -> bytes:
    """The unpacked data of a small file. ImageError: as `piece_data`."""
    return _unpacked(store, file.blob, file.size_bytes, file.content, f"{file.name} ({file.blob.digest})")


def known_pieces(manifests: Iterable[Manifest]) -> dict[str, Blob]:
    """The blobs of the images that are here, by the SHA-256 of their unpacked data."""
    return {piece.content: piece.blob for manifest in manifests for piece in manifest.pieces}


def _with_first(parts: Iterator[tuple[int, list[Stretch]]]) -> Iterator[tuple[int, list[Stretch]]]:
    """The same parts, always with the piece at 0: a manifest needs at least one layer (image specification)."""
    begun = False
    for part in parts:
        if not begun and part[0] != 0:
            yield 0, []
        begun = True
        yield part
    if not begun:
        yield 0, []


def _pack(
    store: ImageStore, disk: Disk, offset: int, inside: list[Stretch], fds: Sequence[int], known: Mapping[str, Blob]
) -> Piece | None:
    data = bytearray(piece_length(offset, disk.piece_bytes, disk.virtual_bytes))
    view = memoryview(data)
    for each in inside:
        _read(fds[each.file], view[each.start - offset : each.start - offset + each.length], each.at)
    if offset and data.count(0) == len(data):
        return None
    content = hashlib.sha256(data).hexdigest()
    blob = known.get(content)
    if blob is None or not store.has(blob, set()):  # it is hashed, so that a damaged blob is replaced
        packed = _squeezed(data)
        blob = blob_of(packed)
        store.add(packed, blob)
    return Piece(blob, disk.slot, offset, content)


def _squeezed(data: bytes | bytearray) -> bytes:
    return bytes(zstandard.ZstdCompressor(level=LEVEL).compress(data))


def _unpacked(store: ImageStore, blob: Blob, length: int, content: str, what: str) -> bytes:
    try:
        packed = store.blob_path(blob).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{what} is missing", hint=AGAIN) from None
    except OSError as failure:
        raise ImageError(f"{what} cannot be read: {failure}") from failure
    if blob_of(packed) != blob:
        raise ImageError(f"{what} has changed since it was written", hint=AGAIN)
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            data = bytes(reader.read(length + 1))  # one more byte shows excess, and a bomb is not unpacked whole
    except (zstandard.ZstdError, MemoryError) as failure:
        raise ImageError(f"{what} cannot be unpacked: {failure}") from failure
    if len(data) != length or hashlib.sha256(data).hexdigest() != content:
        raise ImageError(f"{what} does not unpack to what the manifest says", hint="ask whoever made the image for it")
    return data


def _read(fd: int, view: memoryview, at: int) -> None:
    """Fill `view`; after the end of the file there are zeros, as for QEMU."""
    while view and (count := os.preadv(fd, [view], at)):
        view, at = view[count:], at + count


def _write_with_holes(fd: int, data: bytes, offset: int) -> int:
    view, written, zeros = memoryview(data), 0, bytes(_HOLE)
    for start in range(0, len(data), _HOLE):
        part = view[start : start + _HOLE]
        if part == zeros[: len(part)]:
            continue
        at = offset + start
        written += len(part)
        while part:
            count = os.pwrite(fd, part, at)
            part, at = part[count:], at + count
    return written


def _on_all_cores(work: Callable[[S], T], items: Iterator[S], item_bytes: int) -> Iterator[T]:
    """The results of `work` for the items, in order; as many at once as there are cores, within the memory limit."""
    workers = max(1, min(os.cpu_count() or 1, _MEMORY // max(item_bytes, 1)))
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:  # results wait in memory, so not all work is begun at once
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:  # after Ctrl-C, or an error in a piece: work that has not begun is cancelled
                each.cancel()
