"""Any bytes, in any pieces, become the same events and pixels or one RfbError that stays; all within the limits.

python fuzz/rfb.py SECONDS [SEED]      mutates what QEMU and other servers say; stops with the bytes that broke it
"""

from __future__ import annotations

import random
import struct
import sys
import time
from collections.abc import Iterable, Iterator

from pommel.errors import RfbError
from pommel.screen.rfb import Cursor, Event, Limits, Ready, Resized, RfbClient, Updated

LIMITS = Limits(side=1024, pixels=720 * 400, cursor_side=16, text=1 << 12, reason=64)

# QEMU 7.2 to a client that asks for what ours does, recorded: the greeting, sizes, key and lamp extensions.
QEMU_HELLO = bytes.fromhex("524642203030332e3030380a0101 00000000")
QEMU_INIT = bytes.fromhex("02d001902018000100ff00ff00ff1008000000000000000451454d55")
QEMU_TOLD = [
    bytes.fromhex("000000010000000002d00190fffffefe"),
    bytes.fromhex("000000010000000000010001fffffefb00"),
    bytes.fromhex("000000010000000002d00190fffffecc01000000000000000000000002d0019000000000"),
]
_NOTABLE = (0, 1, 2, 3, 4, 5, 0x10, 0x7F, 0x80, 0xFE, 0xFF)
_Outcome = tuple[list[Event], str | None, bytes]


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
    init = QEMU_INIT if chance.random() < 0.1 else struct.pack(">HH16xI", 16, 12, 3) + b"fuz"
    data = bytearray(QEMU_HELLO + init + b"".join(chance.choice(MESSAGES) for _ in range(chance.randint(0, 6))))
    low = 0 if chance.random() < 0.2 else len(QEMU_HELLO) + len(init)
    for _ in range(chance.choice((0, 1, 1, 2, 4, 8))):
        at = chance.randint(min(low, len(data)), len(data))
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] = chance.choice(_NOTABLE)
            case 1 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at : at + chance.randint(1, 6)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 6))
            case 4:
                data[at:at] = data[at : at + chance.randint(1, 40)]
    return bytes(data)


def pieces(chance: random.Random, data: bytes) -> Iterator[bytes]:
    """Cut `data` anywhere."""
    at = 0
    while at < len(data):
        size = chance.choice((1, 1, 2, 3, 7, 50, 1000))
        yield data[at : at + size]
        at += size


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
    return events, refusal, client.frame.pixels.tobytes()


def expect(holds: bool, otherwise: str) -> None:
    """Raise an AssertionError that says `otherwise`, unless it holds."""
    if not holds:
        raise AssertionError(otherwise)


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
    if "went away" in refusal:
        return
    try:
        client.receive_data(b"\0")
    except RfbError as again:
        expect(again.message == refusal, "another refusal the second time")
    else:
        raise AssertionError(f"taken back: {refusal}")


def check(chance: random.Random, data: bytes) -> None:
    """Raise an AssertionError if `data` breaks the invariant."""
    whole = outcome([data])
    cut = outcome(pieces(chance, data))
    # What came before a refusal within one piece is not told of: it is too late for it.
    told = len(cut[0]) if whole[1] is None or "went away" in whole[1] else len(whole[0])
    expect(whole[0] == cut[0][:told] and whole[1:] == cut[1:], "in pieces it is something else")


def run(seconds: float, seed: int) -> int:
    """Try streams for a while; return how many."""
    chance, tried, end = random.Random(seed), 0, time.monotonic() + seconds  # noqa: S311
    while time.monotonic() < end:
        data = stream(chance)
        try:
            check(chance, data)
        except Exception:
            print(f"broken by, seed {seed}: {data.hex()}", file=sys.stderr)
            raise
        tried += 1
    return tried


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    print(f"{run(float(sys.argv[1]), chosen)} streams, none broke it (seed {chosen})")
