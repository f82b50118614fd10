"""Apple's disk images (UDIF, .dmg): the size of the disk inside, and its parts' checksums. Band: core, no I/O.

It does not convert, dmg2img and qemu-img do: their results are checked with this.

    data fork      parts of the disk, most of them compressed
    property list  XML; resource-fork/blkx lists the parts, each a "mish" table: 204 bytes, then 40 for each run
    trailer        the last 512 bytes, "koly"; all numbers are big endian, a sector has 512 bytes

A part's checksum is the CRC-32 over its runs in the table's order, without those of type 2 (ignored sectors),
comments and the terminator. Layouts: mothersruin.com/software/Archaeology/reverse/udif.html and
keramics.github.io/udif.html; the rule for type 2 is 7-Zip's, and images made by hdiutil (keramics' test data) agree.
"""

from __future__ import annotations

import plistlib
import struct
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError

from pommel.errors import RecoveryError

TRAILER_BYTES = 512
PLIST_BYTES_MAX = 64 << 20
SIZE_BYTES_MAX = 64 << 30

_SECTOR = 512
_TRAILER = struct.Struct(">4sII204xQQ260xQ12x")  # magic, version, size; plist: offset, length; sectors of the disk
_TABLE = struct.Struct(">4sIQQ40xII128xI")  # magic, version, first sector, sectors; checksum: type, bits; runs
_CRC = struct.Struct(">I")
_CRC_AT = 72
_RUN = struct.Struct(">IIQQQQ")  # type, reserved, sector within the part, sectors, offset and length of its data
_CRC32 = (2, 32)
_NOT_SUMMED = {2, 0x7FFFFFFE, 0xFFFFFFFF}


@dataclass(frozen=True, slots=True)
class Trailer:
    """The values of the last 512 bytes: the disk's size, and the property list's place in the file. All in bytes."""

    size_bytes: int
    plist_at: int
    plist_size: int


@dataclass(frozen=True, slots=True)
class DiskPart:
    """A part of the disk: the CRC-32 over `stretches`, (offset, size) in bytes of the raw disk, one after another."""

    name: str
    crc32: int
    stretches: tuple[tuple[int, int], ...]


def is_disk_image(tail: bytes) -> bool:
    """Whether a file that ends with `tail` (512 bytes) is a UDIF image; a raw disk is not."""
    return len(tail) == TRAILER_BYTES and tail.startswith(b"koly")


def parse_trailer(tail: bytes, file_size: int) -> Trailer:
    """Parse the trailer `tail` of a file of `file_size` bytes. `plist_size` is 0 if there is no property list.

    Raises:
        RecoveryError: it is not a trailer, or its values are impossible.
    """
    if not is_disk_image(tail):
        raise _bad("it has no trailer")
    _, version, header_size, plist_at, plist_size, sectors = _TRAILER.unpack(tail)
    if (version, header_size) != (4, TRAILER_BYTES):
        raise _bad(f"its trailer has version {version} and {header_size} bytes, not 4 and {TRAILER_BYTES}")
    if not 0 < sectors * _SECTOR <= SIZE_BYTES_MAX:
        raise _bad(f"its disk has {sectors} sectors")
    if plist_size > PLIST_BYTES_MAX or plist_at + plist_size > file_size - TRAILER_BYTES:
        raise _bad(f"its property list ({plist_size} bytes at {plist_at}) is not inside the file")
    return Trailer(sectors * _SECTOR, plist_at, plist_size)


def parse_parts(plist: bytes, size_bytes: int) -> tuple[DiskPart, ...]:
    """Parse the property list of a disk of `size_bytes`; parts without a CRC-32 are left out.

    Raises:
        RecoveryError: it is not a property list of a disk image, or its runs are larger than the disk.
    """
    try:
        tables = plistlib.loads(plist, fmt=plistlib.FMT_XML)["resource-fork"]["blkx"]
        found = [_part(table, size_bytes) for table in tables]
    except (ExpatError, plistlib.InvalidFileException, struct.error) as error:
        raise _bad(f"its property list cannot be read: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise _bad("its property list does not list the parts of a disk") from None
    parts = tuple(part for part in found if part is not None)
    if sum(size for part in parts for _, size in part.stretches) > size_bytes:
        raise _bad("its parts overlap")  # a few hundred bytes could cause hours of reading
    return parts


def _part(table: dict[str, Any], size_bytes: int) -> DiskPart | None:
    data = table["Data"]
    magic, _, first, _, kind, bits, count = _TABLE.unpack_from(data)
    if magic != b"mish" or len(data) < _TABLE.size + count * _RUN.size:
        raise _bad("a table of runs is incomplete")
    stretches: list[tuple[int, int]] = []
    for at in range(_TABLE.size, _TABLE.size + count * _RUN.size, _RUN.size):
        run, _, sector, sectors, _, _ = _RUN.unpack_from(data, at)
        if run in _NOT_SUMMED:
            continue
        offset, size = (first + sector) * _SECTOR, sectors * _SECTOR
        if offset + size > size_bytes:
            raise _bad(f"a run is outside of the disk (sector {first + sector})")
        stretches.append((offset, size))
    if (kind, bits) != _CRC32:
        return None
    return DiskPart(str(table.get("Name", "")), _CRC.unpack_from(data, _CRC_AT)[0], tuple(stretches))


def _bad(why: str) -> RecoveryError:
    return RecoveryError(f"it is not a usable disk image: {why}", hint="use a .dmg, or a raw .img or .iso")
