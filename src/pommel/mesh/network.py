"""WebSockets to a server whose certificate is checked by its hash. Band: shell.

A MeshCentral server usually signs its own certificate, so no authority can confirm it. The control connection accepts
any certificate, and the handshake then proves it. A relay's certificate must be one that is known from that connection.
It is checked before the first byte of a request, because the relay's address alone gives access to the session.

Connections are cut at once. aiohttp forgets a connection when it closes it, but TLS then waits up to half a minute for
the peer's goodbye, with a socket that nobody knows of any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket as sockets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from pommel import proxies
from pommel.errors import PommelError, ProtocolError
from pommel.mesh.keys import sha384

CONNECT_S = 20.0
HEARTBEAT_S = 90.0  # with 45 s for its answer it is within the 150 s after which a server drops a silent agent
_MOST_MESSAGE = 4 << 20
_CLOSE_S = 2.0  # a dead peer does not answer the close
_CUT_S = 1.0
_TURN_S = 0.001


class ServerUnreachable(PommelError):
    """The server cannot be connected to now."""


class SentElsewhere(ServerUnreachable):
    """The server answers with a redirect, which is not followed; `to` is its target, without the query."""

    def __init__(self, server: str, to: str) -> None:
        super().__init__(
            f"{server} redirects to {to}, and Pommel does not follow redirects",
            hint="if the server has moved, download a .msh file at its new address; if not, there is a proxy between "
            "it and this host",
        )
        self.to = to


class Cable:
    """A TCP connection, below TLS and WebSocket."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        # Read now, because a TLS transport that was closed twice does not know it any more, and cannot be aborted.
        self._socket = transport.get_extra_info("socket")

    @property
    def is_open(self) -> bool:
        """Whether the socket still exists."""
        return self._socket is not None and self._socket.fileno() >= 0

    async def cut(self) -> None:
        """Close it without a goodbye, and wait until its socket is closed."""
        self.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CUT_S):
                while self._socket is not None and self._socket.fileno() >= 0:
                    with contextlib.suppress(OSError):
                        self._socket.shutdown(sockets.SHUT_RDWR)
                    await asyncio.sleep(_TURN_S)


class _Certificate(aiohttp.Fingerprint):
    """Checks the certificate of a connection before it is used; `known` are SHA-384 hashes, None accepts any."""

    def __init__(self, known: frozenset[bytes] | None) -> None:
        super().__init__(bytes(32))
        self._known = known
        self.shown = b""
        self.cables: list[Cable] = []  # all that were checked; the last is the one in use

    def check(self, transport: asyncio.Transport) -> None:
        """Raise an error if it is not a known one."""
        self.cables.append(Cable(transport))
        tls = transport.get_extra_info("ssl_object")
        self.shown = (tls.getpeercert(binary_form=True) if tls is not None else None) or b""
        if self._known is not None and sha384(self.shown) not in self._known:
            raise ProtocolError(
                "the relay shows a different TLS certificate than the server, so Pommel did not connect to it",
                hint="there is a proxy between this host and the server, or its relay has its own certificate",
            )


class _Connector(aiohttp.TCPConnector):
    """Stores its open connections until they are closed, by anybody."""

    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=1.0)
        self._cables: list[Cable] = []

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        """Open a connection for a request."""
        connection = await super().connect(req, traces, timeout)
        self._cables = [one for one in self._cables if one.is_open]
        if connection.transport is not None:
            self._cables.append(Cable(connection.transport))
        return connection

    async def cut(self) -> None:
        """Close all connections that are still open."""
        await asyncio.gather(*(one.cut() for one in self._cables))


@dataclass(frozen=True, slots=True)
class OpenWebSocket:
    """An open WebSocket: the DER of its certificate, and its transport."""

    socket: aiohttp.ClientWebSocketResponse
    certificate: bytes
    transport: asyncio.Transport


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[aiohttp.ClientSession]:
    """The session that all connections of a process share; at the end all their sockets are closed.

    None of them follows a redirect (`SentElsewhere`): it would lead to another host, without TLS or the required
    certificate, and with the contents of the address.
    """
    connector = _Connector()
    try:
        jar, stay = aiohttp.DummyCookieJar(), aiohttp.TraceConfig()
        stay.on_request_redirect.append(_stay)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, trace_configs=[stay]) as session:
            yield session
    finally:
        await connector.cut()


async def _stay(_: aiohttp.ClientSession, __: SimpleNamespace, told: aiohttp.TraceRequestRedirectParams) -> None:
    # Here, because `ws_connect` has no option for it. Nothing has been sent to the new address yet.
    told.response.close()
    raise SentElsewhere(f"{told.response.url.host}:{told.response.url.port}", _target(told.response))


def _target(answer: aiohttp.ClientResponse) -> str:
    said = answer.headers.get("Location") or answer.headers.get("URI") or "nowhere"
    try:
        return ascii(str(answer.url.join(URL(said)).with_query(None).with_fragment(None).with_user(None)))[1:-1][:200]
    except ValueError:
        return ascii(said[:200])


@contextlib.asynccontextmanager
async def opened(
    session: aiohttp.ClientSession, url: str, known: Iterable[bytes] | None = None
) -> AsyncIterator[OpenWebSocket]:
    """Open a WebSocket; it is closed at the end.

    Raises:
        ServerUnreachable: it cannot be reached, or its proxy cannot, it is not a MeshCentral server, or it redirects to
            another place.
        ConfigError: the configured proxy cannot be used.
        ProtocolError: its certificate is not among the `known` ones (SHA-384).
    """
    certificate = _Certificate(None if known is None else frozenset(known))
    try:
        socket = await _connected(session, url, certificate)
        try:
            yield OpenWebSocket(socket, certificate.shown, certificate.cables[-1].transport)
        finally:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_CLOSE_S):
                    await socket.close()
    finally:
        for cable in certificate.cables:
            await cable.cut()  # with unsent bytes it would wait for a dead peer


async def _connected(
    session: aiohttp.ClientSession, url: str, certificate: _Certificate
) -> aiohttp.ClientWebSocketResponse:
    where = URL(url, encoded=True)
    proxy, through = proxies.proxy_for(url), proxies.for_request(url)
    by = f" through the proxy {proxy}" if proxy else ""
    try:
        async with asyncio.timeout(CONNECT_S):
            socket: aiohttp.ClientWebSocketResponse = await session.ws_connect(
                where,
                ssl=certificate,
                heartbeat=HEARTBEAT_S,
                max_msg_size=_MOST_MESSAGE,
                **through,
            )
            return socket
    except aiohttp.WSServerHandshakeError as refusal:
        raise ServerUnreachable(
            f"{where.host}:{where.port} answers with status {refusal.status}, not as a MeshCentral server does",
            hint="check the address in the .msh file, and check that a proxy in front of the server supports "
            "WebSockets",
        ) from None
    except TimeoutError:
        raise ServerUnreachable(f"{where.host}:{where.port} does not answer within {CONNECT_S:g} s{by}") from None
    except (aiohttp.ClientError, OSError) as failure:
        if proxy is not None and (said := proxies.complaint(failure, proxy)) is not None:
            raise ServerUnreachable(said, hint=proxies.hint(url, proxy)) from None
        raise ServerUnreachable(f"{where.host}:{where.port} cannot be connected to{by}: {_reason(failure)}") from None


def _reason(failure: Exception) -> str:
    cause = getattr(failure, "os_error", failure)
    number = getattr(cause, "errno", None)
    # asyncio has its own message, with the address once more; errors of a name's lookup have numbers below zero.
    return os.strerror(number) if number and number > 0 else str(getattr(cause, "strerror", None) or cause)
