"""The header of a qcow2 image: size, backing file, number of snapshots. Band: core, no I/O.

It is read without QEMU, so that a list of fifty machines starts no fifty programs. Layout: QEMU,
docs/interop/qcow2.txt. It does not read the data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

MAGIC = b"QFI\xfb"
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE2792ACA
_EXTERNAL_DATA = 1 << 2
_CLUSTER_BITS = range(9, 22)
_NAME_MAX = 1023
_EXTENSIONS_MAX = 64

ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Header:
    """The values of a header. `backing` is as written there: relative to the image's folder, or with a protocol."""

    virtual_bytes: int
    cluster_bytes: int
    snapshots: int
    backing: str | None
    backing_format: str | None
    crypt: int = 0  # 0: not encrypted, 1: AES, 2: LUKS
    external_data: bool = False  # the data is in another file, which the header names


def read_header(read_at: ReadAt) -> Header:
    """Read a header by `read_at(offset, count)`, which returns fewer bytes only at the end of the image.

    Raises:
        ValueError: it is not a qcow2 image, or its header is damaged; the text is for the user.
    """
    fixed = read_at(0, _V2.size)
    if len(fixed) < _V2.size or not fixed.startswith(MAGIC):
        raise ValueError("it is not a qcow2 image")
    _, version, name_at, name_bytes, cluster_bits, size, crypt, _, _, _, _, snapshots, _ = _V2.unpack(fixed)
    if version not in (2, 3) or cluster_bits not in _CLUSTER_BITS:
        raise ValueError(f"its header has version {version} and clusters of 2^{cluster_bits} bytes")
    cluster = 1 << cluster_bits
    if name_at and (name_bytes > _NAME_MAX or name_at + name_bytes > cluster):
        raise ValueError("the name of its backing file is outside the header")
    backing = _exactly(read_at, name_at, name_bytes) if name_at else None
    kind = _backing_format(read_at, version, name_at or cluster) if backing else None
    features = _V3.unpack(_exactly(read_at, _V2.size, _V3.size))[0] if version == 3 else 0
    return Header(
        size, cluster, snapshots, _text(backing), _text(kind), crypt, external_data=bool(features & _EXTERNAL_DATA)
    )


def _backing_format(read_at: ReadAt, version: int, end: int) -> bytes | None:
    at = _V2.size
    if version == 3:
        at = _V3.unpack(_exactly(read_at, _V2.size, _V3.size))[-1]
    for _ in range(_EXTENSIONS_MAX):
        if at + _EXTENSION.size > end:
            return None
        kind, count = _EXTENSION.unpack(_exactly(read_at, at, _EXTENSION.size))
        if kind == 0 or at + _EXTENSION.size + count > end:
            return None
        if kind == _BACKING_FORMAT:
            return _exactly(read_at, at + _EXTENSION.size, count)
        at += _EXTENSION.size + -(-count // 8) * 8  # extensions are padded to a multiple of 8 bytes
    return None


def _exactly(read_at: ReadAt, offset: int, count: int) -> bytes:
    data = read_at(offset, count)
    if len(data) != count:
        raise ValueError("its header is incomplete")
    return data


def _text(data: bytes | None) -> str | None:
    return data.decode(errors="surrogateescape") if data else None
