"""What one may do who came by the view-only link: the one place that says so. Band: shell.

Both ways in are seen to here, requests and the commands on the WebSocket. What is not named here is refused, so that
what will be added one day is refused too until somebody names it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction
from pommel.wire.viewer import ViewerStream
from pommel.wire.wishes import is_wish

_MOST_INPUT = 1 << 16
_PATHS = re.compile(r"(?:/at/[^/]+)?/(?:static/[^/]*|manifest\.webmanifest|kvm|api/status)?")


def may_look(method: str, path: str) -> bool:
    """Whether this request changes nothing and shows the screen alone, not the clipboard. `path` is as it came."""
    return method in ("GET", "HEAD") and _PATHS.fullmatch(path) is not None


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
