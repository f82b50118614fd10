"""The messages of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ProtocolError
from pommel.wire import terminal as wire
from pommel.wire.terminal import Processed, TerminalKind, TerminalSize, Typed


def test_each_message_byte_by_byte() -> None:
    assert wire.encode_typed("é\r".encode()) == b"\x00\xc3\xa9\r"
    assert wire.encode_size(TerminalSize(132, 43)) == b"\x01\x00\x84\x00\x2b"
    assert wire.encode_processed(0x1_0203_0405) == b"\x02\x02\x03\x04\x05"
    assert wire.encode_ended("It ended.") == b"\x03It ended."
    assert wire.parse_terminal(b"\x00\xc3\xa9\r") == Typed("é\r".encode())
    assert wire.parse_terminal(b"\x01\x00\x84\x00\x2b") == TerminalSize(132, 43)
    assert wire.parse_terminal(b"\x02\x02\x03\x04\x05") == Processed(0x0203_0405)
    assert wire.read_for_viewer(b"\x00abc") == (TerminalKind.DATA, b"abc")
    assert wire.read_for_viewer(b"\x03abc") == (TerminalKind.ENDED, b"abc")


def test_a_size_is_one_that_programs_can_have() -> None:
    assert wire.parse_terminal(b"\x01\0\0\0\0") == TerminalSize(1, 1)
    assert wire.parse_terminal(b"\x01\xff\xff\xff\xff") == TerminalSize(wire.MOST_COLUMNS, wire.MOST_ROWS)


@pytest.mark.parametrize(
    "message", [b"", b"\x01\0\1\0", b"\x01\0\1\0\1\0", b"\x02\0\0\0", b"\x03end", b"\x04", b"\xff"]
)
def test_what_is_no_message_of_a_viewer(message: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a message for a terminal"):
        wire.parse_terminal(message)


@pytest.mark.parametrize("message", [b"", b"\x01\0\1\0\1", b"\x02\0\0\0\0"])
def test_what_is_no_message_to_a_viewer(message: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a message from a terminal"):
        wire.read_for_viewer(message)


@given(st.binary(max_size=20))
def test_any_bytes_are_a_message_or_refused(message: bytes) -> None:
    try:
        said = wire.parse_terminal(message)
    except ProtocolError:
        return
    match said:
        case Typed(data):
            assert wire.encode_typed(data) == message
        case Processed(count):
            assert wire.encode_processed(count) == message
        case TerminalSize():
            assert wire.parse_terminal(wire.encode_size(said)) == said
