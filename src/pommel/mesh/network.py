"""WebSockets to a server whose certificate is checked by its hash. Band: shell.

A MeshCentral server signs its own certificate as a rule, so there is no authority to ask: the control connection takes
any and the handshake then proves it, a relay's must be one that is known from there. That is looked at before the first
byte of a request, for a relay's address is the ticket to it.

What ends here ends at once: aiohttp forgets a connection when it closes it, and TLS then waits for its peer's goodbye,
half a minute if need be, with the socket open and nobody who knows of it.
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
HEARTBEAT_S = 90.0  # with its answer's 45 s it is within the 150 s after which a server gives up on a silent agent
_MOST_MESSAGE = 4 << 20
_CLOSE_S = 2.0
_CUT_S = 1.0
_TURN_S = 0.001


class ServerUnreachable(PommelError):
    """The server cannot be connected to now."""


class SentElsewhere(ServerUnreachable):
    """The server answers with a redirect, which is not followed; `to` is where it leads, without its query."""

    def __init__(self, server: str, to: str) -> None:
        super().__init__(
            f"{server} redirects to {to}, and Pommel does not follow redirects",
            hint="if the server has moved, download a .msh file at its new address; if not, there is a proxy between "
            "it and this host",
        )
        self.to = to


class Cable:
    """A TCP connection beneath whatever is spoken on it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        # Asked for now: a TLS transport that was closed twice knows nothing any more, and cannot be aborted either.
        self._socket = transport.get_extra_info("socket")

    @property
    def is_open(self) -> bool:
        """Is there a socket still?"""
        return self._socket is not None and self._socket.fileno() >= 0

    async def cut(self) -> None:
        """End it without a goodbye, and wait until its socket is closed."""
        self.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CUT_S):
                while self._socket is not None and self._socket.fileno() >= 0:
                    with contextlib.suppress(OSError):
                        self._socket.shutdown(sockets.SHUT_RDWR)
                    await asyncio.sleep(_TURN_S)


class _Certificate(aiohttp.Fingerprint):
    """Looks at the certificate of a connection before it is used; `known` are SHA-384 hashes, None takes any."""

    def __init__(self, known: frozenset[bytes] | None) -> None:
        super().__init__(bytes(32))
        self._known = known
        self.shown = b""
        self.cables: list[Cable] = []  # all that were looked at; the last is the one in use

    def check(self, transport: asyncio.Transport) -> None:
        """Raise if it is none of the known ones."""
        self.cables.append(Cable(transport))
        tls = transport.get_extra_info("ssl_object")
        self.shown = (tls.getpeercert(binary_form=True) if tls is not None else None) or b""
        if self._known is not None and sha384(self.shown) not in self._known:
            raise ProtocolError(
                "the relay shows a different TLS certificate than the server, so Pommel did not connect to it",
                hint="there is a proxy between this host and the server, or its relay has its own certificate",
            )


class _Connector(aiohttp.TCPConnector):
    """Keeps in mind what it has opened until that is closed, whoever has closed it."""

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
        """End all that is open still."""
        await asyncio.gather(*(one.cut() for one in self._cables))


@dataclass(frozen=True, slots=True)
class Line:
    """An open WebSocket: the DER of the certificate that it shows, and what its bytes go out by."""

    socket: aiohttp.ClientWebSocketResponse
    certificate: bytes
    transport: asyncio.Transport


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[aiohttp.ClientSession]:
    """Give what all connections of a process share; when it ends no socket of theirs is open any more.

    None of them follows a redirect (`SentElsewhere`): it would lead to another host, off TLS and past the certificate
    that was asked for, and take what is in the address with it.
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
    # Here, as `ws_connect` has no word for it. Nothing has been sent there yet.
    told.response.close()
    raise SentElsewhere(f"{told.response.url.host}:{told.response.url.port}", _target(told.response))


def _target(answer: aiohttp.ClientResponse) -> str:
    said = answer.headers.get("Location") or answer.headers.get("URI") or "nowhere"
    try:
        return ascii(str(answer.url.join(URL(said)).with_query(None).with_fragment(None).with_user(None)))[1:-1][:200]
    except ValueError:
        return ascii(said[:200])


@contextlib.asynccontextmanager
async def opened(session: aiohttp.ClientSession, url: str, known: Iterable[bytes] | None = None) -> AsyncIterator[Line]:
    """Open a WebSocket, which is closed in the end.

    Raises:
        ServerUnreachable: it cannot be connected to, its proxy neither, it is no MeshCentral server, or it sends on to
            another place.
        ConfigError: a proxy is named that cannot be used.
        ProtocolError: its certificate is none of the `known` ones (SHA-384).
    """
    certificate = _Certificate(None if known is None else frozenset(known))
    try:
        socket = await _connected(session, url, certificate)
        try:
            yield Line(socket, certificate.shown, certificate.cables[-1].transport)
        finally:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_CLOSE_S):
                    await socket.close()
    finally:
        for cable in certificate.cables:
            await cable.cut()  # with bytes unsent it would wait for a dead peer to take them


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
    # asyncio has words of its own, with the address once more; a name's errors have numbers below zero.
    return os.strerror(number) if number and number > 0 else str(getattr(cause, "strerror", None) or cause)
