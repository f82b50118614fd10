"""One viewer, whoever serves it at the moment. Band: shell.

The viewer's connection stays while agents come and go; its messages go to the agent of the moment, and nowhere while
there is none. Of what it says three things are looked at: what it can do and how it wants its pictures, so that the
next agent knows, and how many pictures it has drawn. It counts those of its connection, an agent only its own.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from pommel.session.framing import FrameDecoder, FrameKind, decode_close, encode, encode_taken
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
    """A viewer's place before the session's screen."""

    def __init__(self, stream: ViewerStream) -> None:
        self.stream = stream
        self._writer: asyncio.StreamWriter | None = None
        self._wishes: dict[int, bytes] = {}
        # Pictures that were passed on in all, and by earlier agents.
        self._pictures = self._earlier = 0

    async def read(self) -> None:
        """Pass on what the viewer sends until it leaves."""
        async for data in self.stream.messages():
            told = self._for_agent(data)
            if self._writer is not None and told:
                await self._pass_on(self._writer, told)

    async def say(self, text: str) -> None:
        """Put a line before the viewer, over its picture.

        Raises:
            ConnectionError: it has gone.
        """
        await self.stream.send_text(control({"type": "console", "msg": text}))

    async def show(self, connection: socket.socket) -> tuple[int, str] | None:
        """Show the viewer what comes from an agent; return how that parted from it, or None if the stream just ended.

        Raises:
            ConnectionError: the viewer has gone.
            ProtocolError: the agent speaks nonsense.
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
            async with asyncio.TaskGroup() as tasks:
                counting = tasks.create_task(flow.count())
                try:
                    return await self.pump(reader, flow)
                finally:
                    counting.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            self._writer = None
            writer.transport.abort()  # what an agent that does not read would leave waiting is of no use to it

    def serve(self, writer: asyncio.StreamWriter) -> None:
        """Have another agent serve from now on; it is told by `writer` what the viewer says."""
        self._earlier = self._pictures
        self._writer = writer

    async def pump(self, reader: asyncio.StreamReader, flow: Flow) -> tuple[int, str] | None:
        """Pass on what an agent says until it parts from the viewer; otherwise as `show`."""
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
        """What the agent of the moment is told of a message; nothing, if that was about an earlier one."""
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
            pass  # that agent has gone; the next one begins with nothing held down


class Flow:
    """Tell the agent how much of what it sent has left for the viewer: the engine waits for that, not for us."""

    def __init__(self, stream: ViewerStream, writer: asyncio.StreamWriter) -> None:
        self._stream = stream
        self._writer = writer
        self._handed = self._taken = 0
        self._more = asyncio.Event()

    def handed(self, count: int) -> None:
        """Take note of so many bytes that were given to the viewer's stream."""
        self._handed += count
        self._more.set()

    async def count(self) -> None:
        """Tell the agent, for ever."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._taken < self._handed:
                self._tell(self._handed - self._stream.unsent_bytes())
                if self._taken < self._handed:
                    await asyncio.sleep(_POLL_S)

    def _tell(self, taken: int) -> None:
        if taken > self._taken:
            self._taken = taken
            self._writer.write(encode_taken(taken))


async def _received(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_READ_BYTES)
    except ConnectionError:
        return b""
