"""What a .dmg says of the disk inside: read, or refused by name."""

from __future__ import annotations

import plistlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import RecoveryError
from pommel.recovery.disk_image import DiskPart, Trailer, is_disk_image, parse_parts, parse_trailer

from . import udif

RAW = bytes(1024) + bytes(range(256)) * 4 + bytes(512 * 9) + b"end".ljust(512, b".")


def plist_of(dmg: bytes) -> bytes:
    at, size = struct.unpack(">QQ", dmg[-512:][216:232])
    return dmg[at : at + size]


@pytest.mark.parametrize("zeros", [udif.ZERO, udif.IGNORE])
def test_the_parts_sum_to_their_checksums(zeros: int) -> None:
    dmg = udif.make_dmg(RAW, run_sectors=2, part_sectors=(1, 3), zeros=zeros)
    trailer = parse_trailer(dmg[-512:], len(dmg))
    assert trailer.size_bytes == len(RAW)
    parts = parse_parts(plist_of(dmg), len(RAW))
    assert len(parts) == 3
    for part in parts:
        assert zlib.crc32(b"".join(RAW[at : at + size] for at, size in part.stretches)) == part.crc32
    summed = sum(size for part in parts for _, size in part.stretches)
    assert (summed == len(RAW)) == (zeros == udif.ZERO)


def test_a_trailer_byte_by_byte() -> None:
    tail = udif.trailer(1000, 200, 1, 2, 77)
    assert len(tail) == 512
    assert parse_trailer(tail, 1712) == Trailer(77 * 512, 1000, 200)
    assert is_disk_image(tail) and not is_disk_image(tail[1:]) and not is_disk_image(b"")


@pytest.mark.parametrize(
    ("tail", "size", "said"),
    [
        (b"", 0, "no trailer"),
        (bytes(512), 512, "no trailer"),
        (b"koly\0\0\0\5" + udif.trailer(0, 0, 0, 0, 1)[8:], 512, "version 5"),
        (udif.trailer(0, 0, 0, 0, 0), 512, "0 sectors"),
        (udif.trailer(0, 0, 0, 0, 2**63), 512, "sectors"),
        (udif.trailer(1000, 200, 0, 0, 1), 1711, "not inside the file"),
        (udif.trailer(2**64 - 1, 200, 0, 0, 1), 9999, "not inside the file"),
        (udif.trailer(0, 2**40, 0, 0, 1), 2**41, "not inside the file"),
    ],
)
def test_a_trailer_that_cannot_be(tail: bytes, size: int, said: str) -> None:
    with pytest.raises(RecoveryError, match=said):
        parse_trailer(tail, size)


def table(**change: object) -> bytes:
    return plistlib.dumps({"resource-fork": {"blkx": [{"Data": b"", "Name": "a"} | change]}})


MISH = plistlib.loads(plist_of(udif.make_dmg(RAW, part_sectors=())))["resource-fork"]["blkx"][0]["Data"]


@pytest.mark.parametrize(
    ("plist", "said"),
    [
        (b"", "cannot be read"),
        (b"<plist><dict><key>a</key></plist>", "cannot be read"),
        (plistlib.dumps({}), "does not list"),
        (plistlib.dumps([]), "does not list"),
        (plistlib.dumps({"resource-fork": {"blkx": ["x"]}}), "does not list"),
        (plistlib.dumps({"resource-fork": {"blkx": [{}]}}), "does not list"),
        (table(), "cannot be read"),
        (table(Data="text"), "does not list"),
        (table(Data=b"fish" + MISH[4:]), "a table of runs is incomplete"),
        (table(Data=MISH[:-1]), "a table of runs is incomplete"),
        (table(Data=MISH[:8] + b"\x7f" + MISH[9:]), "outside of the disk"),
        (b'<!DOCTYPE p [<!ENTITY a "b">]><plist><string>&a;</string></plist>', "cannot be read"),
    ],
)
def test_a_property_list_that_cannot_be(plist: bytes, said: str) -> None:
    with pytest.raises(RecoveryError, match=said):
        parse_parts(plist, len(RAW))


def test_a_part_with_another_checksum_is_left_out() -> None:
    other = MISH[:64] + struct.pack(">I", 4) + MISH[68:]
    assert parse_parts(table(Data=other), len(RAW)) == ()
    assert [type(part) for part in parse_parts(table(Data=MISH), len(RAW))] == [DiskPart]


@settings(deadline=None, max_examples=150)
@given(tail=st.binary(min_size=500, max_size=512), at=st.integers(0, 511), byte=st.integers(0, 255))
def test_any_bytes_are_accepted_or_refused(tail: bytes, at: int, byte: int) -> None:
    whole = bytearray(udif.trailer(1000, 200, 1, 2, 77))
    whole[at] = byte
    mish = bytearray(MISH)
    mish[at % len(mish)] = byte
    for call in (
        lambda: parse_trailer(tail, 10**6),
        lambda: parse_trailer(bytes(whole), 10**6),
        lambda: parse_parts(tail, 10**6),
        lambda: parse_parts(table(Data=bytes(mish)), len(RAW)),
    ):
        try:
            call()
        except RecoveryError as error:
            assert error.hint


def test_parts_that_are_more_than_the_disk_are_refused_before_anybody_reads_them() -> None:
    run = struct.pack(">IIQQQQ", 1, 0, 0, 100, 0, 0)
    head = struct.pack(">4sIQQ40xII128xI", b"mish", 1, 0, 100, 2, 32, 1)
    for tables in ([head[:-4] + struct.pack(">I", 2) + run * 2], [head + run] * 2):
        rows = [{"Name": "p", "Data": one} for one in tables]
        plist = plistlib.dumps({"resource-fork": {"blkx": rows}})
        with pytest.raises(RecoveryError, match="overlap"):
            parse_parts(plist, 100 * 512)
        parse_parts(plist, 200 * 512)
