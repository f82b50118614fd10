"""Input of a MeshCentral viewer, converted to that of Pommel's own page. Band: app.

The daemon of the reversed socket forwards a viewer's commands to its agent unchanged. MeshCentral's wheel notches have
another length than Pommel's, so they are converted here first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction
from pommel.wire.mouse import NOTCH
from pommel.wire.viewer import ViewerStream

_MOST_INPUT = 1 << 16


class Hands:
    """A stream like `stream`, with converted wheel commands. `messages` raises WireError for a wrong KVM command."""

    def __init__(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        self._stream = stream
        self._notch = wheel_notch
        self._turned = 0  # the rest that is less than one unit, for the next command
        self.send = stream.send
        self.send_text = stream.send_text
        self.unsent_bytes = stream.unsent_bytes
        self.close = stream.close

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the commands, one at a time."""
        decoder = Decoder(Direction.TO_ENDPOINT, max_size=_MOST_INPUT)
        async for data in self._stream.messages():
            decoder.receive_data(data)
            for command in decoder.events():
                yield encode(self._passed(command))

    def _passed(self, command: wire.Command) -> wire.Command:
        if not isinstance(command, wire.MouseWheel):
            return command
        self._turned += command.delta * NOTCH
        delta = int(self._turned / self._notch)
        self._turned -= delta * self._notch
        return replace(command, delta=delta)
