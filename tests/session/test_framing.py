"""Frames in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import ProtocolError
from pommel.session.framing import (
    MAX_PAYLOAD,
    FrameDecoder,
    FrameKind,
    decode_close,
    decode_taken,
    encode,
    encode_close,
    encode_taken,
)

frames = st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=300)), max_size=6)


@settings(max_examples=200, deadline=None)
@given(frames, st.integers(1, 64))
def test_what_goes_in_comes_out(given_frames: list[tuple[FrameKind, bytes]], piece: int) -> None:
    data = b"".join(encode(kind, payload) for kind, payload in given_frames)
    decoder = FrameDecoder()
    heard = [frame for at in range(0, len(data), piece) for frame in decoder.receive(data[at : at + piece])]
    assert [tuple(frame) for frame in heard] == given_frames


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    try:
        frames = FrameDecoder().receive(data)
    except ProtocolError:
        return
    whole = b"".join(encode(kind, payload) for kind, payload in frames)
    assert data.startswith(whole)


def test_close_and_taken() -> None:
    assert decode_close(encode_close(1008, "has not read ü")[5:]) == (1008, "has not read ü")
    assert decode_taken(encode_taken(2**40)[5:]) == 2**40
    for wrong in (b"", b"x"):
        with pytest.raises(ProtocolError):
            decode_close(wrong)
        with pytest.raises(ProtocolError):
            decode_taken(wrong)


def test_too_long() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        encode(FrameKind.MESSAGE, bytes(MAX_PAYLOAD + 1))
    with pytest.raises(ProtocolError, match="kind 1"):
        FrameDecoder(max_payload=4).receive(encode(FrameKind.MESSAGE, b"12345"))


@pytest.mark.parametrize("wrong", [b"\0\0\0\0\0", b"\5\0\0\0\0", b"\1\0\0\4\1"])
def test_what_are_no_frames_once_is_refused_for_good(wrong: bytes) -> None:
    decoder = FrameDecoder(max_payload=1024)
    with pytest.raises(ProtocolError) as first:
        decoder.receive(wrong)
    for more in (b"", encode(FrameKind.TEXT, b"x")):
        with pytest.raises(ProtocolError) as again:
            decoder.receive(more)
        assert again.value.message == first.value.message
