"""What an RFB server says (`screen.rfb`), from what QEMU and other servers say."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable

import numpy as np

from fuzz.engine import Fuzzer, expect, mutated, pieces
from pommel.errors import RfbError
from pommel.screen.frame import Pixels
from pommel.screen.rfb import Cursor, Event, Ready, Resized, RfbClient, RfbLimits, Updated

LIMITS = RfbLimits(side=1024, pixels=720 * 400, cursor_side=16, text=1 << 12, reason=64)

# QEMU 7.2 to a client that asks for what ours does, recorded: the greeting, sizes, key and lamp extensions.
QEMU_HELLO = bytes.fromhex("524642203030332e3030380a0101 00000000")
QEMU_INIT = bytes.fromhex("02d001902018000100ff00ff00ff1008000000000000000451454d55")
QEMU_TOLD = [
    bytes.fromhex("000000010000000002d00190fffffefe"),
    bytes.fromhex("000000010000000000010001fffffefb00"),
    bytes.fromhex("000000010000000002d00190fffffecc01000000000000000000000002d0019000000000"),
]
_LARGE = 0.02  # of the inputs have QEMU's own picture, which takes fifty times as long as a small one
_Outcome = tuple[list[Event], str | None, Pixels]


def _rect(x: int, y: int, width: int, height: int, encoding: int, data: bytes = b"") -> bytes:
    return struct.pack(">HHHHi", x, y, width, height, encoding) + data


def _update(*rects: bytes) -> bytes:
    return struct.pack(">BxH", 0, len(rects)) + b"".join(rects)


def _raw(x: int, y: int, width: int, height: int) -> bytes:
    return _rect(x, y, width, height, 0, bytes(range(256)) * (width * height * 4 // 256 + 1))[: 12 + width * height * 4]


MESSAGES = [
    *QEMU_TOLD,
    _update(_raw(0, 0, 16, 12)),
    _update(_raw(3, 2, 5, 4), _raw(0, 11, 16, 1), _raw(0, 0, 0, 9)),
    _update(_rect(2, 2, 8, 8, 1, b"\0\1\0\1"), _raw(15, 11, 1, 1)),
    _update(_rect(0, 0, 20, 9, -223)),
    _update(_rect(0, 0, 9, 20, -308, b"\2\0\0\0" + bytes(32)), _raw(0, 0, 9, 2)),
    _update(_rect(1, 1, 9, 3, -239, bytes(108) + bytes(6)), _rect(0, 0, 2, 2, -314, bytes(4) + b"\xff" * 16)),
    b"\x02",
    b"\x03\0\0\0\0\0\0\x05hello",
]


def stream(chance: random.Random) -> bytes:
    """Make what a server may say: a greeting, some messages, with a few bytes changed, lost, doubled or put in."""
    init = QEMU_INIT if chance.random() < _LARGE else struct.pack(">HH16xI", 16, 12, 3) + b"fuz"
    data = bytearray(QEMU_HELLO + init + b"".join(chance.choice(MESSAGES) for _ in range(chance.randint(0, 6))))
    low = 0 if chance.random() < 0.2 else len(QEMU_HELLO) + len(init)
    return bytes(mutated(chance, data, MESSAGES, low=min(low, len(data))))


def outcome(parts: Iterable[bytes]) -> _Outcome:
    """Read to the end; return the events, the words of the refusal, if it was one, and the picture."""
    client, events = RfbClient(LIMITS), list[Event]()
    refusal = None
    try:
        for part in parts:
            for event in client.receive_data(part):
                events.append(event)
                check_event(client, event)
        client.receive_eof()
    except RfbError as failure:
        refusal = failure.message
        check_it_stays(client, refusal)
    expect(client.frame.pixels.size <= LIMITS.pixels * 4, "the frame is larger than allowed")
    return events, refusal, client.frame.pixels


def check_event(client: RfbClient, event: Event) -> None:
    """See that an event tells of nothing outside the picture or the limits."""
    match event:
        case Ready(size) | Resized(size):
            expect(max(size) <= LIMITS.side and size.width * size.height <= LIMITS.pixels, "a picture too large")
        case Updated(damage):
            expect(all(max(rect.right, rect.bottom) <= LIMITS.side for rect in damage), "damage outside")
        case Cursor(_, picture):
            small = max(picture.width, picture.height) <= LIMITS.cursor_side
            expect(small and len(picture.rgba) == picture.width * picture.height * 4, "a pointer too large")


def check_it_stays(client: RfbClient, refusal: str) -> None:
    """See that what was refused once is refused for good, in the same words, unless it only ended too early."""
    if "closed the connection" in refusal:
        return
    try:
        client.receive_data(b"\0")
    except RfbError as again:
        expect(again.message == refusal, "another refusal the second time")
    else:
        raise AssertionError(f"taken back: {refusal}")


def check(data: bytes) -> None:
    """Raise an AssertionError if `data` breaks the law."""
    whole = outcome([data])
    cut = outcome(pieces(data))
    # What came before a refusal within one piece is not told of: it is too late for it.
    told = len(cut[0]) if whole[1] is None or "closed the connection" in whole[1] else len(whole[0])
    expect(whole[0] == cut[0][:told] and whole[1] == cut[1], "in pieces it is something else")
    # By the pixel, which is four times as fast as by the byte.
    expect(np.array_equal(whole[2].view(np.uint32), cut[2].view(np.uint32)), "in pieces it is another picture")


_LAW = "in any pieces the same events and pixels or one RfbError that stays; all within the limits"
FUZZERS = [Fuzzer("rfb", _LAW, stream, check, room_bytes=8 << 20)]
