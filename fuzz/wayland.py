"""What a Wayland compositor says (`screen.wayland.codec`), from messages as sway sends them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from fuzz.engine import Fuzzer, expect, mixed, pieces
from pommel.errors import ProtocolError
from pommel.screen.wayland.codec import Messages, Value, packed, read, written
from pommel.screen.wayland.tables import CORE, WaylandMessage

_EVENTS = [message for interface in CORE.values() for message in interface.events]
_SAMPLES: dict[str, Value] = {"i": -1, "u": 1 << 31, "f": 1.5, "s": "wl_output", "o": 3, "n": 9}
_MOST = 0xFFFF  # the wire's size of a message has 16 bits
_Outcome = tuple[list[tuple[int, int, bytes]], str | None]


def sample(message: WaylandMessage) -> bytes:
    """Return an event's body with a value of each kind."""
    values = (
        struct.pack("=IQ", 8, 7) if letter == "a" else written(letter, _SAMPLES.get(letter, 0))
        for letter, _ in message.arguments
    )
    return b"".join(values)


def outcome(parts: Iterable[bytes]) -> _Outcome:
    """Cut to the end; return the messages, and the words of the refusal, if it was one."""
    messages, told = Messages(), list[tuple[int, int, bytes]]()
    try:
        for part in parts:
            for one in messages.feed(part):
                told.append(one)
    except ProtocolError as refusal:
        return told, refusal.message
    return told, None


def check(data: bytes) -> None:
    """Raise an AssertionError if `data` breaks the law."""
    whole = outcome([data])
    expect(whole == outcome(pieces(data)), "in pieces it is something else")
    for _, opcode, body in whole[0]:
        expect(len(body) <= _MOST, "a message too large")
        for message in _EVENTS:
            if message.opcode == opcode:
                check_event(message, body)


def check_event(message: WaylandMessage, body: bytes) -> None:
    """See that an event is refused, or has all its arguments and none that is larger than its body."""
    try:
        values = read(message, body)
    except ProtocolError:
        return
    expect(len(values) == sum(letter != "h" for letter, _ in message.arguments), "another number of arguments")
    expect(all(len(one) <= len(body) for one in values if isinstance(one, bytes)), "an argument of more bytes")


_CORPUS = [packed(number, message.opcode, sample(message)) for number, message in enumerate(_EVENTS, 1)]
_LAW = "in any pieces the same messages or one ProtocolError; an event has all its arguments or is refused"
FUZZERS = [Fuzzer("wayland", _LAW, mixed(_CORPUS, joined=4), check)]
