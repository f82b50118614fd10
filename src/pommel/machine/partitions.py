"""Inspects a disk's partition table and boot loader: is it a boot disk, is it a Mac's? Band: core, no I/O.

It reads by `read(offset, count)`, and all reads are bounded: an image may be hostile. FAT: Microsoft's fatgen103. It is
not a file system driver; it only looks for a few names.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pommel.partition_table import Partition, Read, looks_like_fat, partitions

Loader = Literal["OpenCore", "Clover", "EFI"]

_ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_APPLE = "-0000-11aa-aa11-00306543ecac"  # APFS, HFS+, CoreStorage, Apple Boot, RAID
_MBR_FAT, _MBR_APPLE = (0xEF, 0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E), (0xAF, 0xAB)  # 0xEF: an EFI system partition
_CLUSTERS_MAX, _CLUSTER_BYTES_MAX = 64, 64 << 10  # limits for one folder
_LONG_NAME, _LABEL, _FOLDER = 0x0F, 0x08, 0x10


@dataclass(frozen=True, slots=True)
class DiskContents:
    """Whether there is a partition table or file system, the EFI system partition's loader, and a Mac's partition."""

    partitioned: bool
    loader: Loader | None
    apple: bool


def look(read: Read, size_bytes: int) -> DiskContents:
    """Inspect a disk.

    Raises:
        ValueError: `read` raises it, or a table is too damaged to read.
    """
    boot = read(0, 512)
    loaders, apple, partitioned = [], _is_bare_mac(read), False
    for found in partitions(read):
        partitioned = True
        kind = _kind(read, found)
        apple = apple or kind == "apple"
        if kind == "fat" and found.start < size_bytes:
            loaders.append(_loader_on(read, found.start))
    if not partitioned:
        loaders.append(_loader_on(read, 0))
    known = [loader for loader in ("OpenCore", "Clover", "EFI") if loader in loaders]
    is_table = partitioned or boot[510:512] == b"\x55\xaa"
    return DiskContents(is_table or apple, known[0] if known else None, apple)


def _kind(read: Read, found: Partition) -> Literal["fat", "apple", "other"]:
    if isinstance(found.kind, int):
        return "fat" if found.kind in _MBR_FAT else "apple" if found.kind in _MBR_APPLE else "other"
    if str(found.kind).endswith(_APPLE):
        return "apple"
    return "fat" if found.kind == _ESP or looks_like_fat(read(found.start, 512)) else "other"


def _is_bare_mac(read: Read) -> bool:
    """Whether it is a volume without a partition table: APFS (NXSB), HFS+ (H+, HX)."""
    return read(32, 4) == b"NXSB" or read(1024, 2) in (b"H+", b"HX")


def _loader_on(read: Read, start: int) -> Loader | None:
    """The boot loader of the FAT file system at `start`; None: there is none, or no readable file system."""
    fat = _Fat.at(read, start)
    efi = fat.folder(fat.root(), "EFI") if fat else None
    if fat is None or efi is None:
        return None
    inside = {name: cluster for name, cluster in fat.entries(efi) if cluster}
    if "OC" in inside:
        return "OpenCore"
    if "CLOVER" in inside:
        return "Clover"
    boot = inside.get("BOOT")
    return "EFI" if boot and any(name == "BOOTX64.EFI" for name, _ in fat.entries((boot,))) else None


Place = tuple[int, ...]  # a folder: its first cluster, or () for the root folder of FAT12 and FAT16


@dataclass(frozen=True, slots=True)
class _Fat:
    """A FAT file system's layout, all offsets in bytes from the disk's start."""

    read: Read
    bits: int
    fat_at: int
    root_at: int
    root_bytes: int
    root_cluster: int
    data_at: int
    cluster_bytes: int

    @classmethod
    def at(cls, read: Read, start: int) -> _Fat | None:
        boot = read(start, 512)
        sector, per_cluster, reserved, fats, entries, small = struct.unpack_from("<HBHBHH", boot, 11)
        large, wide = struct.unpack_from("<II", boot, 32)
        per_fat = struct.unpack_from("<H", boot, 22)[0] or wide
        if (
            sector not in (512, 1024, 2048, 4096)
            or not per_cluster
            or not reserved
            or fats not in (1, 2)
            or not per_fat
        ):
            return None
        root = reserved + fats * per_fat
        data = root + -(-entries * 32 // sector)
        clusters = ((small or large) - data) // per_cluster
        # The number of clusters alone determines the type of FAT (fatgen103, "FAT Type Determination").
        bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        if sector * per_cluster > _CLUSTER_BYTES_MAX:
            return None
        return cls(
            read,
            bits,
            start + reserved * sector,
            start + root * sector,
            min(entries * 32, _CLUSTER_BYTES_MAX),
            struct.unpack_from("<I", boot, 44)[0],
            start + data * sector,
            sector * per_cluster,
        )

    def root(self) -> Place:
        return (self.root_cluster,) if self.bits == 32 else ()

    def folder(self, where: Place, name: str) -> Place | None:
        return next(((cluster,) for called, cluster in self.entries(where) if called == name and cluster), None)

    def entries(self, where: Place) -> Iterator[tuple[str, int]]:
        """The short names in a folder, with the first cluster of each folder and 0 for a file."""
        for block in self._blocks(where):
            for at in range(0, len(block) - 31, 32):
                entry = block[at : at + 32]
                if entry[0] == 0:
                    # A first byte of 0 ends the folder; 0xE5 is a deleted entry.
                    return
                kind = entry[11]
                if entry[0] == 0xE5 or kind & _LONG_NAME == _LONG_NAME or kind & _LABEL:
                    continue
                stem, suffix = entry[:8].decode("latin-1").rstrip(), entry[8:11].decode("latin-1").rstrip()
                high = struct.unpack_from("<H", entry, 20)[0] if self.bits == 32 else 0
                cluster = struct.unpack_from("<H", entry, 26)[0] | high << 16
                yield f"{stem}.{suffix}" if suffix else stem, cluster if kind & _FOLDER else 0

    def _blocks(self, where: Place) -> Iterator[bytes]:
        if not where:
            yield self.read(self.root_at, self.root_bytes)
            return
        cluster = where[0]
        for _ in range(_CLUSTERS_MAX):
            if not 2 <= cluster < (1 << min(self.bits, 28)) - 16:
                return
            yield self.read(self.data_at + (cluster - 2) * self.cluster_bytes, self.cluster_bytes)
            cluster = self._next(cluster)

    def _next(self, cluster: int) -> int:
        if self.bits == 12:
            pair = self._number(cluster * 3 // 2, 2)
            return pair >> 4 if cluster & 1 else pair & 0xFFF
        return self._number(cluster * 2, 2) if self.bits == 16 else self._number(cluster * 4, 4) & 0x0FFF_FFFF

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.read(self.fat_at + at, size), "little")
