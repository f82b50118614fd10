"""A disk (ISO 9660, ECMA-119) with one large file on it, in pieces that every system can read. Band: core, no I/O.

    block 16     primary volume descriptor      block 17     the end of the descriptors
    block 18     path table, little endian      block 19     path table, big endian
    block 20     the only folder, two blocks    block 32     the file, to its end

Only what stands before the file is made here, 64 KiB, so that neither is the file copied nor a program needed. A file
of ISO 9660 has less than 4 GiB, and not every system reads one that consists of several extents: so the folder has the
file as pieces of 1 GiB, PART00.PKG and on, which lie one after another. Whoever joins them has the file.
"""

from __future__ import annotations

import struct

BLOCK = 2048
PIECE_BYTES = 1 << 30
_PATHS_AT, _FOLDER_AT, _FOLDER_BLOCKS, _DATA_AT = 18, 20, 2, 32
HEADER_BYTES = _DATA_AT * BLOCK
SIZE_MAX = 64 * PIECE_BYTES  # bytes: what the folder has room for
_DATE = bytes((120, 1, 1, 0, 0, 0, 0))  # 2020-01-01: the same file gives the same bytes
_NO_DATE = b"0" * 16 + b"\0"


def blocks(size_bytes: int) -> int:
    """The number of blocks of a file of this size."""
    return -(-size_bytes // BLOCK)


def pieces(size_bytes: int) -> int:
    """The number of pieces of a file of this size."""
    return -(-size_bytes // PIECE_BYTES)


def header(size_bytes: int, label: str) -> bytes:
    """What stands before a file of `size_bytes`; `label` is up to 32 of A-Z 0-9 _.

    Raises:
        ValueError: the file is empty or too large, or it cannot be the label.
    """
    if not 0 < size_bytes <= SIZE_MAX:
        raise ValueError(f"{size_bytes} bytes cannot be put on the disk")
    if not 0 < len(label) <= 32 or not set(label) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"):
        raise ValueError(f"{label!r} cannot be a label")
    made = bytearray(HEADER_BYTES)
    for number, block in (
        (16, _volume(_DATA_AT + blocks(size_bytes), label)),
        (17, b"\xffCD001\x01"),
        (_PATHS_AT, _path("<")),
        (_PATHS_AT + 1, _path(">")),
        (_FOLDER_AT, _folder(size_bytes)),
    ):
        made[number * BLOCK : number * BLOCK + len(block)] = block
    return bytes(made)


def _both(number: int, kind: str) -> bytes:
    """A number in both byte orders, as the standard requires."""
    return struct.pack(f"<{kind}", number) + struct.pack(f">{kind}", number)


def _volume(count: int, label: str) -> bytes:
    text = f"{label:<32}".encode()
    made = b"\x01CD001\x01\0" + b" " * 32 + text + bytes(8) + _both(count, "I") + bytes(32)
    made += _both(1, "H") + _both(1, "H") + _both(BLOCK, "H") + _both(10, "I")  # volumes, this one, block, path table
    made += struct.pack("<II", _PATHS_AT, 0) + struct.pack(">II", _PATHS_AT + 1, 0) + _own("\0")
    return made + b" " * (4 * 128 + 3 * 37) + 4 * _NO_DATE + b"\x01"


def _path(order: str) -> bytes:
    return struct.pack(f"{order}BBIH", 1, 0, _FOLDER_AT, 1) + b"\0\0"


def _own(name: str) -> bytes:
    return _record(name.encode(), _FOLDER_AT, _FOLDER_BLOCKS * BLOCK, folder=True)


def _folder(size_bytes: int) -> bytes:
    """The folder's records; none lies across the border of a block."""
    made = _own("\0") + _own("\1")
    for number in range(pieces(size_bytes)):
        at = number * PIECE_BYTES
        size = min(PIECE_BYTES, size_bytes - at)
        record = _record(f"PART{number:02}.PKG;1".encode(), _DATA_AT + at // BLOCK, size, folder=False)
        room = BLOCK - len(made) % BLOCK
        made += (bytes(room) if room < len(record) else b"") + record
    return made


def _record(name: bytes, at: int, size_bytes: int, *, folder: bool) -> bytes:
    even = b"" if len(name) % 2 else b"\0"
    body = _both(at, "I") + _both(size_bytes, "I") + _DATE + bytes((2 if folder else 0, 0, 0)) + _both(1, "H")
    rest = body + bytes((len(name),)) + name + even
    return bytes((len(rest) + 2, 0)) + rest
