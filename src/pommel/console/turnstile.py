"""Limits on the connections to a console's server: their number and their time. Band: shell.

Every user of this host can connect, and a guest too (its 10.0.2.2 is this host's loopback). So a connection is a
stranger's until one of its requests was admitted (`guard`). There are few places for strangers, for a short time: when
one more comes, the oldest is disconnected, and each is disconnected at its deadline, whatever it has sent. Admitted
connections have separate places, which strangers cannot take. A connection that has already sent its request when it is
accepted, as viewers do, is not disconnected before it is answered: that takes a few turns of the loop, and while enough
of these wait, no other connection is accepted.

It accepts connections itself, because asyncio (3.11, `_accept_connection`) logs a traceback for each of a hundred tries
when the process has no free file descriptor. Here, nothing is accepted for a second then, and strangers are
disconnected.

With TLS, a connection is a stranger's during the handshake too, and the same deadline covers both. A client that sends
plain HTTP is let through, to tell it that the port uses TLS: the first byte of TLS is one that no request begins with.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pommel.tasks import start_task

STRANGER_S = 10.0  # the time after the connection in which a request must be admitted
IDLE_S = 75.0  # an admitted connection may be idle, or in the middle of a request, for this time
BACKLOG = 1024
_PAUSE_S = 1.0
_AT_ONCE = 32  # accepted connections in one turn of the loop, so that pictures are sent in between
_ASKING_S = 0.5  # a connection that has sent its request may wait this long for its answer in `_asking`
_HEADERS_END, _MOST_HEADERS = b"\r\n\r\n", 1 << 14
_TLS_HANDSHAKE = b"\x16"  # a TLS record's first byte (RFC 8446, 5.1)
_TLS_GOODBYE_S = 2.0  # how long to wait for a peer's answer to the end of TLS
_TLS_BUFFER = 1 << 16  # the same limit as a plain transport's, above which a writer waits
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The number of connections at the same time, by kind."""

    strangers: int = 256
    admitted: int = 256
    asking: int = 64

    @classmethod
    def of_this_process(cls) -> ConnectionLimits:
        """The limits for this process's file descriptors: a viewer may use two, and the console needs some itself."""
        most = cls()
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            return most
        few, many = max(4, descriptors // 16), max(4, descriptors // 4)
        return cls(min(most.strangers, 2 * few), min(most.admitted, many), min(most.asking, few))


@dataclass(slots=True, eq=False)
class _Guest:
    socket: socket.socket
    since_s: float
    transport: asyncio.Transport | None = None  # the socket's own, below TLS
    silent: bool = False  # it has sent nothing yet, so it is unknown whether it uses TLS
    first: asyncio.Future[None] | None = None
    requests: int = 0  # the number of its admitted requests that are served now
    unwanted: bool = False

    @property
    def gone(self) -> bool:
        return self.socket.fileno() < 0

    def has_asked(self) -> bool:
        """Whether the headers of a request have arrived. They stay in the socket's buffer."""
        with contextlib.suppress(OSError):
            # Empty lines before a request do not belong to it (RFC 9112, 2.2).
            return _HEADERS_END in self.socket.recv(_MOST_HEADERS, socket.MSG_PEEK).lstrip(b"\r\n")
        return False

    def throw_out(self) -> None:
        """End the connection at once, without waiting until the peer has read everything."""
        self.unwanted = True
        if self.first is not None:
            self.first.cancel()
        if self.transport is not None:
            self.transport.abort()


class _Early(asyncio.Protocol):
    """Keep what a peer sends with the end of its handshake: asyncio delivers it before `start_tls` returns."""

    def __init__(self) -> None:
        self.said: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.said.append(data)


class Turnstile:
    """Accepts connections for the protocols of `factory`. Connections are found by their file descriptor."""

    def __init__(
        self,
        factory: Callable[[], asyncio.Protocol],
        limits: ConnectionLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._factory = factory
        self._tls = tls
        self._limits = limits or ConnectionLimits.of_this_process()
        self._listeners: list[socket.socket] = []
        self._strangers: dict[int, _Guest] = {}  # the oldest first
        self._asking: dict[int, _Guest] = {}  # strangers that have sent a request, and get its answer soon
        self._admitted: dict[int, _Guest] = {}  # the least recently used first
        self._arriving: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- the listening sockets ---

    async def bind(self, host: str, port: int) -> int:
        """Listen on all addresses of `host`, with the same port (0: a free port); return the port.

        Raises:
            OSError: an address cannot be bound; then nothing is bound.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        bound: list[socket.socket] = []
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                wanted = (address[0], port, *address[2:])
                bound.append(listener := _listener(family, wanted))
                port = listener.getsockname()[1]
        except BaseException:
            for listener in bound:
                listener.close()
            raise
        self._listeners = bound
        self._open()
        return port

    def close(self) -> None:
        """Accept no more connections, and disconnect strangers; admitted connections stay."""
        for timer in self._timers.values():
            timer.cancel()
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._listeners.clear()
        for guest in (*self._strangers.values(), *self._asking.values()):
            guest.throw_out()
        for task in self._arriving:
            task.cancel()

    def _open(self) -> None:
        for listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        self._see_who_waits()
        for _ in range(_AT_ONCE):
            if len(self._asking) >= self._limits.asking:
                return  # the loop comes back here in its next turn
            try:
                connection, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failure:
                self._pause(failure)
                return
            self._let_near(connection)

    def _pause(self, failure: OSError) -> None:
        """Accept nothing for `_PAUSE_S`; otherwise the listening socket would wake the loop without end."""
        log.warning("the console accepts no connections for %g s: %s", _PAUSE_S, failure.strerror)
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
        if failure.errno in OUT_OF_RESOURCES:
            while self._strangers:
                self._evict()
        self._call_later("open", _PAUSE_S, self._open)

    # --- strangers ---

    def _let_near(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        number = connection.fileno()
        for guests in (self._admitted, self._strangers, self._asking):
            guests.pop(number, None)  # the earlier connection with this descriptor has been closed
        guest = _Guest(connection, asyncio.get_running_loop().time(), silent=self._tls is not None)
        if self._tls is None and guest.has_asked():
            self._asking[number] = guest
        else:
            self._make_room_for_strangers()
            self._strangers[number] = guest
        task = start_task(self._arrive(guest))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        self._watch_clock()

    def _see_who_waits(self) -> None:
        """Move connections whose request was not admitted within `_ASKING_S` back to the strangers."""
        now = asyncio.get_running_loop().time()
        for number, guest in tuple(self._asking.items()):
            late = now - guest.since_s >= _ASKING_S
            if guest.gone or late:
                del self._asking[number]
            if late and not guest.gone:
                self._make_room_for_strangers()
                self._strangers[number] = guest

    def _make_room_for_strangers(self) -> None:
        if len(self._strangers) >= self._limits.strangers:
            self._strangers = {at: guest for at, guest in self._strangers.items() if not guest.gone}
        while len(self._strangers) >= self._limits.strangers:
            self._evict()

    async def _arrive(self, guest: _Guest) -> None:
        try:
            if self._tls is not None and await self._begins_tls(guest):
                await self._encrypt(guest, self._tls)
            else:
                await self._connect(guest, self._factory)
        except BaseException as failure:
            guest.throw_out()
            guest.socket.close()
            if not isinstance(failure, OSError):
                raise

    async def _connect(self, guest: _Guest, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        guest.transport, _ = await loop.connect_accepted_socket(factory, guest.socket)
        if guest.unwanted:
            guest.throw_out()
        return guest.transport

    async def _begins_tls(self, guest: _Guest) -> bool:
        """Wait for the first byte, and leave it in the socket; return whether it begins TLS."""
        loop, number = asyncio.get_running_loop(), guest.socket.fileno()
        guest.first = loop.create_future()
        if guest.unwanted:  # it was thrown out before this line
            guest.first.cancel()
        loop.add_reader(number, _wake, guest.first)
        try:
            await guest.first
        finally:
            guest.first, guest.silent = None, False
            loop.remove_reader(number)
        return guest.socket.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE

    async def _encrypt(self, guest: _Guest, tls: ssl.SSLContext) -> None:
        """Do the TLS handshake, and begin to serve. `_look_at_clock` ends it at the stranger's deadline."""
        below, early = await self._connect(guest, asyncio.Protocol), _Early()
        above = await asyncio.get_running_loop().start_tls(
            below, early, tls, server_side=True, ssl_shutdown_timeout=_TLS_GOODBYE_S
        )
        if above is None or below.is_closing():
            return  # it was thrown out meanwhile
        above.set_write_buffer_limits(high=_TLS_BUFFER)
        above.set_protocol(protocol := self._factory())
        protocol.connection_made(above)
        for data in early.said:
            protocol.data_received(data)

    def _evict(self) -> None:
        """Disconnect one stranger: if possible, the first one that has sent nothing."""
        silent = (at for at, guest in self._strangers.items() if guest.silent)
        guest = self._strangers.pop(next(silent, next(iter(self._strangers))))
        if not guest.gone:
            guest.throw_out()

    # --- those who were admitted ---

    @contextlib.contextmanager
    def admitting(self, transport: asyncio.BaseTransport | None) -> Iterator[bool]:
        """Count this connection as admitted from now on, and its request as served during the block.

        Yields False if the limit of admitted connections is reached, and none of them is idle.
        """
        guest = self._find(transport)
        if guest is None:  # the connection has been closed meanwhile
            yield True
            return
        number = guest.socket.fileno()
        if number not in self._admitted and not self._make_place():
            yield False
            return
        self._strangers.pop(number, None)
        self._asking.pop(number, None)
        self._admitted[number] = guest
        guest.requests += 1
        try:
            yield True
        finally:
            guest.requests -= 1
            guest.since_s = asyncio.get_running_loop().time()
            if self._admitted.get(number) is guest:  # move it to the end: it is the most recently used
                self._admitted[number] = self._admitted.pop(number)
            self._watch_clock()

    def below(self, transport: asyncio.BaseTransport | None) -> asyncio.Transport | None:
        """The transport that writes to the socket; with TLS, it is not the one that the server writes to."""
        guest = self._find(transport)
        return guest.transport if guest is not None else None

    def _find(self, transport: asyncio.BaseTransport | None) -> _Guest | None:
        connection = transport.get_extra_info("socket") if transport is not None else None
        number = connection.fileno() if connection is not None else -1
        return self._admitted.get(number) or self._asking.get(number) or self._strangers.get(number)

    def _make_place(self) -> bool:
        if len(self._admitted) >= self._limits.admitted:
            self._admitted = {at: guest for at, guest in self._admitted.items() if not guest.gone}
        if len(self._admitted) < self._limits.admitted:
            return True
        idle = next((at for at, guest in self._admitted.items() if guest.requests == 0), None)
        if idle is not None:
            self._admitted.pop(idle).throw_out()
        return idle is not None

    # --- time ---

    def _watch_clock(self) -> None:
        if "look" not in self._timers and (self._strangers or self._asking or self._admitted):
            self._call_later("look", 1.0, self._look_at_clock)

    def _look_at_clock(self) -> None:
        del self._timers["look"]
        self._see_who_waits()
        now = asyncio.get_running_loop().time()
        for guests, most_s in ((self._strangers, STRANGER_S), (self._admitted, IDLE_S)):
            for number, guest in tuple(guests.items()):
                late = guest.requests == 0 and now - guest.since_s >= most_s
                if late:
                    guest.throw_out()
                if late or guest.gone:
                    del guests[number]
        self._watch_clock()

    def _call_later(self, what: str, after_s: float, call: Callable[[], None]) -> None:
        self._timers[what] = asyncio.get_running_loop().call_later(after_s, call)


def _wake(first: asyncio.Future[None]) -> None:
    if not first.done():
        first.set_result(None)


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # so that 0.0.0.0 can be bound beside it
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
