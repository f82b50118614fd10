"""WebSockets to a server whose certificate is checked by its hash. Band: shell.

A MeshCentral server signs its own certificate as a rule, so there is no authority to ask: the control connection takes
any and the handshake then proves it, a relay's must be one that is known from there. That is looked at before the first
byte of a request, for a relay's address is the ticket to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import aiohttp
from yarl import URL

from pommel.errors import PommelError, ProtocolError
from pommel.mesh.keys import sha384

CONNECT_S = 20.0
HEARTBEAT_S = 90.0  # with its answer's 45 s it is within the 150 s after which a server gives up on a silent agent
_MOST_MESSAGE = 4 << 20
_CLOSE_S = 2.0


class ServerUnreachable(PommelError):
    """The server cannot be connected to now."""


class _Certificate(aiohttp.Fingerprint):
    """Looks at the certificate of a connection before it is used; `known` are SHA-384 hashes, None takes any."""

    def __init__(self, known: frozenset[bytes] | None) -> None:
        super().__init__(bytes(32))
        self._known = known
        self.shown = b""

    def check(self, transport: asyncio.Transport) -> None:
        """Raise if it is none of the known ones."""
        self.transport: asyncio.Transport = transport
        tls = transport.get_extra_info("ssl_object")
        self.shown = (tls.getpeercert(binary_form=True) if tls is not None else None) or b""
        if self._known is not None and sha384(self.shown) not in self._known:
            transport.abort()  # aiohttp does so for errors of its own only
            raise ProtocolError(
                "the relay shows another TLS certificate than the server did: it was not connected to",
                hint="something is between this host and the server, or its relay has a certificate of its own",
            )


@dataclass(frozen=True, slots=True)
class Line:
    """An open WebSocket: the DER of the certificate that it shows, and what its bytes go out by."""

    socket: aiohttp.ClientWebSocketResponse
    certificate: bytes
    transport: asyncio.Transport


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[aiohttp.ClientSession]:
    """What all connections of a process share."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=1.0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@contextlib.asynccontextmanager
async def opened(session: aiohttp.ClientSession, url: str, known: Iterable[bytes] | None = None) -> AsyncIterator[Line]:
    """Open a WebSocket, which is closed in the end.

    Raises:
        ServerUnreachable: it cannot be connected to, or is no MeshCentral server.
        ProtocolError: its certificate is none of the `known` ones (SHA-384).
    """
    certificate = _Certificate(None if known is None else frozenset(known))
    socket = await _connected(session, url, certificate)
    try:
        yield Line(socket, certificate.shown, certificate.transport)
    finally:
        try:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_CLOSE_S):
                    await socket.close()
        finally:
            certificate.transport.abort()  # with bytes unsent it would wait for a dead peer to take them


async def _connected(
    session: aiohttp.ClientSession, url: str, certificate: _Certificate
) -> aiohttp.ClientWebSocketResponse:
    where = URL(url, encoded=True)
    try:
        async with asyncio.timeout(CONNECT_S):
            return await session.ws_connect(
                where,
                ssl=certificate,
                heartbeat=HEARTBEAT_S,
                max_msg_size=_MOST_MESSAGE,
            )
    except aiohttp.WSServerHandshakeError as refusal:
        raise ServerUnreachable(
            f"{where.host}:{where.port} answers with status {refusal.status}, not as a MeshCentral server does",
            hint="look whether the .msh file's address is right, and whether a proxy before it passes on WebSockets",
        ) from None
    except TimeoutError:
        raise ServerUnreachable(f"{where.host}:{where.port} does not answer within {CONNECT_S:g} s") from None
    except (aiohttp.ClientError, OSError) as failure:
        raise ServerUnreachable(f"{where.host}:{where.port} cannot be connected to: {_reason(failure)}") from None


def _reason(failure: Exception) -> str:
    cause = getattr(failure, "os_error", failure)
    number = getattr(cause, "errno", None)
    # asyncio has words of its own, with the address once more; a name's errors have numbers below zero.
    return os.strerror(number) if number and number > 0 else str(getattr(cause, "strerror", None) or cause)
