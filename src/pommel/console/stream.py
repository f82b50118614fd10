"""One viewer's WebSocket as a stream of KVM commands. Band: shell.

It knows neither what the commands mean nor who serves them. MeshCentral's viewers also send JSON texts: this module
answers the two that ask for an echo, and ignores the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import WSMsgType, web

from pommel.wire.control import control, read_control
from pommel.wire.viewer import ViewerStream

# The kernel has no event for "the peer has received it", so the number of bytes that have left is asked for this often.
_POLL_S = 0.004
_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes not sent yet, where SIOCOUTQ has those not acknowledged too
# Pommel's own WebSocket close code (RFC 6455, 7.4.2): the session has ended, so the page does not reconnect at once.
ENDED = 4001
TELL_S = 2.0
_CLOSE_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame's 125 bytes less the code


class WebSocketStream:
    """`ViewerStream` over aiohttp."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        *,
        goodbye_s: float,
        below: asyncio.Transport | None = None,
    ) -> None:
        self._socket = socket
        self._below = below if below is not request.transport else None  # with TLS, the transport that TLS writes to
        self._goodbye_s = goodbye_s
        self._parting = False  # `close` is running, and will close the transport
        self._transport = request.transport
        self._drained: Callable[[], None] | None = None
        self._ended = False
        # a duplicate of the socket's descriptor: asyncio allows no writer on a transport's own
        self._spare: int | None = None

    async def send(self, data: bytes) -> None:
        """Send one KVM command."""
        await self._socket.send_bytes(data)

    async def send_text(self, text: str) -> None:
        """Send a JSON control text."""
        await self._socket.send_str(text)

    def unsent_bytes(self) -> int:
        """The bytes in the transports' buffers and in the kernel (SIOCOUTQ, tcp(7), if the system has it)."""
        if self._transport is None or self._transport.is_closing():
            return 0
        waiting = self._transport.get_write_buffer_size()
        waiting += self._below.get_write_buffer_size() if self._below is not None else 0
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = self._transport.get_extra_info("socket").fileno()
            waiting += struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        return waiting

    def call_when_drained(self, below: int, call: Callable[[], None]) -> None:
        """Call `call` once, soon after fewer than `below` unsent bytes are in the kernel. A newer call replaces it."""
        loop, waits_for_room = asyncio.get_running_loop(), self._drained is not None
        self._drained = call
        if waits_for_room:
            return
        if (spare := self._watch(below)) is None:
            loop.call_later(_POLL_S, self._tell_drained)
        else:
            loop.add_writer(spare, self._tell_drained)

    def _watch(self, below: int) -> int | None:
        """A descriptor that becomes writable when fewer than `below` bytes are unsent; None: already so, or unknown."""
        if self._transport is None or self._ended:
            return None
        connection = self._transport.get_extra_info("socket")
        try:
            # A socket is writable when twice its unsent bytes are below this mark (tcp(7); kernel:
            # tcp_stream_memory_free).
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * below)
            self._spare = self._spare if self._spare is not None else os.dup(connection.fileno())
            unsent = struct.unpack("i", fcntl.ioctl(self._spare, _SIOCOUTQNSD, bytes(4)))[0]
        except (OSError, ValueError, AttributeError):
            return None
        return self._spare if unsent >= below else None

    def _tell_drained(self) -> None:
        call, self._drained = self._drained, None
        if self._spare is not None:
            asyncio.get_running_loop().remove_writer(self._spare)
        if call is not None:
            call()

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
            self._forget_spare()
            if self._socket.closed and not self._parting:
                self._drop()

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason; a peer that does not read them is disconnected."""
        self._parting = True
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._goodbye_s):
                    await self._say_goodbye(code, reason)
        finally:
            self._forget_spare()
            self._drop()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        try:
            await self._socket.close(code=code, message=_clipped(reason), drain=False)
        except asyncio.CancelledError:
            # If this task was not cancelled, the cancellation is from a `send` that waited for buffer space: in aiohttp
            # (3.14, BaseProtocol) all of them wait on one future, which is cancelled with the first of them.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise

    async def _answer(self, text: str) -> None:
        reply = control_reply(text)
        if reply is not None:
            with contextlib.suppress(ConnectionError):
                await self._socket.send_str(reply)

    def _forget_spare(self) -> None:
        self._ended = True
        if self._spare is not None:
            asyncio.get_running_loop().remove_writer(self._spare)
            os.close(self._spare)
            self._spare = None

    def _drop(self) -> None:
        # A transport that is closed with unsent bytes would wait for a dead peer to read them, and so would
        # everyone who waits in `send`.
        below = self._below or self._transport
        if self._transport is None or below is None:
            return
        if self._transport.get_write_buffer_size() or below.get_write_buffer_size():
            self._transport.abort()


async def tell(viewer: ViewerStream, said: Mapping[str, object]) -> bool:
    """Send a control text; return whether it was sent. The wait is at most `TELL_S`, if a viewer does not read."""
    try:
        async with asyncio.timeout(TELL_S):
            await viewer.send_text(control(said))
    except (ConnectionError, TimeoutError):
        return False
    return True


def control_reply(text: str) -> str | None:
    """The answer to a JSON control text: the same text for `rtt`, a `pong` for `ping`, None for others."""
    said = read_control(text)
    if said is not None and said.get("type") == "rtt":
        return text
    if said is not None and said.get("type") == "ping":
        return control({"type": "pong"})
    return None


def _clipped(reason: str) -> bytes:
    return reason.encode()[:_CLOSE_REASON_BYTES].decode(errors="ignore").encode()
