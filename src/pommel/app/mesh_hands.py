"""A MeshCentral viewer's hands as our own page's would be, for who serves none but such. Band: app.

The daemon of the reversed socket passes on to its agent what a viewer sends. Here it is seen to before that a notch of
the wheel is as long as everybody else's.
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
    """`stream`, but for what it sends. WireError, from `messages`: it sent what is no KVM command."""

    def __init__(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        self._stream = stream
        self._notch = wheel_notch
        self._turned = 0  # in parts of a notch that have not been passed on
        self.send = stream.send
        self.send_text = stream.send_text
        self.unsent_bytes = stream.unsent_bytes
        self.close = stream.close

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what is passed on, one command at a time."""
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
