"""KVM commands to bytes and back. Band: core, no I/O.

Every command is `u16 type | u16 length | body`, big-endian; the length includes the header. A longer command is sent
in a JUMBO: `u16 27 | u16 8 | u32 N | u16 type | u16 0 | body`; N counts from the inner header on.
from the inner header.

`encode` makes one command. `Decoder` takes a stream in parts of any size and returns its commands. It is one
generator in the order of the layout, and waits in `_read_exact` for missing bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator

from pommel.errors import WireError
from pommel.wire import bodies
from pommel.wire.messages import Command, Direction
from pommel.wire.numbers import Number

MAX_LENGTH = 0xFFFF
MAX_JUMBO = 0xFFFFFF  # MeshCentral's viewer reads only the low 24 bits of N

_HEADER = struct.Struct(">HH")
_JUMBO_HEADER = struct.Struct(">HHI")
_N = struct.Struct(">I")


def encode(message: Command) -> bytes:
    """The bytes of one command, in a JUMBO if it is longer than 65535.

    Raises:
        WireError: a field's value is too large, or the whole is 16 MiB or more.
    """
    try:
        kind, body = bodies.pack(message)
        return _framed(kind, body)
    except (struct.error, UnicodeEncodeError) as misfit:
        raise WireError(f"{type(message).__name__} does not fit the wire: {misfit}") from None


class Decoder:
    """Commands from a stream of bytes in parts of any size.

    Give bytes with `receive_data`, the end with `receive_eof`, and read completed commands with `events`. After
    wrong bytes the decoder stays failed: nothing after that point can be trusted.
    """

    def __init__(self, direction: Direction, *, max_size: int = MAX_JUMBO) -> None:
        self._unpackers = bodies.TO_ENDPOINT if direction is Direction.TO_ENDPOINT else bodies.TO_VIEWER
        self._max_size = max_size
        self._buffer = bytearray()
        self._whole: list[Command] = []
        self._failure: WireError | None = None
        self._inside = False  # has the current command begun?
        self._parser = self._parse()
        next(self._parser)

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; never raises (see `events`). After a failure, bytes are dropped."""
        if self._failure is not None:
            return
        self._buffer += data
        try:
            self._parser.send(None)
        except WireError as failure:
            self._fail(failure)

    def receive_eof(self) -> None:
        """Note that no bytes will follow. An end in the middle of a command is an error (see `events`)."""
        if self._failure is None and (self._inside or self._buffer):
            self._fail(WireError("the stream ended in the middle of a command"))

    def events(self) -> Iterator[Command]:
        """Yield each completed command once, in order.

        Raises:
            WireError: after the last good command, if wrong bytes followed it. Again at each further
            call.
        """
        while self._whole:
            yield self._whole.pop(0)
        if self._failure is not None:
            raise self._failure

    def _fail(self, failure: WireError) -> None:
        self._failure = failure
        self._buffer.clear()
        self._parser.close()

    def _parse(self) -> Generator[None, None, None]:
        while True:
            self._inside = False
            header = yield from self._read_exact(_HEADER.size)
            self._inside = True
            kind, body = yield from self._read_command(*_HEADER.unpack(header))
            self._whole.append(bodies.unpack(self._unpackers, kind, body))

    def _read_command(self, kind: int, length: int) -> Generator[None, None, tuple[int, bytes]]:
        if kind == Number.JUMBO:
            return (yield from self._read_jumbo(length))
        if length < _HEADER.size:
            raise WireError(f"a command of type {kind} says it is {length} bytes long; 4 is the least")
        if length > self._max_size:
            raise WireError(f"a command of {length} bytes is over the limit of {self._max_size}")
        return kind, (yield from self._read_exact(length - _HEADER.size))

    def _read_jumbo(self, length: int) -> Generator[None, None, tuple[int, bytes]]:
        if length != _JUMBO_HEADER.size:
            raise WireError(f"a JUMBO says its header is {length} bytes long; it is 8")
        (n,) = _N.unpack((yield from self._read_exact(_N.size)))
        if n < _HEADER.size or n > self._max_size:
            raise WireError(f"a JUMBO of {n} bytes; allowed are {_HEADER.size} to {self._max_size}")
        inner = yield from self._read_exact(_HEADER.size)
        kind, inner_length = _HEADER.unpack(inner)
        if kind == Number.JUMBO or inner_length not in (0, n):
            raise WireError(f"a JUMBO of {n} bytes holds type {kind} with a length of {inner_length}")
        return kind, (yield from self._read_exact(n - _HEADER.size))

    def _read_exact(self, n: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < n:
            yield
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data


def _framed(kind: int, body: bytes) -> bytes:
    length = _HEADER.size + len(body)
    if length <= MAX_LENGTH and kind != Number.JUMBO:
        return _HEADER.pack(kind, length) + body
    if length > MAX_JUMBO or kind == Number.JUMBO:
        raise WireError(f"a command of type {kind} and {length} bytes cannot be sent; the most is {MAX_JUMBO}")
    return _JUMBO_HEADER.pack(Number.JUMBO, _JUMBO_HEADER.size, length) + _HEADER.pack(kind, 0) + body
