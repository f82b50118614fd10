"""The door's handshake, byte by byte, and what of a viewer may pass that only looks."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import RfbError
from pommel.screen.rfb_door import OnlyLooking, RfbDoor, answer, as_file

CHALLENGE = bytes(range(16))
# Of FIPS 46-3's example: DES of "Now is t" under 0123456789abcdef, its key with the bits of each byte reversed.
REVERSED = bytes.fromhex("80c4a2e691d5b3f7")


def test_the_answer_is_des_and_a_password_file_is_vncpasswds() -> None:
    assert answer(REVERSED, b"Now is t").hex() == "3fa40e8a984d4815"
    assert answer(b"longer than eight", CHALLENGE) == answer(b"longer t", CHALLENGE)
    assert as_file(b"password").hex() == "dbd83cfd727a1458"  # as `vncpasswd -f` writes it


@pytest.mark.parametrize(
    ("version", "chosen", "asked", "let_in"),
    [
        (b"RFB 003.008\n", b"\x02", b"\x01\x02", bytes(4)),
        (b"RFB 003.889\n", b"\x02", b"\x01\x02", bytes(4)),  # Apple's
        (b"RFB 003.007\n", b"\x02", b"\x01\x02", bytes(4)),
        (b"RFB 003.003\n", b"", bytes((0, 0, 0, 2)), bytes(4)),
    ],
)
def test_who_knows_the_password_is_in(version: bytes, chosen: bytes, asked: bytes, let_in: bytes) -> None:
    door = RfbDoor(b"secret", CHALLENGE)
    for byte in version + chosen + answer(b"secret", CHALLENGE):
        assert not door.is_open
        door.receive_data(bytes((byte,)))
    assert door.is_open and bytes(door.out) == b"RFB 003.008\n" + asked + CHALLENGE + let_in
    door.receive_data(b"\x01more")
    assert door.rest == b"\x01more"


def test_all_at_once_with_what_follows_and_without_a_password() -> None:
    door = RfbDoor(None, CHALLENGE)
    door.receive_data(b"RFB 003.008\n\x01\x01rest")
    assert door.is_open and door.rest == b"\x01rest" and door.out.endswith(b"\x01\x01" + bytes(4))
    old = RfbDoor(None, CHALLENGE)
    old.receive_data(b"RFB 003.003\n")
    assert old.is_open and old.out.endswith(bytes((0, 0, 0, 1)))


def test_a_wrong_password_is_told_and_nobody_is_in() -> None:
    door = RfbDoor(b"secret", CHALLENGE)
    with pytest.raises(RfbError, match="a wrong password"):
        door.receive_data(b"RFB 003.008\n\x02" + answer(b"secreT", CHALLENGE))
    assert not door.is_open and door.out.endswith(struct.pack(">II", 1, 14) + b"wrong password")


@pytest.mark.parametrize("said", [b"GET / HTTP/1", b"RFB 002.008\n", b"RFB 004.000\n", b"RFB 003.008\n\x01"])
def test_what_is_no_viewer_of_ours_is_refused(said: bytes) -> None:
    with pytest.raises(RfbError):
        RfbDoor(b"secret", CHALLENGE).receive_data(said)


LOOKS = (
    b"\x00" * 20, struct.pack(">BBHii", 2, 0, 2, 0, -239), struct.pack(">BBHHHH", 3, 1, 0, 0, 9, 9), b"\x96" + b"\x01" * 9,
    b"\xf8\0\0\0\0\0\0\x01\x03abc", b"\xff\x01\0\0", b"\xff\x01\0\x02" + b"\x04" * 6,
)  # fmt: skip
ACTS = (
    struct.pack(">BBHI", 4, 1, 0, 97), struct.pack(">BBHH", 5, 1, 3, 4), struct.pack(">BxxxI", 6, 5) + b"paste",
    struct.pack(">Bxxxi", 6, -4) + b"\1\2\3\4", b"\xfb\0\0\x09\0\x09\x01\0" + b"\x02" * 16, b"\xfa\0\x01\x02",
    b"\xff\0\0\x01" + b"\x05" * 8,
)  # fmt: skip


@given(st.lists(st.sampled_from(LOOKS + ACTS), max_size=12), st.integers(1, 40))
def test_only_what_looks_passes_however_it_comes(messages: list[bytes], step: int) -> None:
    only, stream = OnlyLooking(), b"\x01" + b"".join(messages)
    passed = b"".join(only.receive_data(stream[i : i + step]) for i in range(0, len(stream), step))
    assert passed == b"\x01" + b"".join(message for message in messages if message in LOOKS)


@given(st.binary(max_size=400))
def test_any_bytes_are_passed_dropped_or_refused(data: bytes) -> None:
    for take in (OnlyLooking().receive_data, RfbDoor(b"secret", CHALLENGE).receive_data):
        try:
            take(data)
        except RfbError as refused:
            assert refused.message


@pytest.mark.parametrize("said", [b"\x01\x07", b"\x01\xff\x02\0\0", b"\x01\x06\0\0\0\x7f\xff\xff\xff"])
def test_a_message_of_unknown_size_ends_it(said: bytes) -> None:
    with pytest.raises(RfbError):
        OnlyLooking().receive_data(said)
