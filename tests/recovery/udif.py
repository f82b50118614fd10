"""Writes disk images as Apple's hdiutil does (UDIF, .dmg), and disks to put in them. Both dmg2img and qemu-img read them.

dmg = make_dmg(macos_disk("14.8.4"))
"""

from __future__ import annotations

import plistlib
import random
import struct
import zlib
from dataclasses import dataclass

SECTOR = 512
ZERO, RAW, IGNORE, ZLIB, LZFSE, END = 0, 1, 2, 0x80000005, 0x80000007, 0xFFFFFFFF

SYSTEM_VERSION = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
\t<key>ProductBuildVersion</key>
\t<string>23J126</string>
\t<key>ProductName</key>
\t<string>{name}</string>
\t<key>ProductVersion</key>
\t<string>{version}</string>
</dict>
</plist>
"""


def system_version(version: str, name: str = "macOS") -> bytes:
    return SYSTEM_VERSION.format(name=name, version=version).encode()


def macos_disk(version: str, size: int = 3 << 20, seed: int = 1) -> bytes:
    """A disk of `size` bytes, mostly zeros, with noise, an HFS+ header and SystemVersion.plist, and no file system."""
    disk = bytearray(size)
    disk[1024:1026] = b"H+"
    noise = random.Random(f"{version} {seed}").randbytes(300_000)
    disk[size // 3 : size // 3 + len(noise)] = noise
    for at, plist in ((size // 2, system_version("17.6", "iPhone OS")), (size // 2 + 8192, system_version(version))):
        disk[at : at + len(plist)] = plist
    return bytes(disk)


@dataclass
class _Run:
    kind: int
    sector: int
    sectors: int
    plain: bytes
    packed: bytes
    at: int = 0


def make_dmg(
    raw: bytes,
    *,
    run_sectors: int = 512,
    part_sectors: tuple[int, ...] = (1, 63),
    data_backwards: bool = False,
    kind: int | None = None,
    zeros: int = ZERO,
) -> bytes:
    """The .dmg of a disk: parts of `part_sectors` and the rest, runs of `run_sectors`, each packed as suits it.

    With `data_backwards` the last part's data lies first in the file, as newer hdiutil may lay it. `kind` makes every
    run claim to be of that kind; `zeros` is the kind of a run of zeros.
    """
    raw += bytes(-len(raw) % SECTOR)
    total = len(raw) // SECTOR
    parts: list[tuple[int, int, list[_Run]]] = []
    first = 0
    for sectors in (*part_sectors, total):
        sectors = min(sectors, total - first)
        parts.append((first, sectors, _runs(raw, first, sectors, run_sectors, kind, zeros)))
        first += sectors
    data = bytearray()
    for _, _, runs in reversed(parts) if data_backwards else parts:
        for run in runs:
            run.at = len(data)
            data += run.packed
    crcs = [_crc(runs) for _, _, runs in parts]
    blkx = [
        {"Attributes": "0x0050", "CFName": name, "Data": table, "ID": str(index - 1), "Name": name}
        for index, (name, table) in enumerate(
            (f"part {index} (Apple_HFS : {index})", _table(first, sectors, index, runs, crcs[index]))
            for index, (first, sectors, runs) in enumerate(parts)
        )
    ]
    plist = plistlib.dumps({"resource-fork": {"blkx": blkx, "plst": []}})
    master = zlib.crc32(b"".join(struct.pack(">I", crc) for crc in crcs))
    return bytes(data) + plist + trailer(len(data), len(plist), zlib.crc32(data), master, total)


def trailer(data: int, plist: int, data_crc: int, master_crc: int, sectors: int) -> bytes:
    return (
        struct.pack(">4sIIIQQQQQII16x", b"koly", 4, 512, 1, 0, 0, data, 0, 0, 1, 1)
        + struct.pack(">III124x", 2, 32, data_crc)
        + struct.pack(">QQ120x", data, plist)
        + struct.pack(">III124x", 2, 32, master_crc)
        + struct.pack(">IQ12x", 1, sectors)
    )


def _runs(raw: bytes, first: int, sectors: int, most: int, kind: int | None, zeros: int) -> list[_Run]:
    runs = []
    for sector in range(0, sectors, most):
        count = min(most, sectors - sector)
        plain = raw[(first + sector) * SECTOR : (first + sector + count) * SECTOR]
        packed = zlib.compress(plain)
        if not any(plain):
            runs.append(_Run(zeros if kind is None else kind, sector, count, plain, b"" if kind is None else packed))
        elif len(packed) < len(plain):
            runs.append(_Run(kind or ZLIB, sector, count, plain, packed))
        else:
            runs.append(_Run(kind or RAW, sector, count, plain, plain))
    return runs


def _crc(runs: list[_Run]) -> int:
    return zlib.crc32(b"".join(run.plain for run in runs if run.kind != IGNORE))


def _table(first: int, sectors: int, index: int, runs: list[_Run], crc: int) -> bytes:
    end = _Run(END, sectors, 0, b"", b"")
    return (
        struct.pack(">4sIQQQII24x", b"mish", 1, first, sectors, 0, 2056, index)
        + struct.pack(">III124x", 2, 32, crc)
        + struct.pack(">I", len(runs) + 1)
        + b"".join(
            struct.pack(">IIQQQQ", run.kind, 0, run.sector, run.sectors, run.at, len(run.packed))
            for run in [*runs, end]
        )
    )
