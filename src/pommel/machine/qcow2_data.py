"""The guest's data inside a qcow2 image, read without QEMU. Band: core, no I/O.

Enough to inspect a partition table and a boot loader: no backing file, no encryption, no snapshots; of the two
compressions of a cluster, only deflate. Any input is either read or refused. Layout: QEMU, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from pommel.machine.qcow2 import ReadAt, read_header

_TABLE = struct.Struct(">IQ")  # at 36: number of level 1 entries, where they are
_CRYPT_AT, _FEATURES_AT = 32, 72
_OFFSET_BITS = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED, _ZERO = 1 << 62, 1
_EXTERNAL_DATA, _COMPRESSION, _WIDE_ENTRIES = 1 << 2, 1 << 3, 1 << 4
_L1_MAX = 4 << 20  # entries: 2 PiB in clusters of 64 KiB
_ENTRIES_MAX = 8 << 20  # the limit of a search for data: 512 GiB in clusters of 64 KiB, without holes
_SECTOR = 512


class Qcow2Data:
    """An image's data by the guest's offsets, over `read_at(offset, count)` of its file."""

    def __init__(self, read_at: ReadAt) -> None:
        """Read the header.

        Raises:
            ValueError: it is not a qcow2 image, is damaged, or has features that this class cannot read.
        """
        header = read_header(read_at)
        self._read, self._cluster = read_at, header.cluster_bytes
        self.virtual_bytes = header.virtual_bytes
        self._bits = header.cluster_bytes.bit_length() - 1
        head = read_at(0, 104).ljust(104, b"\0")
        self._l1_size, self._l1_at = _TABLE.unpack_from(head, 36)
        version, crypt = struct.unpack_from(">I", head, 4)[0], struct.unpack_from(">I", head, _CRYPT_AT)[0]
        features = struct.unpack_from(">Q", head, _FEATURES_AT)[0] if version > 2 else 0
        if crypt:
            raise ValueError("it is encrypted")
        if features & (_EXTERNAL_DATA | _COMPRESSION | _WIDE_ENTRIES):
            raise ValueError("it has features that Pommel cannot read")
        if self._l1_size > _L1_MAX:
            raise ValueError("its table of clusters is too large")

    def read(self, offset: int, count: int) -> bytes:
        """The guest's bytes; zeros where the image has no data.

        Raises:
            ValueError: the image is damaged there.
        """
        out = bytearray()
        while len(out) < count:
            at = offset + len(out)
            within = at % self._cluster
            part = min(count - len(out), self._cluster - within)
            out += self._part(self._entry(at // self._cluster), within, part)
        return bytes(out)

    def allocated(self, most: int) -> Iterator[int]:
        """The guest's offsets of the first `most` clusters with data.

        Raises:
            ValueError: the image is damaged, or has too many tables.
        """
        per_table = self._cluster // 8
        found, left = 0, _ENTRIES_MAX
        for start in range(0, self._l1_size, 4096):
            count = min(4096, self._l1_size - start)
            tables = self._numbers(self._l1_at + 8 * start, count)
            for place, entry in enumerate(tables):
                if not (at := entry & _OFFSET_BITS):
                    continue
                if (left := left - per_table) < 0:
                    raise ValueError("reading it takes too long")
                for index, cluster in enumerate(self._numbers(at, per_table)):
                    if found >= most:
                        return
                    if cluster & _COMPRESSED or (cluster & _OFFSET_BITS and not cluster & _ZERO):
                        found += 1
                        yield ((start + place) * per_table + index) * self._cluster

    def _entry(self, cluster: int) -> int:
        per_table = self._cluster // 8
        place, index = divmod(cluster, per_table)
        if place >= self._l1_size:
            return 0
        table = self._numbers(self._l1_at + 8 * place, 1)[0] & _OFFSET_BITS
        return self._numbers(table + 8 * index, 1)[0] if table else 0

    def _part(self, entry: int, within: int, count: int) -> bytes:
        if entry & _COMPRESSED:
            return self._inflated(entry)[within : within + count].ljust(count, b"\0")
        at = entry & _OFFSET_BITS
        if not at or entry & _ZERO:
            return bytes(count)
        return self._read(at + within, count).ljust(count, b"\0")

    def _inflated(self, entry: int) -> bytes:
        split = 62 - (self._bits - 8)
        at = entry & ((1 << split) - 1)
        sectors = ((entry & (_COMPRESSED - 1)) >> split) + 1
        packed = self._read(at, sectors * _SECTOR - at % _SECTOR)
        try:
            return zlib.decompressobj(-15).decompress(packed, self._cluster)
        except zlib.error as wrong:
            raise ValueError("a compressed cluster is damaged") from wrong

    def _numbers(self, at: int, count: int) -> tuple[int, ...]:
        data = self._read(at, 8 * count)
        if len(data) != 8 * count:
            raise ValueError("its tables are incomplete")
        return struct.unpack(f">{count}Q", data)
