from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import RfbError
from pommel.screen import rfb_requests as ask
from pommel.screen.geometry import Rect, Size
from pommel.screen.move_search import MovedArea
from pommel.screen.pointer import UNKNOWN
from pommel.screen.rfb import (
    Bell,
    Cursor,
    Event,
    ExtendedButtons,
    ExtendedKeys,
    Leds,
    PointerType,
    Ready,
    Resized,
    RfbClient,
    RfbLimits,
    Updated,
)

from . import rfb_bytes as says


def pixels(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, count * 4, np.uint8).tobytes()


def connected(width: int = 4, height: int = 3, limits: RfbLimits | None = None) -> RfbClient:
    client = RfbClient(limits)
    client.receive_data(says.HELLO + says.server_init(width, height))
    return client


# --- the handshake ---


def test_the_handshake_says_what_it_must_and_nothing_before_its_time() -> None:
    client = RfbClient()
    steps = [
        (b"RFB 003.008\n", b"RFB 003.008\n"),
        (b"\x02\x10\x01", b"\x01"),
        (bytes(4), b"\x01"),
        (says.server_init(640, 480), ask.set_pixel_format() + ask.set_encodings()),
    ]
    for heard, said in steps:
        assert client.data_to_send() == b""
        client.receive_data(heard)
        assert client.data_to_send() == said


def test_ready_tells_size_and_name() -> None:
    client = RfbClient()
    assert client.receive_data(says.HELLO + says.server_init(640, 480, "Trial µ".encode())) == [
        Ready(Size(640, 480), "Trial µ")
    ]
    assert client.frame.size == (640, 480)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"SSH-2.0-Open", "not a VNC server"),
        (b"RFB 0x3.008\n", "not a VNC server"),
        (b"RFB 003\x80008\n", "not a VNC server"),
        (b"RFB 003.003\n", "uses RFB 003.003"),
        (b"RFB 003.008\n\x00\x00\x00\x00\x04busy", "refuses: busy"),
        (b"RFB 003.008\n\x02\x02\x13", "requires authentication .* .security types 2, 19"),
        (b"RFB 003.008\n\x01\x01\x00\x00\x00\x01\x00\x00\x00\x02no", "refuses: no"),
        (says.HELLO + says.server_init(16385, 1), "16385×1 pixels, which is too large"),
        (says.HELLO + says.server_init(16384, 16384), "too large"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_for_good(data: bytes, said: str) -> None:
    client = RfbClient()
    with pytest.raises(RfbError, match=said):
        client.receive_data(data)
    with pytest.raises(RfbError, match=said):
        client.receive_data(b"more")


# --- pictures ---


def test_raw_pixels_of_full_width_go_straight_into_the_frame() -> None:
    client = connected(64, 64)
    client.receive_data(says.update(says.raw(0, 16, 64, 32, b""))[: 4 + 12])
    place = client.get_buffer()
    assert len(place) == 64 * 32 * 4
    assert np.shares_memory(np.frombuffer(place, np.uint8), client.frame.pixels)
    place[:] = data = pixels(64 * 32)
    assert client.buffer_updated(len(data)) == [Updated((Rect(0, 16, 64, 32),))]
    assert client.frame.pixels[16:48].tobytes() == data


def test_raw_pixels_of_a_part_land_in_their_place_only() -> None:
    client, data = connected(5, 4), pixels(6)
    assert client.receive_data(says.update(says.raw(1, 1, 3, 2, data))) == [Updated((Rect(1, 1, 3, 2),))]
    assert client.frame.view(Rect(1, 1, 3, 2)).tobytes() == data
    client.frame.view(Rect(1, 1, 3, 2))[:] = 0
    assert not client.frame.pixels.any()


def test_copied_rectangles_may_overlap() -> None:
    client, data = connected(4, 4), pixels(16)
    client.receive_data(says.update(says.raw(0, 0, 4, 4, data)))
    before = client.frame.pixels.copy()
    copied = client.receive_data(says.update(says.copy(1, 1, 3, 3, 0, 0)))
    assert copied == [Updated((Rect(1, 1, 3, 3),), (MovedArea(Rect(1, 1, 3, 3), 1, 1),))]
    assert (client.frame.pixels[1:, 1:] == before[:3, :3]).all()


def test_an_update_counts_when_it_is_whole() -> None:
    client = connected()
    message = says.update(says.raw(0, 0, 4, 1, pixels(4)), says.raw(0, 1, 4, 2, pixels(8)))
    assert client.receive_data(message[:-1]) == []
    assert client.receive_data(message[-1:]) == [Updated((Rect(0, 0, 4, 1), Rect(0, 1, 4, 2)))]


def test_empty_rectangles_are_harmless() -> None:
    assert connected().receive_data(says.update(says.raw(0, 0, 4, 0, b""), says.raw(2, 2, 0, 1, b""))) == [
        Updated((Rect(0, 0, 4, 0), Rect(2, 2, 0, 1)))
    ]
    assert connected().receive_data(says.update()) == []


@pytest.mark.parametrize("size", [says.desktop_size(9, 7), says.extended_size(9, 7, screens=2)])
def test_another_size_is_another_frame(size: bytes) -> None:
    client = connected()
    old = client.frame
    assert client.receive_data(says.update(size)) == [Resized(Size(9, 7))]
    assert client.frame is not old and client.frame.size == (9, 7)
    assert client.receive_data(says.update(says.raw(8, 6, 1, 1, pixels(1)))) == [Updated((Rect(8, 6, 1, 1),))]


def test_damage_before_a_resize_in_one_update_is_of_a_picture_nobody_sees_any_more() -> None:
    heard = connected().receive_data(
        says.update(says.raw(0, 0, 4, 3, pixels(12)), says.desktop_size(2, 2), says.raw(0, 0, 2, 1, pixels(2)))
    )
    assert heard == [Resized(Size(2, 2)), Updated((Rect(0, 0, 2, 1),))]


def test_the_same_size_and_a_refused_one_are_no_news() -> None:
    client = connected()
    assert client.receive_data(says.update(says.extended_size(4, 3))) == []
    assert client.receive_data(says.update(says.extended_size(99, 99, status=3, screens=0))) == []
    assert client.frame.size == (4, 3)


# --- pointer, keys and the rest ---


def test_a_masked_pointer_has_its_mask_as_alpha() -> None:
    (heard,) = connected().receive_data(says.update(says.cursor(9, 2, bytes(9 * 2 * 4), b"\x80\x80\x00\x00")))
    assert isinstance(heard, Cursor) and heard.visible
    picture = heard.picture
    assert [i for i, alpha in enumerate(picture.rgba[3::4]) if alpha] == [0, 8]
    assert (picture.width, picture.height, picture.hot_x, picture.hot_y) == (9, 2, 1, 2)


@pytest.mark.parametrize(
    ("pointer", "visible"),
    [
        (says.cursor(8, 1, pixels(8), b"\x00"), False),
        (says.cursor(0, 0, b"", b""), False),
        (says.alpha_cursor(2, 1, b"\x01\x02\x03\x00" * 2), False),
        (says.alpha_cursor(2, 1, b"\x00\x00\x00\x00\x00\x00\x00\x01"), True),
    ],
)
def test_a_pointer_is_visible_if_any_of_it_is(pointer: bytes, visible: bool) -> None:
    (heard,) = connected().receive_data(says.update(pointer))
    assert isinstance(heard, Cursor) and heard.visible is visible


def pixels_of(*said: bytes) -> list[bytes]:
    """Each pixel of the pointer that is told last."""
    heard = connected().receive_data(says.update(*said))[-1]
    assert isinstance(heard, Cursor)
    rgba = heard.picture.rgba
    return [rgba[at : at + 4] for at in range(0, len(rgba), 4)]


def test_a_masked_pointer_is_blue_first_as_all_pixels_are() -> None:
    # ui/vnc.c, vnc_write_pixels_generic: in the format that we set; then cursor_get_mono_mask.
    orange, white = b"\x00\x80\xff\x00", b"\xff\xff\xff\x00"
    assert pixels_of(says.cursor(2, 1, orange + white, b"\x80")) == [b"\xff\x80\x00\xff", bytes(4)]


def test_an_alpha_pointer_is_blue_first_whatever_the_specification_says() -> None:
    # ui/vnc.c, vnc_cursor_define: words 0xAARRGGBB as they lie in the memory of a little-endian host. Multiplied in, as
    # virtio-gpu has it from Linux.
    words = struct.pack("<4I", 0xFFFF8000, 0x80804000, 0x01010000, 0x00000000)
    wanted = [b"\xff\x80\x00\xff", b"\xff\x80\x00\x80", b"\xff\x00\x00\x01", bytes(4)]
    assert pixels_of(says.alpha_cursor(2, 2, words)) == wanted


def test_what_qemu_says_of_a_linux_guests_pointer() -> None:
    # Recorded from QEMU 7.2 with virtio-vga, Linux 6.1 and Xorg's modesetting driver: the first 16 pixels of a pointer
    # whose file (Xcursor) has the colour ff8000 everywhere, and alpha 17 more from one to the next.
    told = bytes.fromhex(
        "00000000 00091111 00112222 001a3333 00224444 002b5555 00336666 003c7777"
        "00448888 004d9999 0055aaaa 005ebbbb 0066cccc 006fdddd 0077eeee 0080ffff"
    )
    found = pixels_of(says.alpha_cursor(16, 1, told))
    assert [pixel[3] for pixel in found] == list(range(0, 256, 17))
    for red, green, blue, alpha in found[1:]:
        assert (red, blue) == (0xFF, 0) and abs(green - 0x80) <= 0.5 + 127.5 / alpha


def test_alpha_that_cannot_be_multiplied_in_is_not_taken_out_again() -> None:
    words = struct.pack("<4I", 0xFFFF8000, 0x80FF8000, 0x01202020, 0x00FFFFFF)
    wanted = [b"\xff\x80\x00\xff", b"\xff\x80\x00\x80", b"\x20\x20\x20\x01", bytes(4)]
    assert pixels_of(says.alpha_cursor(4, 1, words)) == wanted


@pytest.mark.parametrize(("side", "told"), [(256, True), (257, False), (512, False)])
def test_a_pointer_too_large_for_viewers_is_seen_but_its_picture_is_unknown(side: int, told: bool) -> None:
    (heard,) = connected().receive_data(says.update(says.alpha_cursor(side, 1, pixels(side))))
    assert isinstance(heard, Cursor) and heard.visible
    assert (heard.picture != UNKNOWN) == told


def test_the_rest_is_told_or_skipped() -> None:
    data = says.BELL + says.cut_text(b"x" * 100_000) + says.update(says.EXTENDED_KEYS, says.leds(5))
    data += says.update(says.pointer_type(False), says.EXTENDED_BUTTONS)
    told = [Bell(), ExtendedKeys(), Leds(5), PointerType(False), ExtendedButtons()]
    assert connected().receive_data(data) == told


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x01", "unknown type 1"),
        (b"\xff", "unknown type 255"),
        (says.update(says.rect(0, 0, 1, 1, 7)), "encoding 7"),
        (says.update(says.raw(1, 0, 4, 1, b"")), r"\(1, 0, 4, 1\), which is outside of its picture of 4×3"),
        (says.update(says.copy(0, 0, 2, 2, 3, 0)), "outside of"),
        (says.update(says.desktop_size(65535, 65535)), "too large"),
        (says.update(says.cursor(513, 1, b"", b"")), "pointer of 513×1"),
        (says.update(says.alpha_cursor(1, 1, b"", encoding=5)), "pointer in encoding 5"),
        (struct.pack(">B3xI", 3, 1 << 25), "text of 33554432 bytes"),
    ],
)
def test_what_was_not_asked_for_is_refused_by_name(data: bytes, said: str) -> None:
    with pytest.raises(RfbError, match=said):
        connected().receive_data(data)


def test_an_end_between_messages_is_an_end_one_within_is_not() -> None:
    client = connected()
    client.receive_eof()
    client.receive_data(says.BELL)
    client.receive_eof()
    client.receive_data(says.update(says.leds(1))[:-1])
    with pytest.raises(RfbError, match="in the middle"):
        client.receive_eof()
    with pytest.raises(RfbError, match="in the middle"):
        RfbClient().receive_eof()


# --- laws ---

SIZE = Size(70, 9)


@st.composite
def rectangles(draw: st.DrawFn) -> bytes:
    x, y = draw(st.integers(0, SIZE.width - 1)), draw(st.integers(0, SIZE.height - 1))
    width, height = draw(st.integers(0, SIZE.width - x)), draw(st.integers(0, SIZE.height - y))
    if draw(st.booleans()):
        x, width = 0, SIZE.width
    kind = draw(
        st.sampled_from(
            ["raw", "raw", "raw", "copy", "leds", "keys", "type", "buttons", "cursor", "alpha", "same size"]
        )
    )
    return {
        "raw": lambda: says.raw(x, y, width, height, pixels(width * height, seed=x * y)),
        "copy": lambda: says.copy(x, y, width, height, 0, 0),
        "leds": lambda: says.leds(width & 7),
        "type": lambda: says.pointer_type(bool(width & 1)),
        "buttons": lambda: says.EXTENDED_BUTTONS,
        "keys": lambda: says.EXTENDED_KEYS,
        "cursor": lambda: says.cursor(9, 3, pixels(27), b"\x5a" * 6),
        "alpha": lambda: says.alpha_cursor(3, 2, pixels(6)),
        "same size": lambda: says.extended_size(*SIZE),
    }[kind]()


messages = st.one_of(
    st.lists(rectangles(), max_size=4).map(lambda rects: says.update(*rects)),
    st.binary(max_size=50).map(says.cut_text),
    st.just(says.BELL),
)


@settings(deadline=None)
@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 400), min_size=1, max_size=20), st.binary(max_size=3))
def test_any_chunking_gives_the_same_events_and_the_same_frame(parts, cuts, trailing) -> None:
    stream = says.HELLO + says.server_init(*SIZE) + b"".join(parts) + b"\x00" + trailing[:2]
    whole, pieces, bytewise = RfbClient(), RfbClient(), RfbClient()
    expected = whole.receive_data(stream)
    heard: list[Event] = []
    rest, i = memoryview(stream), 0
    while rest:
        heard += pieces.receive_data(rest[: cuts[i % len(cuts)]])
        rest, i = rest[cuts[i % len(cuts)] :], i + 1
    singly = [event for n in range(len(stream)) for event in bytewise.receive_data(stream[n : n + 1])]
    assert heard == expected == singly
    assert (pieces.frame.pixels == whole.frame.pixels).all() and (bytewise.frame.pixels == whole.frame.pixels).all()
    assert pieces.data_to_send() == whole.data_to_send()


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused_by_name(data: bytes, greeted: bool) -> None:
    client = connected(8, 8, RfbLimits(side=300, pixels=90_000)) if greeted else RfbClient()
    try:
        client.receive_data(data)
    except RfbError as refusal:
        assert refusal.message
    assert len(client.frame.pixels.tobytes()) <= 90_000 * 4
