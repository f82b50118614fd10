"""The interface of a viewer's connection for the code that serves viewers. Band: core, no I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class ViewerStream(Protocol):
    """One viewer's connection of any kind: a WebSocket, a MeshCentral relay, the session's socket."""

    async def send(self, data: bytes) -> None:
        """Send one KVM command; wait while the transport is full. ConnectionError: the viewer has disconnected."""

    async def send_text(self, text: str) -> None:
        """Send a text frame (the JSON of MeshCentral's control channel); otherwise as `send`."""

    def unsent_bytes(self) -> int:
        """The number of bytes that wait in this process, and in the kernel if known."""

    def messages(self) -> AsyncIterator[bytes]:
        """Yield the viewer's data, in parts of any size, until it disconnects."""

    async def close(self, code: int, reason: str) -> None:
        """Disconnect the viewer with a WebSocket close code and a reason of at most 123 bytes."""
