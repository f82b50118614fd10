"""A viewer of a terminal in the test's own process: what it sends, and what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pommel.wire.terminal import TerminalKind, TerminalSize, encode_size, encode_typed, read_for_viewer
from waits import until


class Viewer:
    """A `ViewerStream`. With `reads` unset it reads nothing: what is sent to it counts as unsent."""

    def __init__(self, size: TerminalSize | None = None) -> None:
        self.seen = bytearray()
        self.ended = ""
        self.closed: tuple[int, str] | None = None
        self.reads = True
        self.waiting = 0
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        if size is not None:
            self.says(encode_size(size))

    def says(self, message: bytes) -> None:
        self._inbox.put_nowait(message)

    def types(self, text: str) -> None:
        self.says(encode_typed(text.encode()))

    def leaves(self) -> None:
        self._inbox.put_nowait(None)

    async def shows(self, text: str) -> None:
        await until(lambda: text.encode() in self.seen, what=f"{text!r} on the terminal")

    async def send(self, data: bytes) -> None:
        kind, payload = read_for_viewer(data)
        if kind is TerminalKind.ENDED:
            self.ended = payload.decode()
        elif self.reads:
            self.seen += payload
        else:
            self.waiting += len(payload)

    async def send_text(self, text: str) -> None:
        raise AssertionError(text)

    def unsent_bytes(self) -> int:
        return self.waiting

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._inbox.get()) is not None:
            yield message

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
