"""The one place that limits a view-only viewer to looking. Band: core, no I/O.

The code that admits a view-only viewer wraps its connection in `Looking`: the console for its view-only link,
MeshCentral's tunnel for the server's rights. The code that serves the viewer does not need to know about it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction
from pommel.wire.viewer import ViewerStream
from pommel.wire.wishes import is_wish

_MOST_INPUT = 1 << 16


class Looking:
    """`stream` without the viewer's input. WireError, from `messages`: it sent an invalid KVM command."""

    def __init__(self, stream: ViewerStream) -> None:
        self._stream = stream
        self.send = stream.send
        self.send_text = stream.send_text
        self.unsent_bytes = stream.unsent_bytes
        self.close = stream.close
        # Only some streams have this (`screen.delivery`).
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
