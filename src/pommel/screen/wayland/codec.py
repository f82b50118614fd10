"""Wayland's wire format: requests to bytes, bytes to events. Band: core, no I/O.

A message is the object's number, then size << 16 | opcode, then its arguments, each a multiple of 4 bytes, in the
host's byte order (wayland-protocol, "Wire Format"). File descriptors travel beside the bytes and are not handled here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pommel.errors import ProtocolError
from pommel.screen.wayland.tables import WaylandMessage

_HEAD = 8
_FIXED = 256
_U32, _I32 = struct.Struct("=I"), struct.Struct("=i")

Value = int | float | str | bytes


class Messages:
    """Cuts received bytes into messages: the object's number, the opcode and the body of each."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Add bytes, and give each complete message. ProtocolError: a size is impossible."""
        self._rest += data
        while len(self._rest) >= _HEAD:
            target, word = struct.unpack_from("=II", self._rest)
            size = word >> 16
            if size < _HEAD or size % 4:
                raise ProtocolError(f"the Wayland compositor sent a message of {size} bytes")
            if len(self._rest) < size:
                return
            body = bytes(self._rest[_HEAD:size])
            del self._rest[:size]
            yield target, word & 0xFFFF, body


def packed(target: int, opcode: int, body: bytes) -> bytes:
    """Return a message of `body` to the object `target`."""
    return struct.pack("=II", target, (_HEAD + len(body)) << 16 | opcode) + body


def written(letter: str, value: Value) -> bytes:
    """Return one argument's bytes; "h" has none."""
    match letter, value:
        case "i", int():
            return _I32.pack(value)
        case "f", int() | float():
            return _I32.pack(round(value * _FIXED))
        case "s", str():
            raw = value.encode() + b"\0"
            return _U32.pack(len(raw)) + raw + bytes(-len(raw) % 4)
        case "h", _:
            return b""
        case _, int():
            return _U32.pack(value)
    raise TypeError(f"{value!r} is no argument of the kind {letter}")


def read(message: WaylandMessage, body: bytes) -> tuple[Value, ...]:
    """Read an event's arguments, without its file descriptors.

    Raises:
        ProtocolError: the body is too short or too long.
    """
    values: list[Value] = []
    at = 0
    try:
        for letter, _ in message.arguments:
            if letter in "sa":
                (size,) = _U32.unpack_from(body, at)
                raw = body[at + 4 : at + 4 + size]
                at += 4 + size + -size % 4
                values.append(raw.rstrip(b"\0").decode(errors="replace") if letter == "s" else raw)
            elif letter != "h":
                values.append(_number(letter, body, at))
                at += 4
    except struct.error:
        at = -1
    if at != len(body):
        raise ProtocolError(f"the Wayland compositor sent a broken {message.name} of {len(body)} bytes")
    return tuple(values)


def _number(letter: str, body: bytes, at: int) -> Value:
    if letter in "if":
        (number,) = _I32.unpack_from(body, at)
        return number / _FIXED if letter == "f" else int(number)
    return int(_U32.unpack_from(body, at)[0])


def count_of_files(message: WaylandMessage) -> int:
    """Count the file descriptors that come with a message."""
    return sum(letter == "h" for letter, _ in message.arguments)
