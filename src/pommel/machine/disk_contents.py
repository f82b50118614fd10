"""Inspects a drive's file: does it hold data, does it boot Macs, is it a Mac's own disk? Band: shell.

It only reads, a few MiB at most, and starts no program for the two usual formats. An image may be hostile, so all reads
are bounded. A file that cannot be read counts as one with data, because it must not be mistaken for an empty disk.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pommel.errors import PommelError
from pommel.machine import disk, qcow2
from pommel.machine.disk_facts import DiskFacts
from pommel.machine.partitions import look
from pommel.machine.qcow2_data import Qcow2Data
from pommel.partition_table import Read

_SAMPLE_BYTES = 16 << 20  # this much of an image's data is read before it counts as all zeros
_STEP = 256 << 10
_OFFSETS_END = 1 << 62  # no file is this long, and pread(2) takes at most 63 bits; an image may contain any number
_CHUNK = 64 << 10
_CHUNKS_MAX = 256
# Formats by their first bytes (the probe functions of QEMU's block drivers); any other file is raw.
_MAGICS = (
    (qcow2.MAGIC, 0, "qcow2"),
    (b"KDMV", 0, "vmdk"),
    (b"COWD", 0, "vmdk"),
    (b"# Disk DescriptorFile", 0, "vmdk"),
    (b"\x7f\x10\xda\xbe", 64, "vdi"),
    (b"conectix", 0, "vpc"),
    (b"vhdxfile", 0, "vhdx"),
)
_LFS = b"version https://git-lfs"


def facts_of(path: str, declared: str | None = None) -> DiskFacts:
    """Inspect the file `path`; `declared` is its format on the command line. Never raises."""
    if not path.startswith("/"):  # nbd://… and other names that are not paths
        return DiskFacts("network", declared, holds_data=True, problem="it is not a file of this host")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as failure:
        return _unread(path, declared, failure)
    try:
        return _facts(fd, path, declared)
    except (OSError, ValueError, PommelError) as wrong:
        kind: Literal["file", "device"] = "device" if _is_device(path) else "file"
        return DiskFacts(kind, declared, _length(fd), holds_data=True, problem=str(wrong))
    finally:
        os.close(fd)


def _unread(path: str, declared: str | None, failure: OSError) -> DiskFacts:
    if failure.errno in (errno.ENOENT, errno.ENOTDIR) and not _is_device(path):
        # A device that is not plugged in now still counts as a device.
        return DiskFacts("device" if path.startswith("/dev/") else "missing", declared, problem="it does not exist")
    kind: Literal["file", "device"] = "device" if _is_device(path) else "file"
    return DiskFacts(kind, declared, holds_data=True, problem=f"it cannot be read: {failure.strerror}")


def _is_device(path: str) -> bool:
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def _length(fd: int) -> int:
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    except OSError:
        return 0


def _facts(fd: int, path: str, declared: str | None) -> DiskFacts:
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        return DiskFacts("device", declared, holds_data=True, problem="it is not a file or a disk")
    kind: Literal["file", "device"] = "file" if stat.S_ISREG(mode) else "device"

    def read_at(offset: int, count: int) -> bytes:
        return os.pread(fd, count, offset) if offset < _OFFSETS_END else b""

    start = read_at(0, 128)
    if start.startswith(_LFS):
        return DiskFacts("missing", declared, problem="it is only a git-lfs pointer, not the file itself")
    if kind == "file" and not start:
        return DiskFacts(kind, declared)
    form = declared or format_of(start)
    size, read, extents = _opened(fd, path, form, read_at)
    seen = look(_padded(read), size)
    holds = kind == "device" or seen.partitioned or _any_data(read, extents) or _has_more(form, read_at)
    return DiskFacts(kind, form, size, holds, seen.loader, seen.apple)


def format_of(start: bytes) -> str:
    """The format of an image that begins with these bytes (128 are enough)."""
    return next((name for magic, at, name in _MAGICS if start[at:].startswith(magic)), "raw")


def _opened(fd: int, path: str, form: str, read_at: Read) -> tuple[int, Read, Iterator[tuple[int, int]]]:
    """The size of the guest's disk, a function that reads it, and the extents that may hold data."""
    if form == "qcow2":
        image = Qcow2Data(read_at)
        cluster = qcow2.read_header(read_at).cluster_bytes
        clusters = image.allocated(_SAMPLE_BYTES // cluster + 1)
        return image.virtual_bytes, image.read, ((at, cluster) for at in clusters)
    if form == "raw":
        return _length(fd), read_at, _data_in(fd)
    info = disk.info(Path(path))
    return info.virtual_bytes, _by_qemu_img(path, form, info.virtual_bytes), iter([(0, _STEP)])


def _padded(read: Read) -> Read:
    return lambda offset, count: read(offset, count).ljust(count, b"\0")


def _any_data(read: Read, extents: Iterator[tuple[int, int]]) -> bool:
    left = _SAMPLE_BYTES
    for at, count in extents:
        end = at + min(count, left)
        while at < end:
            if any(piece := read(at, min(_STEP, end - at))):
                return True
            if not piece:
                break
            at += len(piece)
            left -= len(piece)
        if left <= 0:
            return False
    return False


def _has_more(form: str, read_at: Read) -> bool:
    """Whether a qcow2 has snapshots or a backing file; other formats than raw count as such."""
    if form != "qcow2":
        return form != "raw"  # another program's image: it is surely used
    header = qcow2.read_header(read_at)
    return header.backing is not None or header.snapshots > 0


def _data_in(fd: int) -> Iterator[tuple[int, int]]:
    end, at = _length(fd), 0
    while at < end:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            at = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as failure:
            if failure.errno != errno.ENXIO:  # ENXIO: no data after this offset
                yield at, end - at
            return
        yield start, at - start


def _by_qemu_img(path: str, form: str, size: int) -> Callable[[int, int], bytes]:
    below = {"driver": form, "file": {"driver": "host_device" if _is_device(path) else "file", "filename": path}}
    chunks: dict[int, bytes] = {}

    def chunk(number: int) -> bytes:
        if number not in chunks:
            if len(chunks) >= _CHUNKS_MAX:
                raise ValueError("reading it takes too long")
            start = number * _CHUNK
            window = {"driver": "raw", "offset": start, "size": max(0, min(_CHUNK, size - start)), "file": below}
            with tempfile.NamedTemporaryFile(prefix="pommel-look.") as out:
                if window["size"]:
                    disk.qemu_img("convert", "-U", "-O", "raw", f"json:{json.dumps(window)}", out.name)
                chunks[number] = Path(out.name).read_bytes()
        return chunks[number]

    def read(offset: int, count: int) -> bytes:
        first, last = offset // _CHUNK, (offset + max(count, 1) - 1) // _CHUNK
        data = b"".join(chunk(number) for number in range(first, last + 1))
        return data[offset % _CHUNK :][:count]

    return read
