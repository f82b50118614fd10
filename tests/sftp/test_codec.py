"""The codec whole, byte by byte, cut short, and with any bytes. The real server is asked in test_session."""

from __future__ import annotations

import contextlib
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ProtocolError
from pommel.sftp import codec
from pommel.sftp.codec import Attributes, Data, Extended, Names, Reply, ReplyReader, SftpHandle, SftpStatus, SftpVersion


def packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


def numbered(number: int, body: bytes = b"") -> bytes:
    return codec.word(number) + body


FILE = stat.S_IFREG | 0o644
TOLD = codec.word(0x8000000F) + codec.long(5) + codec.long(0) + codec.word(FILE) + codec.word(8) + codec.word(9) + codec.word(1) + codec.string(b"x") + codec.string(b"y")  # fmt: skip
SAID: list[tuple[bytes, tuple[int, Reply]]] = [
    (packet(codec.VERSION, codec.word(3) + codec.string(b"posix-rename@openssh.com") + codec.string(b"1")), (0, SftpVersion(3, frozenset([codec.POSIX_RENAME])))),
    (packet(codec.EXTENDED_REPLY, numbered(7, b"any bytes")), (7, Extended(b"any bytes"))),
    (packet(codec.STATUS, numbered(1, codec.word(codec.FAILURE) + codec.string(b"Failure") + codec.string(b""))), (1, SftpStatus(4, "Failure"))),
    (packet(codec.HANDLE, numbered(2, codec.string(b"\0\0\0\7"))), (2, SftpHandle(b"\0\0\0\7"))),
    (packet(codec.DATA, numbered(3, codec.string(b"bytes"))), (3, Data(b"bytes"))),
    (packet(codec.ATTRS, numbered(4, TOLD)), (4, Attributes(5, FILE, 9))),
    (packet(codec.ATTRS, numbered(5, codec.word(0))), (5, Attributes())),
    (packet(codec.NAME, numbered(6, codec.word(2) + (codec.string(b"\xff") + codec.string(b"-rw- x") + TOLD) * 2)),
     (6, Names(((b"\xff", Attributes(5, FILE, 9)),) * 2))),
]  # fmt: skip


def heard(*pieces: bytes) -> list[tuple[int, Reply]]:
    reader = ReplyReader()
    return [reply for piece in pieces for reply in reader.feed(piece)]


def test_whole_and_byte_by_byte() -> None:
    stream, meant = b"".join(said for said, _ in SAID), [reply for _, reply in SAID]
    assert heard(stream) == meant
    assert heard(*(bytes([byte]) for byte in stream)) == meant


@pytest.mark.parametrize("number", range(len(SAID)))
def test_a_packet_that_is_cut_short(number: int) -> None:
    said = SAID[number][0]
    for end in range(10, len(said)):
        shorter = struct.pack(">I", end - 4) + said[4:end]
        with contextlib.suppress(ProtocolError):
            # What comes at the end of some packets is not needed.
            assert heard(shorter)[0][0] == SAID[number][1][0]


@pytest.mark.parametrize(
    "nonsense",
    [b"Welcome to this machine\n", struct.pack(">I", 0), struct.pack(">I", 1 << 20), packet(77, numbered(1)), packet(codec.HANDLE, numbered(1, codec.word(1 << 30)))],
)  # fmt: skip
def test_no_sftp(nonsense: bytes) -> None:
    with pytest.raises(ProtocolError):
        heard(nonsense)


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    for stream in (data, packet(codec.NAME, data), packet(codec.ATTRS, numbered(1, data))):
        with contextlib.suppress(ProtocolError):
            heard(stream)


def test_requests() -> None:
    assert codec.init() == b"\0\0\0\5\1\0\0\0\3"
    assert codec.request(codec.CLOSE, 7, codec.string(b"h")) == b"\0\0\0\x0a\4\0\0\0\7\0\0\0\1h"
    assert codec.attributes() == b"\0\0\0\0"
    assert codec.attributes(mode=stat.S_IFREG | 0o4755, mtime=3) == b"\0\0\0\x0c\0\0\x09\xed\0\0\0\3\0\0\0\3"
    assert codec.attributes(size=2) == b"\0\0\0\1" + bytes(7) + b"\2"
    assert codec.attributes(mtime=-5)[4:] == bytes(8)
    assert codec.attributes(mtime=1 << 40)[4:] == b"\xff" * 8


def test_kinds() -> None:
    kinds = [Attributes(mode=kind) for kind in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, 0)]
    assert [told.is_folder for told in kinds] == [True, False, False, False, False]
    assert [told.is_file for told in kinds] == [False, True, False, False, False]
    assert [told.is_link for told in kinds] == [False, False, True, False, False]


def test_space() -> None:
    told = struct.pack(">11Q", 1 << 20, 4096, 100, 60, 50, 9, 9, 9, 9, 9, 255)
    assert codec.space_of(Extended(told)) == codec.Space(50 * 4096, 100 * 4096)
    for end in range(len(told)):
        with pytest.raises(ProtocolError):
            codec.space_of(Extended(told[:end]))
