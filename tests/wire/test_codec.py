"""The KVM wire: golden vectors whole, byte by byte and with bytes after them; laws; every refusal."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import WireError
from pommel.wire import messages as m
from pommel.wire.codec import MAX_JUMBO, Decoder, encode
from pommel.wire.messages import Command, Direction

from . import strategies, vectors

VECTORS = vectors.load()
BY_NAME = [pytest.param(vector, id=vector.name) for vector in VECTORS]
TO_ENDPOINT, TO_VIEWER = Direction.TO_ENDPOINT, Direction.TO_VIEWER


def decode(direction: Direction, pieces: Iterable[bytes], **limits: int) -> list[Command]:
    decoder = Decoder(direction, **limits)
    events: list[Command] = []
    for piece in pieces:
        decoder.receive_data(piece)
        events += decoder.events()
    decoder.receive_eof()
    return events + list(decoder.events())


def cut(data: bytes, at: list[int]) -> list[bytes]:
    marks = [0, *sorted(min(mark, len(data)) for mark in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(marks)]


@pytest.mark.parametrize("vector", BY_NAME)
def test_vector_decodes_whole(vector: vectors.Vector) -> None:
    assert decode(vector.direction, [vector.data]) == [vector.message]


@pytest.mark.parametrize("vector", BY_NAME)
def test_vector_decodes_byte_by_byte_and_not_before_its_last(vector: vectors.Vector) -> None:
    decoder = Decoder(vector.direction)
    head, tail = vector.data[:40], vector.data[40:]
    pieces = [*(bytes((byte,)) for byte in head), *cut(tail, list(range(0, len(tail), 4099)))]
    for piece in [piece for piece in pieces if piece][:-1]:
        decoder.receive_data(piece)
        assert list(decoder.events()) == []
    decoder.receive_data([piece for piece in pieces if piece][-1])
    assert list(decoder.events()) == [vector.message]


@pytest.mark.parametrize("vector", BY_NAME)
def test_vector_leaves_what_follows_alone(vector: vectors.Vector) -> None:
    decoder = Decoder(vector.direction)
    decoder.receive_data(vector.data + b"\x00")
    assert list(decoder.events()) == [vector.message]
    decoder.receive_data(b"\x00\x00\x04")
    assert list(decoder.events()) == [m.Nop()]


@pytest.mark.parametrize("vector", [p for p in BY_NAME if not p.values[0].one_way])  # type: ignore[union-attr]
def test_vector_encodes(vector: vectors.Vector) -> None:
    assert encode(vector.message) == vector.data


def test_every_command_has_a_vector() -> None:
    assert {type(vector.message) for vector in VECTORS} == set(typing.get_args(Command))


SEQUENCES = st.one_of(
    st.tuples(st.just(TO_ENDPOINT), st.lists(strategies.to_endpoint, max_size=6)),
    st.tuples(st.just(TO_VIEWER), st.lists(strategies.to_viewer, max_size=4)),
)


@settings(deadline=None, max_examples=150)
@given(SEQUENCES, st.lists(st.integers(0, 300), max_size=12))
def test_law_any_chunking_of_encoded_commands_gives_them_back(
    sequence: tuple[Direction, list[Command]], at: list[int]
) -> None:
    direction, commands = sequence
    stream = b"".join(map(encode, commands))
    assert decode(direction, cut(stream, at)) == commands


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(Direction), st.binary(max_size=120), st.lists(st.integers(0, 120), max_size=8))
def test_law_any_bytes_are_decoded_or_refused_the_same_way_in_any_pieces(
    direction: Direction, data: bytes, at: list[int]
) -> None:
    def outcome(pieces: list[bytes]) -> tuple[list[Command], str]:
        decoder, events = Decoder(direction), []
        for piece in pieces:
            decoder.receive_data(piece)
        decoder.receive_eof()
        try:
            for event in decoder.events():
                events.append(event)
        except WireError as refusal:
            return events, refusal.message
        return events, ""

    assert outcome(cut(data, at)) == outcome([data])


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 100), st.binary(max_size=30), st.sampled_from(Direction))
def test_law_what_is_decoded_is_encoded_to_what_decodes_the_same(kind: int, body: bytes, direction: Direction) -> None:
    data = kind.to_bytes(2, "big") + (len(body) + 4).to_bytes(2, "big") + body
    try:
        (command,) = decode(direction, [data])
    except WireError:
        return
    assert decode(direction, [encode(command)]) == [command]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("0006 0003", "4 is the least"),
        ("0006 0000", "4 is the least"),
        ("0006 0005 00", "type 6 cannot be 5 bytes"),
        ("0001 0005 00", "type 1 cannot be 5 bytes"),
        ("0002 000b 00 00 0000 0000 00", "type 2 cannot be 11 bytes"),
        ("0005 0007 01 32 04", "type 5 cannot be 7 bytes"),
        ("0055 0006 00 00", "type 85 cannot be 6 bytes"),
        ("000c 0004", "type 12 cannot be 4 bytes"),
        ("000f 0004", "type 15 cannot be 4 bytes"),
        ("000f 000e 03 03 00010006 012c 00c8", "type 15"),
        ("000f 0017 01 03 00010006 012c 00c8 04 00040000 0001 0002", "type 15"),
        ("000f 0006 02 03", "type 15 cannot be 6 bytes"),
        ("001b 0009 00000004 0006 0000", "a JUMBO says its header is 9"),
        ("001b 0008 00000003 0006 00", "a JUMBO of 3 bytes"),
        ("001b 0008 01000000", "a JUMBO of 16777216 bytes"),
        ("001b 0008 00000008 001b 0000", "holds type 27"),
        ("001b 0008 00000008 0006 0004", "with a length of 4"),
    ],
)
def test_viewer_bytes_that_are_refused(data: str, said: str) -> None:
    with pytest.raises(WireError, match=said):
        decode(TO_ENDPOINT, [bytes.fromhex(data)])


@pytest.mark.parametrize(
    "data",
    [
        "0003 0006 0000",
        "0007 0006 0500",
        "000b 000a 0002 0001 0001",
        "0052 0009 0001000000",
        "00cb 000a 0001 0001 0000",
    ],
)
def test_endpoint_bytes_that_are_refused(data: str) -> None:
    with pytest.raises(WireError, match="cannot be"):
        decode(TO_VIEWER, [bytes.fromhex(data)])


@pytest.mark.parametrize(
    ("pointer", "said"),
    [
        (m.Pointer(257, 0, 0, 0, b""), "a pointer of 257×0 pixels; the most is 256×256"),
        (m.Pointer(1, 65535, 0, 0, b""), "a pointer of 1×65535 pixels; the most"),
        (m.Pointer(2, 2, 0, 0, bytes(15)), "a pointer of 2×2 pixels in 15 bytes"),
        (m.Pointer(2, 2, 0, 0, bytes(20)), "a pointer of 2×2 pixels in 20 bytes"),
        (m.Pointer(0, 0, 0, 0, bytes(4)), "a pointer of 0×0 pixels in 4 bytes"),
    ],
)
def test_a_pointer_that_is_too_large_or_not_whole_is_refused_both_ways(pointer: m.Pointer, said: str) -> None:
    body = b"".join(n.to_bytes(2, "big") for n in (pointer.width, pointer.height, 0, 0)) + pointer.rgba
    with pytest.raises(WireError, match=said):
        decode(TO_VIEWER, [encode(m.Unknown(203, body))])
    with pytest.raises(WireError, match=said):
        encode(pointer)


def test_a_failed_decoder_gives_the_good_part_once_and_stays_failed() -> None:
    decoder = Decoder(TO_ENDPOINT)
    decoder.receive_data(encode(m.Refresh()) + b"\x00\x06\x00\x00" + encode(m.Refresh()))
    good = []
    with pytest.raises(WireError):
        good.extend(iter(decoder.events()))
    assert good == [m.Refresh()]
    decoder.receive_data(encode(m.Refresh()))
    for _ in range(2):
        with pytest.raises(WireError, match="4 is the least"):
            list(decoder.events())
    decoder.receive_eof()
    with pytest.raises(WireError, match="4 is the least"):
        list(decoder.events())


@pytest.mark.parametrize("n", range(1, 6))
def test_an_end_inside_a_command_is_an_error_and_between_commands_is_none(n: int) -> None:
    key = encode(m.Key(0x41, down=True))
    with pytest.raises(WireError, match="in the middle"):
        decode(TO_ENDPOINT, [key, key[:n]])
    assert len(decode(TO_ENDPOINT, [key, key])) == 2


def test_a_command_over_the_limit_is_refused_before_it_is_buffered() -> None:
    decoder = Decoder(TO_VIEWER, max_size=1000)
    decoder.receive_data(encode(m.Picture(0, 0, bytes(2000)))[:4])
    with pytest.raises(WireError, match="over the limit of 1000"):
        list(decoder.events())
    with pytest.raises(WireError, match="allowed are 4 to 1000"):
        decode(TO_VIEWER, [encode(m.Picture(0, 0, bytes(70_000)))], max_size=1000)


def test_what_means_nothing_in_a_direction_is_unknown_there() -> None:
    screen = encode(m.Screen(1, 2))
    assert decode(TO_ENDPOINT, [screen]) == [m.Unknown(7, b"\x00\x01\x00\x02")]
    assert decode(TO_VIEWER, [encode(m.Refresh())]) == [m.Unknown(6, b"")]


def test_one_number_two_meanings() -> None:
    assert decode(TO_ENDPOINT, [b"\x00\x0b\x00\x04"]) == [m.GetDisplays()]
    assert decode(TO_VIEWER, [encode(m.DisplayList((1, 65535), 1))]) == [m.DisplayList((1, 65535), 1)]


def test_a_jumbo_may_tell_the_truth_inside() -> None:
    told = bytes.fromhex("001b 0008 00000004 0006 0004")
    assert decode(TO_ENDPOINT, [told]) == [m.Refresh()]


def test_a_button_in_a_wheel_command_is_not_lost() -> None:
    assert decode(TO_ENDPOINT, [bytes.fromhex("0002 000c 00 04 012c 00c8 0000")]) == [m.Mouse(300, 200, m.LEFT_UP)]


def test_key_actions_of_other_viewers() -> None:
    odd = decode(TO_ENDPOINT, [bytes.fromhex("0001 0006 02 41"), bytes.fromhex("0055 0007 05 0041")])
    assert odd == [m.Key(0x41, down=False), m.KeyUnicode(0x41, down=False)]


def test_a_cursor_of_the_future_is_an_arrow() -> None:
    assert decode(TO_VIEWER, [bytes.fromhex("0058 0005 63")]) == [m.MouseCursor(m.CursorShape.ARROW)]


def test_text_that_has_no_8_bits_is_marked() -> None:
    assert encode(m.Alert("żółw")) == b"\x00\x41\x00\x08?\xf3?w"


@pytest.mark.parametrize(
    "message",
    [
        m.Screen(65536, 1),
        m.Mouse(-1, 0),
        m.Key(256, down=True),
        m.MouseWheel(0, 0, 32768),
        m.MouseWheel(0, 0, -32768),
        m.Compression(1, 50, None, 50),
        m.DisplayList((70000,), 0),
        m.KeyUnicode(0x1F600, down=True),
        m.Unknown(27, b"    "),
        m.Unknown(70000, b""),
    ],
)
def test_what_does_not_fit_is_not_sent(message: Command) -> None:
    with pytest.raises(WireError):
        encode(message)


def test_the_longest_command() -> None:
    longest = m.Unknown(99, bytes(MAX_JUMBO - 4))
    assert decode(TO_VIEWER, [encode(longest)]) == [longest]
    with pytest.raises(WireError, match="16777215"):
        encode(m.Unknown(99, bytes(MAX_JUMBO - 3)))


def test_only_commands_are_encoded() -> None:
    with pytest.raises(WireError, match="Display is not a KVM command"):
        encode(m.Display(1, 0, 0, 1, 1))  # type: ignore[arg-type]
