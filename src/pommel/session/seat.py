"""One viewer, which may be served by several agents one after the other. Band: shell.

The viewer's connection stays when the agent changes. Its messages go to the present agent, and are dropped while there
is none. Three of its messages are read here: its abilities and how it wants its pictures, so that the next agent gets
them too; and how many pictures it has drawn, because the viewer counts all pictures of its connection, and an agent
only its own.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from pommel.session.framing import FrameDecoder, FrameKind, decode_close, encode, encode_taken
from pommel.tasks import together
from pommel.wire.control import control
from pommel.wire.numbers import Number, number_of
from pommel.wire.viewer import ViewerStream

_READ_BYTES = 1 << 18
_POLL_S = 0.004
# Longer than an endpoint's own patience (`screen.endpoint`), which has the better words; this one sees to it that we
# hear them.
_STALL_S = 35.0
_POLICY = 1008  # RFC 6455, 7.4.1
_COMMAND = struct.Struct(">HH")  # every KVM command's number and length (wire.codec)
_COUNT = struct.Struct(">HHI")  # a Shown
_COUNTS = 2**32
_PICTURES = (Number.PICTURE, Number.VIDEO)


class Seat:
    """One viewer of the session's screen."""

    def __init__(self, stream: ViewerStream) -> None:
        self.stream = stream
        self._writer: asyncio.StreamWriter | None = None
        self._wishes: dict[int, bytes] = {}
        # The number of pictures that were passed on in all, and those by earlier agents.
        self._pictures = self._earlier = 0

    async def read(self) -> None:
        """Pass on the viewer's messages until it disconnects."""
        async for data in self.stream.messages():
            told = self._for_agent(data)
            if self._writer is not None and told:
                await self._pass_on(self._writer, told)

    async def show_line(self, text: str) -> None:
        """Show a line over the viewer's picture.

        Raises:
            ConnectionError: it has disconnected.
        """
        await self.stream.send_text(control({"type": "console", "msg": text}))

    async def show(self, connection: socket.socket) -> tuple[int, str] | None:
        """Pass on an agent's messages; return how the agent closed the stream, or None if the stream just ended.

        Raises:
            ConnectionError: the viewer has disconnected.
            ProtocolError: the agent's messages are invalid.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise
        for kind in (Number.ABILITIES, Number.COMPRESSION):
            if kind in self._wishes:
                writer.write(encode(FrameKind.MESSAGE, self._wishes[kind]))
        self.serve(writer)
        flow = Flow(self.stream, writer)
        try:
            async with together() as tasks:
                counting = tasks.create_task(flow.count())
                try:
                    return await self.pump(reader, flow)
                finally:
                    counting.cancel()
        finally:
            self._writer = None
            writer.transport.abort()  # bytes that an agent does not read any more are useless to it

    def serve(self, writer: asyncio.StreamWriter) -> None:
        """Let another agent serve from now on; it gets the viewer's messages by `writer`."""
        self._earlier = self._pictures
        self._writer = writer

    async def pump(self, reader: asyncio.StreamReader, flow: Flow) -> tuple[int, str] | None:
        """Pass on an agent's messages until it closes the viewer's stream; otherwise as `show`."""
        decoder = FrameDecoder()
        while data := await _received(reader):
            for kind, payload in decoder.receive(data):
                if kind is FrameKind.CLOSE:
                    return decode_close(payload)
                try:
                    async with asyncio.timeout(_STALL_S):
                        await self._hand(kind, payload)
                except TimeoutError:
                    return _POLICY, f"this viewer has not read for {_STALL_S:g} s"
                flow.handed(len(payload))
        return None

    async def _hand(self, kind: FrameKind, payload: bytes) -> None:
        if kind is FrameKind.MESSAGE:
            self._pictures += number_of(payload) in _PICTURES
            await self.stream.send(payload)
        elif kind is FrameKind.TEXT:
            await self.stream.send_text(payload.decode(errors="replace"))

    def _for_agent(self, data: bytes) -> bytes:
        """The message for the present agent; empty if it was about an earlier agent."""
        kind, length = _COMMAND.unpack_from(data) if len(data) >= _COMMAND.size else (0, 0)
        if length != len(data):
            return data
        if kind in (Number.ABILITIES, Number.COMPRESSION):
            self._wishes[kind] = data
        if kind == Number.SHOWN and length == _COUNT.size:
            own = (_COUNT.unpack(data)[2] - self._earlier) % _COUNTS
            return _COUNT.pack(kind, length, own) if 0 < own < _COUNTS // 2 else b""
        return data

    @staticmethod
    async def _pass_on(writer: asyncio.StreamWriter, data: bytes) -> None:
        try:
            writer.write(encode(FrameKind.MESSAGE, data))
            await writer.drain()
        except ConnectionError:
            pass  # that agent has ended; the next one begins without any key held down


class Flow:
    """Tells the agent how many of its bytes were sent to the viewer, because the engine must wait for the viewer."""

    def __init__(self, stream: ViewerStream, writer: asyncio.StreamWriter) -> None:
        self._stream = stream
        self._writer = writer
        self._handed = self._taken = 0
        self._more = asyncio.Event()

    def handed(self, count: int) -> None:
        """Count bytes that were given to the viewer's stream."""
        self._handed += count
        self._more.set()

    async def count(self) -> None:
        """Tell the agent, forever."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._taken < self._handed:
                self._send_taken(self._handed - self._stream.unsent_bytes())
                if self._taken < self._handed:
                    await asyncio.sleep(_POLL_S)

    def _send_taken(self, taken: int) -> None:
        if taken > self._taken:
            self._taken = taken
            self._writer.write(encode_taken(taken))


async def _received(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_READ_BYTES)
    except ConnectionError:
        return b""
