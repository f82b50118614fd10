"""The messages between the daemon and an agent for one viewer. Band: core, no I/O.

    u8 kind | u32 length | payload     big-endian; 16 MiB and a header at most

MESSAGE is one message from or for the viewer; its KVM commands are not parsed here. TEXT is a control text in UTF-8,
CLOSE is `u16 code | reason`, TAKEN is a u64: the number of bytes of all payloads that were sent to the viewer.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from enum import IntEnum
from typing import NamedTuple

from pommel.errors import ProtocolError

MAX_PAYLOAD = (1 << 24) + 16
_HEADER = struct.Struct(">BI")
_CODE = struct.Struct(">H")
_COUNT = struct.Struct(">Q")


class FrameKind(IntEnum):
    """The kind of a frame."""

    MESSAGE = 1
    TEXT = 2
    CLOSE = 3
    TAKEN = 4


class SessionFrame(NamedTuple):
    """One frame."""

    kind: FrameKind
    payload: bytes


def encode(kind: FrameKind, payload: bytes) -> bytes:
    """Make one frame's bytes.

    Raises:
        ProtocolError: it is too long.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolError(f"a frame of {len(payload)} bytes is too long")
    return _HEADER.pack(kind, len(payload)) + payload


def encode_close(code: int, reason: str) -> bytes:
    """Make a CLOSE."""
    return encode(FrameKind.CLOSE, _CODE.pack(code) + reason.encode())


def decode_close(payload: bytes) -> tuple[int, str]:
    """Parse a CLOSE: WebSocket close code and reason.

    Raises:
        ProtocolError: it has no code.
    """
    if len(payload) < _CODE.size:
        raise ProtocolError("a close without a code")
    (code,) = _CODE.unpack_from(payload)
    return code, payload[_CODE.size :].decode(errors="replace")


def encode_taken(count: int) -> bytes:
    """Make a TAKEN."""
    return encode(FrameKind.TAKEN, _COUNT.pack(count))


def decode_taken(payload: bytes) -> int:
    """Parse a TAKEN.

    Raises:
        ProtocolError: it is not a u64.
    """
    if len(payload) != _COUNT.size:
        raise ProtocolError("a count of another size than 8 bytes")
    return int(_COUNT.unpack(payload)[0])


class FrameDecoder:
    """Makes frames from bytes in parts of any size."""

    def __init__(self, *, max_payload: int = MAX_PAYLOAD) -> None:
        self._max = max_payload
        self._buffer = bytearray()
        self._whole: list[SessionFrame] = []
        self._refusal: ProtocolError | None = None
        self._parser = self._parse()
        next(self._parser)

    def receive(self, data: bytes) -> list[SessionFrame]:
        """Take bytes and return the completed frames.

        Raises:
            ProtocolError: these are not frames; later calls raise the same error.
        """
        if self._refusal is not None:
            raise self._refusal
        self._buffer += data
        try:
            self._parser.send(None)
        except ProtocolError as refusal:
            self._refusal = refusal
            raise
        whole, self._whole = self._whole, []
        return whole

    def _parse(self) -> Generator[None, None, None]:
        while True:
            kind, length = _HEADER.unpack((yield from self._read(_HEADER.size)))
            if kind not in FrameKind.__members__.values() or length > self._max:
                raise ProtocolError(f"not a Pommel frame: kind {kind}, {length} bytes")
            payload = yield from self._read(length)
            self._whole.append(SessionFrame(FrameKind(kind), payload))

    def _read(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
