"""One viewer's stream, at the agent's end. Band: shell.

It is a `screen.seams.ViewerStream`. Sent bytes count as unsent until the daemon says that they have left for the
viewer. So the engine sends as fast as the viewer reads, not as fast as the daemon does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from pommel.errors import ProtocolError
from pommel.session.framing import FrameDecoder, FrameKind, decode_taken, encode, encode_close

_READ_BYTES = 1 << 16
_GOODBYE_S = 1.0


class SessionStream:
    """A viewer, from the agent's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sent = self._taken = 0

    @classmethod
    async def over(cls, connection: socket.socket) -> SessionStream:
        """Make a stream from one end of a socket pair; the stream closes it."""
        connection.setblocking(False)
        try:
            return cls(*await asyncio.open_unix_connection(sock=connection))
        except BaseException:
            connection.close()
            raise

    async def send(self, data: bytes) -> None:
        """Send one message. ConnectionError: the viewer has disconnected."""
        await self._send(FrameKind.MESSAGE, data)

    async def send_text(self, text: str) -> None:
        """Send a control text; otherwise as `send`."""
        await self._send(FrameKind.TEXT, text.encode())

    def unsent_bytes(self) -> int:
        """The number of sent bytes that the daemon has not yet sent to the viewer."""
        return self._sent - self._taken

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the viewer's messages until it disconnects, or its daemon sends invalid data."""
        decoder = FrameDecoder()
        while data := await self._received():
            for kind, payload in decoder.receive(data):
                if kind is FrameKind.TAKEN:
                    self._taken = min(max(decode_taken(payload), self._taken), self._sent)
                elif kind is FrameKind.MESSAGE:
                    yield payload
                else:
                    raise ProtocolError(f"a daemon says {kind.name} to a viewer's stream")

    async def close(self, code: int, reason: str) -> None:
        """Disconnect the viewer with a WebSocket close code; wait at most a second until it has read it."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                self._writer.write(encode_close(code, reason))
                self._writer.close()
                await self._writer.wait_closed()
        self.drop()

    def drop(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    async def _send(self, kind: FrameKind, payload: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the viewer has disconnected")
        self._writer.write(encode(kind, payload))
        self._sent += len(payload)
        await self._writer.drain()

    async def _received(self) -> bytes:
        try:
            return await self._reader.read(_READ_BYTES)
        except ConnectionError:
            return b""
