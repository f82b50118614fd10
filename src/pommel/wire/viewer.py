"""A viewer's connection, as everyone who serves viewers sees it. Band: core, no I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class ViewerStream(Protocol):
    """One viewer's connection, whatever carries it: a WebSocket, a MeshCentral relay, the session's socket."""

    async def send(self, data: bytes) -> None:
        """Send one KVM command; wait while the transport is full. ConnectionError: the viewer has gone."""

    async def send_text(self, text: str) -> None:
        """Send a text frame (the JSON of MeshCentral's control channel); otherwise as `send`."""

    def unsent_bytes(self) -> int:
        """Return how many bytes wait in this process, and in the kernel if that can be known."""

    def messages(self) -> AsyncIterator[bytes]:
        """Yield what the viewer sends, in any pieces, until it leaves."""

    async def close(self, code: int, reason: str) -> None:
        """Part from the viewer with a WebSocket close code and a reason of at most 123 bytes."""
