"""A viewer that may only look: the one place that holds it to that. Band: core, no I/O.

Whoever lets in a viewer that may only look wraps its connection in `Looking`: the console for its view-only link,
MeshCentral's tunnel for the server's rights. What serves the viewer need not know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction
from pommel.wire.viewer import ViewerStream
from pommel.wire.wishes import is_wish

_MOST_INPUT = 1 << 16


class Looking:
    """`stream`, but for what it sends. WireError, from `messages`: it sent what is no KVM command."""

    def __init__(self, stream: ViewerStream) -> None:
        self._stream = stream
        self.send = stream.send
        self.send_text = stream.send_text
        self.unsent_bytes = stream.unsent_bytes
        self.close = stream.close
        # What only some streams can (`screen.delivery`).
        if (call_when_drained := getattr(stream, "call_when_drained", None)) is not None:
            self.call_when_drained = call_when_drained

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the viewer's wishes, one command at a time."""
        decoder = Decoder(Direction.TO_ENDPOINT, max_size=_MOST_INPUT)
        async for data in self._stream.messages():
            decoder.receive_data(data)
            for command in decoder.events():
                if is_wish(command):
                    yield encode(command)
