"""A device for the tests: an endpoint's screen, and a memory of what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pommel.errors import StateError
from pommel.mesh.device import Notice, Question
from pommel.mesh.keys import DeviceIdentity, new_identity
from pommel.mesh.mesh_agent import DeviceFacts
from pommel.mesh.orders import Person, Power
from pommel.mesh.pings import is_picture
from pommel.screen.endpoint import Endpoint
from pommel.sftp.service import FileService
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder
from pommel.wire.looking import Looking
from pommel.wire.viewer import ViewerStream

FACTS = DeviceFacts("mac-one", "macOS 15.1", "0.1", has_console=True, macs=("52:54:00:12:34:56",))


@lru_cache(maxsize=4)
def identity(number: int = 0) -> DeviceIdentity:
    """An identity, made once for all tests: a key takes its time."""
    del number
    return new_identity()


class Overheard:
    """A viewer's stream, and a memory of what passed through it."""

    def __init__(self, stream: ViewerStream) -> None:
        self._stream = stream
        self.sent = self.pictures = 0  # bytes, and how many pictures are in them
        self.said: list[wire.Command] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send(self, data: bytes) -> None:
        self.sent += len(data)
        self.pictures += is_picture(data)
        await self._stream.send(data)

    async def messages(self) -> AsyncIterator[bytes]:
        decoder = Decoder(wire.Direction.TO_ENDPOINT)
        async for data in self._stream.messages():
            decoder.receive_data(data)
            self.said.extend(decoder.events())
            yield data


@dataclass
class Desk:
    """A device whose people answer as the test wishes."""

    endpoint: Endpoint | None = None
    now: DeviceFacts = FACTS
    answer: bool | None = None
    slow_s: float = 0.0
    clipboard: str | None = "in the guest"
    shelf: FileService | None = None
    done: list[object] = field(default_factory=list)
    watched: list[tuple[tuple[Person, ...], str | None]] = field(default_factory=list)
    served: list[bool] = field(default_factory=list)
    streams: list[Overheard] = field(default_factory=list)

    def rename(self, name: str) -> None:
        self.now = replace(self.now, name=name)

    def facts(self) -> DeviceFacts:
        return self.now

    async def serve(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        self.served.append(isinstance(stream, Looking))
        if self.endpoint is None:
            raise StateError("mac-one is not running")
        self.streams.append(Overheard(stream))
        await self.endpoint.serve(self.streams[-1], wheel_notch=wheel_notch)

    async def power(self, action: Power) -> None:
        self.done.append(action)

    async def wake(self, macs: Sequence[str]) -> None:
        self.done.append(tuple(macs))

    async def ask(self, question: Question) -> bool | None:
        self.done.append(question)
        await asyncio.sleep(self.slow_s)
        return self.answer

    async def notify(self, notice: Notice) -> None:
        self.done.append(notice)

    def watched_by(self, people: Sequence[Person], bar: str | None) -> None:
        self.watched.append((tuple(people), bar))

    def files(self) -> FileService | None:
        return self.shelf

    def noticed(self, person: Person, text: str) -> None:
        self.done.append(text)

    async def get_clipboard(self) -> str:
        if self.clipboard is None:
            raise StateError("no user is logged in there")
        return self.clipboard

    async def set_clipboard(self, text: str) -> None:
        if self.clipboard is None:
            raise StateError("no user is logged in there")
        self.clipboard = text

    async def console(self, line: str) -> str:
        if line == "fail":
            raise StateError("mac-one is not running", hint="pommel start mac-one")
        return f"you said {line}"
