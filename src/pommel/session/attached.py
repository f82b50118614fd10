"""An agent that was let in, as the daemon has it. Band: shell.

On the connection that it was let in by go one byte and one end of a socket pair for each viewer; from there on each
viewer has a stream of its own, so that a slow one holds up nobody. Back come TEXTs (`framing`): an empty one says that
the agent is ready, any other why it cannot serve.
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
    """An agent. `ready` and `trouble` are what it has said last, `gone` is set when it has left."""

    def __init__(self, connection: socket.socket, peer: Peer) -> None:
        self.peer = peer
        self.ready = False
        self.trouble = ""
        self.gone = asyncio.Event()
        self._connection = connection

    async def run(self, on_change: Callable[[], None]) -> None:
        """Hear what it says until it leaves or `close` is called; `on_change` after each word.

        Raises:
            ProtocolError: it speaks nonsense.
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
        """Hand the agent one end of a new stream and return the other.

        Raises:
            StateError: it has left, or takes nothing.
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
        """Part from it: it sees the end of the stream, and leaves."""
        self.gone.set()
        with contextlib.suppress(OSError):  # it has left already
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
