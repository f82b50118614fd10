"""An admitted agent, from the daemon's side. Band: shell.

For each viewer, the daemon sends one byte and one end of a socket pair on the agent's connection. From then on, each
viewer has its own stream, so that a slow viewer delays no other. The agent answers with TEXTs (`framing`): an empty one
means that it is ready, another one says why it cannot serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from pommel.errors import ProtocolError, StateError
from pommel.session.framing import FrameDecoder, FrameKind
from pommel.session.peer import Peer

VIEWER = b"V"
_MAX_TROUBLE = 1024


class Attached:
    """An agent. `ready` and `trouble` are its last messages; `gone` is set when it has disconnected."""

    def __init__(self, connection: socket.socket, peer: Peer) -> None:
        self.peer = peer
        self.ready = False
        self.trouble = ""
        self.gone = asyncio.Event()
        self._connection = connection

    async def run(self, on_change: Callable[[], None]) -> None:
        """Read its messages until it disconnects or `close` is called; `on_change` is called after each message.

        Raises:
            ProtocolError: its messages are invalid.
        """
        decoder, loop = FrameDecoder(max_payload=_MAX_TROUBLE), asyncio.get_running_loop()
        try:
            while data := await self._receive(loop):
                for frame in decoder.receive(data):
                    self._hear(frame.kind, frame.payload)
                    on_change()
        finally:
            self.gone.set()
            on_change()

    def open_viewer(self) -> socket.socket:
        """Give the agent one end of a new stream and return the other.

        Raises:
            StateError: it has disconnected, or accepts nothing.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._connection, [VIEWER], [theirs.fileno()])
            except OSError as failure:
                ours.close()
                raise StateError(f"the session's agent accepts no viewers: {failure.strerror}") from failure
        ours.setblocking(False)
        return ours

    def close(self) -> None:
        """Disconnect it: it sees the end of the stream, and ends."""
        self.gone.set()
        with contextlib.suppress(OSError):  # it has already disconnected
            self._connection.shutdown(socket.SHUT_RDWR)

    async def _receive(self, loop: asyncio.AbstractEventLoop) -> bytes:
        try:
            return await loop.sock_recv(self._connection, 4096)
        except ConnectionError:
            return b""

    def _hear(self, kind: FrameKind, payload: bytes) -> None:
        if kind is not FrameKind.TEXT:
            raise ProtocolError(f"an agent says {kind.name} instead of TEXT")
        self.trouble = payload.decode(errors="replace")
        self.ready = not self.trouble
