"""Requests to Apple's servers over HTTP, with retries. Band: shell.

One call here is one thing had, or an error: statuses, lost connections and Retry-After are dealt with inside.
It knows nothing of files on this side, and hands out no byte of an image that its chunk's SHA-256 does not cover.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import aiohttp
from yarl import URL

from pommel import proxies
from pommel.errors import RecoveryError
from pommel.recovery import service
from pommel.recovery.catalog import Board
from pommel.recovery.chunklist import FILE_BYTES_MAX, Chunk
from pommel.recovery.origin import Origin
from pommel.recovery.service import Asset, BoardRefused, BoardReply, HttpVerdict

TRIES = 6
BAD_CHUNK_TRIES = 3
Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
_PIECE = 1 << 18
_PROXY_ASKS = 407


class AskAgain(Exception):
    """Try again, after `wait_s` or the usual pause. It is caught in this package."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Stale(Exception):
    """The asset's token has expired. It is caught in this package."""


class BadChunk(Exception):
    """The received chunk differs from the chunklist. It is caught in this package."""


def open_http(connections: int) -> aiohttp.ClientSession:
    """Open connections that keep no cookies and change no bytes; the caller closes them."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=_TIMEOUT,
        auto_decompress=False,
    )


class Client:
    """Talks to one origin."""

    def __init__(self, http: aiohttp.ClientSession, origin: Origin, sleep: Sleep = asyncio.sleep) -> None:
        self._http = http
        self._origin = origin
        self._sleep = sleep

    async def ask(self, board: Board) -> BoardReply:
        """Get a session and ask for the board's image.

        Raises:
            BoardRefused: Apple has none for it.
            RecoveryError: no answer, or none that can be used.
        ConfigError: a proxy is named that cannot be used.
        """
        return await self.patiently("asking Apple's recovery service", lambda: self._ask(board))

    async def fetch_chunklist(self, asset: Asset) -> bytes:
        """Fetch a chunklist, unchecked.

        Raises:
            Stale: the token does not open it.
            RecoveryError: it cannot be had.
        """
        return await self.patiently("fetching the chunklist", lambda: self._fetch_chunklist(asset))

    async def fetch_chunk(self, asset: Asset, chunk: Chunk, total: int, arrived: Callable[[int], None]) -> bytearray:
        """Fetch and hash one chunk, once; `arrived` is told of bytes as they come.

        Raises:
            Again, Stale, BadChunk: this attempt failed.
            RecoveryError: it will not get better: the file has another size, or ranges are not served.
        """
        headers = service.asset_headers(asset.token, chunk.offset, chunk.offset + chunk.size - 1)
        async with self._request("GET", asset.url, headers) as response:
            _judge(response, service.after_asset(response.status))
            _check_range(response, chunk, total)
            data, digest = bytearray(), hashlib.sha256()
            async for piece in response.content.iter_chunked(_PIECE):
                arrived(len(piece))
                data += piece
                if len(data) > chunk.size:
                    raise AskAgain("the server sent more data than requested")
                digest.update(piece)
        if digest.digest() != chunk.sha256:
            raise BadChunk
        return data

    async def fetch_whole(self, url: str, limit: int, what: str) -> bytes:
        """Fetch a small file that is open to all; `what` tells it to a person ("fetching …").

        Raises:
            RecoveryError: it cannot be had, or has more than `limit` bytes.
        """
        return await self.patiently(what, lambda: self._fetch_whole(url, limit))

    async def patiently(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do `attempt`, again after a pause where that may help.

        Raises:
            RecoveryError: it failed `TRIES` times.
        """
        why = ""
        for count in range(TRIES):
            wait_s = None
            try:
                return await attempt()
            except AskAgain as again:
                why, wait_s = str(again), again.wait_s
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                why = str(error) or type(error).__name__
            if count + 1 < TRIES:
                await self._sleep(service.back_off_s(count, random.random()) if wait_s is None else wait_s)  # noqa: S311 spreads load, hides nothing
        raise RecoveryError(
            f"{what} failed {TRIES} times: {why}",
            hint="check the network, then run the same command again",
        )

    async def _ask(self, board: Board) -> BoardReply:
        base = self._origin.base_url
        async with self._request("GET", base + "/", service.session_headers()) as response:
            verdict = service.after_post(response.status)
            _judge(response, verdict if verdict in (HttpVerdict.TAKE, HttpVerdict.WAIT) else HttpVerdict.FAIL)
            session = service.session_cookie(response.headers.getall("Set-Cookie", []))
        body = service.request_body(board, secrets.token_bytes)
        headers = service.ask_headers(session)
        async with self._request("POST", base + service.IMAGE_PATH, headers, body) as response:
            verdict = service.after_post(response.status)
            if verdict is HttpVerdict.REFUSED:
                raise BoardRefused(f"Apple has no image for board {board.board_id}", hint="choose another version")
            if verdict is HttpVerdict.RENEW:
                raise AskAgain("the session was refused", wait_s=0.0)
            _judge(response, verdict)
            return service.parse_reply(await _read(response, service.REPLY_BYTES_MAX), self._origin.hosts)

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request, through the proxy if one leads there, and give its response."""
        proxy, through = proxies.proxy_for(url), proxies.for_request(url, headers)
        try:
            async with self._http.request(
                method, URL(url, encoded=True), data=body, allow_redirects=False, **through
            ) as response:
                if proxy is not None and response.status == _PROXY_ASKS:
                    raise RecoveryError(proxies.refusal(response.status, proxy), hint=proxies.hint(url, proxy))
                yield response
        except aiohttp.ClientError as failure:
            said = proxies.complaint(failure, proxy)
            if proxy is None or said is None:
                raise
            if isinstance(failure, aiohttp.ClientHttpProxyError) and 400 <= failure.status < 500:
                raise RecoveryError(said, hint=proxies.hint(url, proxy)) from None
            raise AskAgain(said) from None

    async def _fetch_whole(self, url: str, limit: int) -> bytes:
        async with self._request("GET", url, service.asset_headers("")) as response:
            verdict = service.after_asset(response.status)
            _judge(response, HttpVerdict.FAIL if verdict is HttpVerdict.RENEW else verdict)
            return await _read(response, limit)

    async def _fetch_chunklist(self, asset: Asset) -> bytes:
        headers = service.asset_headers(asset.token)
        async with self._request("GET", asset.url, headers) as response:
            _judge(response, service.after_asset(response.status))
            return await _read(response, FILE_BYTES_MAX)


def _judge(response: aiohttp.ClientResponse, verdict: HttpVerdict) -> None:
    if verdict is HttpVerdict.RENEW:
        raise Stale
    said = f"HTTP status {response.status} from {response.url.host}"
    if verdict is HttpVerdict.WAIT:
        raise AskAgain(said, service.retry_after_s(response.headers.get("Retry-After"), time.time()))
    if verdict is not HttpVerdict.TAKE:
        raise RecoveryError(f"Apple's server cannot be used: {said}", hint="try again later")


def _check_range(response: aiohttp.ClientResponse, chunk: Chunk, total: int) -> None:
    """Check that the answer is the requested range of a file of `total` bytes."""
    if response.status != 206:
        if chunk.size == total and response.content_length in (None, total):
            return
        raise RecoveryError(
            "the image's server sends only whole files", hint="check whether a proxy is between this host and Apple"
        )
    said = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", said)
    if found and int(found[3]) != total:
        raise RecoveryError(f"the image at Apple's has {found[3]} bytes, its chunklist says {total}")
    if not found or (int(found[1]), int(found[2])) != (chunk.offset, chunk.offset + chunk.size - 1):
        raise RecoveryError(f"the image's server sent another range than requested: {said!r}")


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > limit:
            raise RecoveryError(f"the reply from {response.url.host} is longer than {limit} bytes")
    return bytes(data)
