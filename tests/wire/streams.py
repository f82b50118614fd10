"""A viewer's stream that is not connected to anything."""

from __future__ import annotations

from collections.abc import AsyncIterator


class Said:
    """A stream that says what it is given."""

    def __init__(self, *data: bytes) -> None:
        self.data = data

    async def send(self, data: bytes) -> None: ...
    async def send_text(self, text: str) -> None: ...
    async def close(self, code: int, reason: str) -> None: ...
    def unsent_bytes(self) -> int:
        return 7

    async def messages(self) -> AsyncIterator[bytes]:
        for one in self.data:
            yield one
