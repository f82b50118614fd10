"""One viewer's WebSocket as a stream of KVM commands. Band: shell.

It knows neither what the commands mean nor who serves them. Of the JSON texts that MeshCentral's viewers send
beside them it answers the two that ask for an echo; the rest is of no concern here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import struct
import termios
from collections.abc import AsyncIterator
from typing import Any, Protocol

from aiohttp import WSMsgType, web

CONTROL_CHANNEL = "102938"  # MeshCentral's mark of a JSON text that is for the other end
_CLOSE_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame's 125 bytes less the code


class ViewerStream(Protocol):
    """A viewer, as an endpoint sees it."""

    async def send(self, data: bytes) -> None:
        """Send one KVM command; return when the transport takes more. Raises ConnectionError if it has left."""

    async def send_text(self, text: str) -> None:
        """Send a JSON control text. Raises ConnectionError if the viewer has left."""

    def unsent_bytes(self) -> int:
        """Count what was sent and has not reached the viewer's machine."""

    def messages(self) -> AsyncIterator[bytes]:
        """Yield the viewer's binary messages; ends when it leaves."""

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye with a WebSocket close code; does nothing if it has left."""


class WebSocketStream:
    """`ViewerStream` over aiohttp."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, *, goodbye_s: float) -> None:
        self._socket = socket
        self._goodbye_s = goodbye_s
        self._parting = False  # `close` is at work, and sees to the transport
        self._transport = request.transport

    async def send(self, data: bytes) -> None:
        """Send one KVM command."""
        await self._socket.send_bytes(data)

    async def send_text(self, text: str) -> None:
        """Send a JSON control text."""
        await self._socket.send_str(text)

    def unsent_bytes(self) -> int:
        """Count the transport's buffer and what the kernel holds (SIOCOUTQ, tcp(7), where it can be had)."""
        if self._transport is None or self._transport.is_closing():
            return 0
        waiting = self._transport.get_write_buffer_size()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = self._transport.get_extra_info("socket").fileno()
            waiting += struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        return waiting

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the viewer's binary messages; ends when it leaves."""
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    yield message.data
                elif message.type is WSMsgType.TEXT:
                    await self._answer(message.data)
                else:
                    break
        finally:
            if self._socket.closed and not self._parting:
                self._drop()

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye; a peer that does not read it is cut off."""
        self._parting = True
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._goodbye_s):
                    await self._socket.close(code=code, message=_clipped(reason))
        finally:
            self._drop()

    async def _answer(self, text: str) -> None:
        reply = control_reply(text)
        if reply is not None:
            with contextlib.suppress(ConnectionError):
                await self._socket.send_str(reply)

    def _drop(self) -> None:
        # A transport that was closed with bytes unsent would wait for a dead peer to take them, and whoever
        # waits in `send` with it.
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._transport.abort()


def control_reply(text: str) -> str | None:
    """Answer a JSON control text: `rtt` is echoed as it is, `ping` gets a `pong`, others nothing."""
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or str(said.get("ctrlChannel")) != CONTROL_CHANNEL:
        return None
    if said.get("type") == "rtt":
        return text
    if said.get("type") == "ping":
        return json.dumps({"ctrlChannel": CONTROL_CHANNEL, "type": "pong"})
    return None


def _clipped(reason: str) -> bytes:
    return reason.encode()[:_CLOSE_REASON_BYTES].decode(errors="ignore").encode()
