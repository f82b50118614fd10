"""One connection to an RFB server: the socket around `rfb`. Band: shell.

The socket's bytes are received where the client wants them, so a full-width rectangle lands in the frame directly.
What is written goes out at once; what the kernel does not take asyncio keeps, and `drain` waits in that case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from pommel.errors import DeadlineError, RfbError, StateError
from pommel.screen.rfb import Cursor, Event, ExtendedButtons, ExtendedKeys, Leds, PointerType, Ready, RfbClient

# The wait for a server's QEMU extensions (key events, type of the mouse). QEMU sends them right after the handshake.
_EXTENSION_WAIT_S = 0.5


class RfbLink(asyncio.BufferedProtocol):
    """A connection. `ended` is the reason of its end, None before that. `on_event` gets all events in order;
    `on_update` is called after each complete framebuffer update, `on_input` at each input."""

    def __init__(self) -> None:
        self.client = RfbClient()
        self.extended_keys = self.extended_buttons = False
        self.absolute = True  # pointer events contain positions, not movements
        self.ended: str | None = None
        self.failure: RfbError | None = None
        self.on_event: Callable[[Event], None] = lambda _: None
        self.on_update: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None
        self.on_input: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._told: dict[type[Event], Event] = {}
        self._ready, self._gone = asyncio.Event(), asyncio.Event()
        self._extended, self._typed = asyncio.Event(), asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def newest_events(self) -> tuple[Event, ...]:
        """The newest event of each type that a server sends only at a change; QEMU sends the first with `Ready`."""
        return tuple(self._told.values())

    async def until_ready(self) -> None:
        """Wait for the handshake, and then a short time for the server's extensions.

        Raises:
            RfbError: the server cannot be used, or disconnected.
        """
        await self._ready.wait()
        if self.ended is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EXTENSION_WAIT_S):
                    await self._extended.wait()
                    await self._typed.wait()  # otherwise the first move could be a position for a relative mouse
        if self.ended is not None:
            raise self.failure or RfbError(f"the VNC server closed the connection: {self.ended}")

    def write(self, data: bytes) -> None:
        """Send `data` now; after the end of the connection, nothing happens."""
        if self._transport is not None and self.ended is None:
            self._transport.write(data)

    def write_input(self, data: bytes) -> None:
        """Send an action of keyboard or mouse, and call `on_input`, because a picture of its result is wanted soon."""
        self.write(data)
        self.on_input()

    async def drain(self) -> None:
        """If the server does not read, wait until it reads again."""
        if not self._writable.is_set():
            await self._writable.wait()

    async def close(self) -> None:
        """End the connection after all written bytes are sent; wait at most a second for that.

        The server must close first: QEMU releases all keys when a client disconnects (ui/vnc.c), and this must not
        happen to the keys of a later connection.
        """
        if self._transport is None:
            return
        if self.ended is None and not self._transport.is_closing():
            self._transport.write_eof()
        try:
            async with asyncio.timeout(1.0):
                await self._gone.wait()
        except TimeoutError:
            self._transport.abort()
            await self._gone.wait()

    # --- asyncio calls these ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        """The client's memory for the next bytes."""
        return self.client.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Let the client parse the bytes, send its answers, and pass its events on."""
        before = self.client.updates
        try:
            events = self.client.buffer_updated(nbytes)
        except RfbError as failure:
            self._fail(failure)
            return
        if out := self.client.data_to_send():
            self.write(out)
        for event in events:
            self._note(event)
            self.on_event(event)
        if self.client.updates != before:
            self.on_update()

    def connection_lost(self, exc: Exception | None) -> None:
        """Store the reason for the end, unless there is one already."""
        self._end(f"the connection broke ({exc})" if exc else "the server closed the connection")
        self._gone.set()

    def pause_writing(self) -> None:
        """Make `drain` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        self._writable.set()

    def _note(self, event: Event) -> None:
        if isinstance(event, Ready):
            self._ready.set()
        elif isinstance(event, ExtendedKeys):
            self.extended_keys = True
            self._extended.set()
        elif isinstance(event, ExtendedButtons):
            self.extended_buttons = True
        elif isinstance(event, Cursor | Leds | PointerType):
            self._told[type(event)] = event
            if isinstance(event, PointerType):
                self.absolute = event.absolute
                self._typed.set()

    def _fail(self, failure: RfbError) -> None:
        self.failure = failure
        self._end(failure.message)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, reason: str) -> None:
        if self.ended is None:
            self.ended = reason
            for event in (self._ready, self._extended, self._typed, self._writable):
                event.set()
            self.on_end()


async def open_link(path: Path, *, timeout_s: float) -> RfbLink:
    """Connect to the RFB server on a Unix socket.

    Raises:
        StateError: nothing listens there, or it cannot be reached.
        DeadlineError: the handshake took longer than `timeout_s`.
        RfbError: the server cannot be used.
    """
    loop = asyncio.get_running_loop()
    link: RfbLink | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, link = await loop.create_unix_connection(RfbLink, str(path))
            await link.until_ready()
            return link
    except TimeoutError:
        await _drop(link)
        raise DeadlineError(f"the VNC server at {path} did not answer within {timeout_s:g} s") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise StateError(
            f"no machine shows its screen at {path}", hint="to see which machines run: pommel list"
        ) from None
    except OSError as failure:  # no permission, a too long path, or a peer that disconnected
        await _drop(link)
        raise StateError(f"the screen at {path} cannot be opened: {failure.strerror or failure}") from failure
    except BaseException:
        await _drop(link)
        raise


async def _drop(link: RfbLink | None) -> None:
    if link is not None:
        await link.close()
