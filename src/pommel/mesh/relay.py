"""A viewer at the other end of MeshCentral's relay, as a stream of KVM commands. Band: shell.

One command in each message, as MeshCentral's page needs it. Texts that ask for an echo are always answered. Before the
viewer says which protocol it wants, and while somebody is asked for consent, everything else that it sends is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
from collections.abc import AsyncIterator

from aiohttp import WSMsgType

from pommel.errors import DeadlineError
from pommel.mesh import control
from pommel.mesh.network import OpenWebSocket
from pommel.mesh.pings import Pings
from pommel.mesh.rights import is_within_limits
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import ACKNOWLEDGES, KEYS_BY_LEGEND, WANTS_BLOCKS, Abilities, Command, Direction, Shown

JOIN_S = 30.0  # the relay itself ends after 15
CHOOSE_S = 60.0
_GOODBYE_S = 2.0
_CLOSE_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame's 125 bytes less the code
_ABILITIES = WANTS_BLOCKS | KEYS_BY_LEGEND
_MOST_INPUT = 1 << 16


class ViewerRelay:
    """One viewer: a `device.ViewerStream`. With `limited`, its input must pass `is_within_limits`."""

    def __init__(self, line: OpenWebSocket) -> None:
        self._socket = line.socket
        self._transport = line.transport
        self._transports = _transports(line)
        self.consent = 0  # bits that the viewer itself has requested
        self.file: object = None  # what a download without a page is to have
        self.limited = False
        self._pings = Pings()

    async def joined(self) -> bool:
        """Wait until both ends are connected; return whether the session is recorded.

        Raises:
            DeadlineError: the viewer did not come.
            ConnectionError: the relay has disconnected.
        """
        async with _within(JOIN_S, "the viewer did not connect to the relay"):
            while (said := await self._next_message()) not in (control.JOINED, control.JOINED_AND_RECORDED):
                pass
        return said == control.JOINED_AND_RECORDED

    async def chosen(self) -> int:
        """Wait for the protocol that the viewer chooses; otherwise as `joined`."""
        async with _within(CHOOSE_S, "the viewer sent no request"):
            while True:
                match control.parse_control(text) if isinstance(text := await self._next_message(), str) else None:
                    case control.Wants(protocol):
                        return protocol
                    case control.ViewerOptions(consent, file):
                        self.consent |= consent
                        self.file = file or self.file

    async def until_gone(self) -> None:
        """Wait until the viewer disconnects, and answer it until then."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self._next_message()

    async def plain(self) -> AsyncIterator[bytes]:
        """Yield what the viewer sends that is not answered here, as bytes, until it disconnects."""
        with contextlib.suppress(ConnectionError):
            while True:
                said = await self._next_message()
                if not isinstance(said, control.ControlPong):
                    yield said.encode() if isinstance(said, str) else said

    # --- the engine's side ---

    async def send(self, data: bytes) -> None:
        """Send one KVM command."""
        await self._socket.send_bytes(data)
        if self._pings.sent(data):
            await self._socket.send_str(control.PING)

    async def send_text(self, text: str) -> None:
        """Send a control text."""
        await self._socket.send_str(text)

    async def tell(self, text: str) -> None:
        """Send a control text if the viewer is still there."""
        with contextlib.suppress(ConnectionError):
            await self._socket.send_str(text)

    async def tell_data(self, *messages: bytes) -> None:
        """Send binary messages if the viewer is still there."""
        with contextlib.suppress(ConnectionError):
            for data in messages:
                await self._socket.send_bytes(data)

    def unsent_bytes(self) -> int:
        """The bytes waiting in TLS, in the transport beneath it and in the kernel (TIOCOUTQ, tty_ioctl(4), tcp(7))."""
        waiting = sum(one.get_write_buffer_size() for one in self._transports if not one.is_closing())
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = self._transport.get_extra_info("socket").fileno()
            waiting += struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        return waiting

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the viewer's commands until it disconnects. WireError: a limited one sent an invalid KVM command.

        It adds what the viewer does not send itself: that it may be the server's multiplexer with many viewers, that
        its keys are named by their legends, and, from its answers to our pings, which pictures it has shown.
        """
        yield encode(Abilities(_ABILITIES))
        self._pings.begin(_now())
        await self.tell(control.PING)
        decoder = Decoder(Direction.TO_ENDPOINT, max_size=_MOST_INPUT)
        with contextlib.suppress(ConnectionError):
            while True:
                said = await self._next_message()
                if isinstance(said, control.ControlPong):
                    for shown in await self._commands_after_pong():
                        yield encode(shown)
                elif isinstance(said, str):
                    continue
                elif not self.limited:
                    yield said
                else:
                    decoder.receive_data(said)
                    for command in decoder.events():
                        if is_within_limits(command):
                            yield encode(command)

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye; a relay that does not read it is disconnected."""
        said = reason.encode()[:_CLOSE_REASON_BYTES].decode(errors="ignore").encode()
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._socket.close(code=code, message=said)
        finally:
            self._transport.abort()

    async def _commands_after_pong(self) -> tuple[Command, ...]:
        news = not self._pings.answers
        if (said := self._pings.answered(_now())) is None:
            return ()
        shown, more = said
        if more:
            await self._socket.send_str(control.PING)
        return (*((Abilities(_ABILITIES | ACKNOWLEDGES),) if news else ()), Shown(shown))

    async def _next_message(self) -> str | bytes | control.ControlPong:
        """The next message that is not answered here. ConnectionError: the viewer has disconnected."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                return bytes(message.data)
            if message.type is not WSMsgType.TEXT:
                raise ConnectionResetError("the viewer has left")
            match control.parse_control(message.data):
                case control.Echo(text):
                    await self._socket.send_str(text)
                case control.Bye():
                    raise ConnectionResetError("the viewer has left")
                case control.ControlPong() as pong:
                    return pong
                case _:
                    return str(message.data)


@contextlib.asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineError(f"{what} within {seconds:g} s") from None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _transports(line: OpenWebSocket) -> tuple[asyncio.WriteTransport, ...]:
    """The transport, and the one beneath TLS if asyncio gives access to it: both may have unsent bytes."""
    # asyncio (3.14) has no public way to it, and does not count up to 64 KiB of it.
    beneath = getattr(getattr(line.transport, "_ssl_protocol", None), "_transport", None)
    return tuple(one for one in (line.transport, beneath) if isinstance(one, asyncio.WriteTransport))
