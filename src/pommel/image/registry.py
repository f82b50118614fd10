"""A registry over HTTP: fetches and sends manifests and blobs, with retries. Band: shell.

OCI distribution specification 1.1. One call here completes one task, or raises an error: logins, tokens, redirects,
lost connections and Retry-After are handled inside. An interrupted blob continues where it stopped. All returned data
has been checked with its SHA-256.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from pommel import proxies
from pommel.errors import ImageError
from pommel.image import challenge
from pommel.image.credentials import Login
from pommel.image.manifest import INDEX, MANIFEST, MANIFEST_MAX, Blob, blob_of
from pommel.image.names import Remote

TRIES = 6
_WRONG_TRIES = 2  # for a blob whose bytes do not match its name
# No limit for a whole transfer, because a blob may be large; only for the connection and for silence.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
_PIECE = 256 << 10
_HOPS, _CHANGED = 5, (301, 302, 303, 307, 308)
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # statuses after which the same request may succeed later
_WAIT_MAX_S = 60.0
_SAID_MAX = 4096
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Arrived = Callable[[int], None]


class TryAgain(Exception):
    """Try again, after `wait_s` or the usual pause. It is caught in this module."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def open_http(connections: int, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Open connections that keep no cookies and do not change data; the caller closes them."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=tls or True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=_TIMEOUT,
        auto_decompress=False,
    )


class Registry:
    """One repository at one registry; `plain` is HTTP without TLS."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        remote: Remote,
        *,
        login: Login | None = None,
        plain: bool = False,
        writes: bool = False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._http, self._remote, self._login, self._sleep = http, remote, login, sleep
        self._base = f"{'http' if plain else 'https'}://{remote.host}/v2/{remote.repository}/"
        self._scope = f"repository:{remote.repository}:pull{',push' if writes else ''}"
        self._authorization: str | None = None
        self._plain = plain

    async def manifest(self, reference: str) -> bytes | None:
        """A manifest by tag or digest; None: it does not exist. A manifest by digest is compared with the digest.

        Raises:
            ImageError: it cannot be fetched, or is too large.
        """

        async def attempt() -> bytes | None:
            headers = {"Accept": f"{MANIFEST}, {INDEX}"}
            async with self._request("GET", f"{self._base}manifests/{reference}", headers) as answer:
                if answer.status == 404:
                    return None
                await self._must(answer, 200)
                return await _read(answer, MANIFEST_MAX)

        data = await self._patiently(f"asking {self._remote.host} for {reference}", attempt)
        if data is not None and reference.startswith("sha256:") and blob_of(data).digest != reference:
            raise ImageError(f"{self._remote.host} sent another manifest than {reference}")
        return data

    async def has(self, blob: Blob) -> bool:
        """Whether the registry has a blob in this repository."""

        async def attempt() -> bool:
            async with self._request("HEAD", f"{self._base}blobs/{blob.digest}", {}) as answer:
                if answer.status != 404:
                    await self._must(answer, 200)
                return answer.status == 200

        return await self._patiently(f"asking {self._remote.host} for {blob.digest}", attempt)

    async def fetch(self, blob: Blob, arrived: Arrived) -> bytes:
        """A complete and checked blob; `arrived` gets the number of new bytes, negative if they must be fetched again.

        Raises:
            ImageError: it cannot be fetched, or does not match its name.
        """
        data, wrong = bytearray(), 0

        async def attempt() -> bytes:
            nonlocal wrong
            headers = {"Range": f"bytes={len(data)}-"} if data else {}
            async with self._request("GET", f"{self._base}blobs/{blob.digest}", headers) as answer:
                if answer.status == 404:
                    raise ImageError(f"{self._remote.host} has no {blob.digest}", hint="push the image again")
                # The whole blob comes: the registry ignores ranges, or none was asked for.
                if answer.status != 206 or not data:
                    await self._must(answer, 200)
                    arrived(-len(data))
                    data.clear()
                async for piece in answer.content.iter_chunked(_PIECE):
                    data.extend(piece)
                    arrived(len(piece))
                    if len(data) > blob.size:  # too long, so its hash cannot be right: no more is read
                        break
            if len(data) < blob.size:
                raise TryAgain(f"{blob.digest} broke off")
            if (await asyncio.to_thread(hashlib.sha256, data)).hexdigest() != blob.hex:
                arrived(-len(data))
                data.clear()
                if (wrong := wrong + 1) >= _WRONG_TRIES:
                    raise ImageError(
                        f"what {self._remote.host} sends as {blob.digest} is not what its name says",
                        hint="it was changed or damaged there: push the image again from where it was made",
                    )
                raise TryAgain(f"{blob.digest} is not what its name says", 0.0)
            return bytes(data)

        return await self._patiently(f"fetching from {self._remote.host}", attempt)

    async def send(self, blob: Blob, data: bytes, arrived: Arrived) -> None:
        """Put a blob, which the caller has hashed, into the repository.

        Raises:
            ImageError: the registry does not accept it.
        """

        async def attempt() -> None:
            sent = 0
            async with self._request("POST", f"{self._base}blobs/uploads/", {}) as answer:
                await self._must(answer, 202)
                place = urljoin(str(answer.url), answer.headers.get("Location", ""))
            self._must_be_safe(place)

            async def body() -> AsyncIterator[bytes]:
                nonlocal sent
                for at in range(0, len(data), _PIECE):
                    piece = data[at : at + _PIECE]
                    yield piece
                    sent += len(piece)
                    arrived(len(piece))

            url = f"{place}{'&' if urlsplit(place).query else '?'}digest={blob.digest.replace(':', '%3A')}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(data))}
            try:
                async with self._request("PUT", url, headers, body) as answer:
                    await self._must(answer, 201)
            except BaseException:
                arrived(-sent)  # the next attempt sends these bytes again
                raise

        await self._patiently(f"sending to {self._remote.host}", attempt)

    async def put_manifest(self, reference: str, data: bytes) -> None:
        """Give the registry a manifest; it must have all its blobs.

        Raises:
            ImageError: the registry does not accept it.
        """

        async def body() -> AsyncIterator[bytes]:
            yield data

        async def attempt() -> None:
            headers = {"Content-Type": MANIFEST, "Content-Length": str(len(data))}
            async with self._request("PUT", f"{self._base}manifests/{reference}", headers, body) as answer:
                await self._must(answer, 201)

        await self._patiently(f"naming the image at {self._remote.host}", attempt)

    async def _patiently(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        why = ""
        for count in range(TRIES):
            wait_s = None
            try:
                return await attempt()
            except TryAgain as again:
                why, wait_s = str(again), again.wait_s
            # Before ClientError, their base class: they are not tried again, because that would not help.
            except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as failure:
                raise ImageError(
                    f"{self._remote.host} cannot be trusted: {failure}",
                    hint="if its certificate is your own: --ca FILE; if it has no TLS: --plain-http",
                ) from failure
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as failure:
                why = self._cause(failure)
            if count + 1 < TRIES:
                pause = min(2.0**count, 15.0) * (0.5 + random.random())  # noqa: S311 spreads load, hides nothing
                await self._sleep(pause if wait_s is None else wait_s)
        raise ImageError(
            f"{what} failed {TRIES} times: {why}",
            hint="check the network, then run the same command again: complete pieces are kept",
        )

    def _cause(self, failure: Exception) -> str:
        proxy = proxies.proxy_for(self._base)
        return proxies.complaint(failure, proxy) or str(failure) or type(failure).__name__

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], AsyncIterator[bytes]] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request, with a login if required, and follow the redirects of a GET or HEAD."""
        renewed = False
        for _ in range(_HOPS):
            own = self._is_own(url)
            login = {"Authorization": self._authorization} if own and self._authorization else {}
            through = proxies.for_request(url, {**headers, **login})
            data = body() if body is not None else None
            async with self._http.request(
                method, URL(url, encoded=True), data=data, allow_redirects=False, **through
            ) as answer:
                if answer.status == 401 and own and not renewed:
                    renewed = True  # a login that is refused at once would be refused again and again
                    await self._log_in(answer)
                    continue
                if answer.status in _CHANGED and method in ("GET", "HEAD"):
                    url = urljoin(url, answer.headers.get("Location", ""))
                    self._must_be_safe(url)
                    continue
                yield answer
                return
        raise ImageError(f"{self._remote.host} sends from one place to another without end")

    def _is_own(self, url: str) -> bool:
        """Whether a URL is the registry's own: only there the login is sent."""
        mine, other = urlsplit(self._base), urlsplit(url)
        return (mine.scheme, mine.netloc) == (other.scheme, other.netloc)

    def _must_be_safe(self, url: str) -> None:
        """Check that a connection with TLS does not continue without."""
        scheme = urlsplit(url).scheme
        if scheme != "https" and not (scheme == "http" and self._plain):
            raise ImageError(f"{self._remote.host} sends to a place without TLS: {url[:200]}")

    async def _log_in(self, answer: aiohttp.ClientResponse) -> None:
        asked = challenge.parse(answer.headers.getall("WWW-Authenticate", []))
        if asked is None:
            raise ImageError(f"{self._remote.host} wants a login of a kind that Pommel does not know")
        if asked.scheme == "basic":
            if self._login is None or self._authorization == self._login.basic:
                raise self._refused()
            self._authorization = self._login.basic
            return
        try:
            url = asked.token_url(self._scope)
            self._must_be_safe(url)
            login = {"Authorization": self._login.basic} if self._login is not None else {}
            async with self._http.get(
                URL(url, encoded=True), allow_redirects=False, **proxies.for_request(url, login)
            ) as told:
                if told.status in (401, 403):
                    raise self._refused()
                if told.status != 200:
                    raise TryAgain(f"HTTP status {told.status} from {told.url.host}")
                self._authorization = f"Bearer {challenge.token_in(await _read(told, challenge.TOKEN_MAX))}"
        except ValueError as wrong:
            raise ImageError(f"the login at {self._remote.host} failed: {wrong}") from wrong

    def _refused(self) -> ImageError:
        if self._login is None:
            return ImageError(
                f"{self._remote.host} wants a login",
                hint=f"skopeo login {self._remote.host} (or docker, podman); or set POMMEL_REGISTRY_USER and "
                "POMMEL_REGISTRY_PASSWORD",
            )
        return ImageError(
            f"{self._remote.host} refuses the login of {self._login.user} (from {self._login.source})",
            hint=f"log in again: skopeo login {self._remote.host}",
        )

    async def _must(self, answer: aiohttp.ClientResponse, wanted: int) -> None:
        if answer.status == wanted:
            return
        said = f"HTTP status {answer.status} from {answer.url.host}"
        if answer.status in _BUSY:
            raise TryAgain(said, _retry_after_s(answer.headers.get("Retry-After")))
        if answer.status in (401, 403):
            raise self._refused()
        if answer.status == 407:
            proxy = proxies.proxy_for(str(answer.url))
            if proxy is not None:
                raise ImageError(proxies.refusal(answer.status, proxy), hint=proxies.hint(str(answer.url), proxy))
        detail = (await answer.content.read(_SAID_MAX)).decode(errors="replace").strip()
        raise ImageError(f"{self._remote} cannot be used: {said}" + (f": {detail[:300]}" if detail else ""))


def _retry_after_s(text: str | None) -> float | None:
    """RFC 9110, 10.2.3, in seconds; a date counts as missing."""
    return min(float(text), _WAIT_MAX_S) if text and text.isascii() and text.isdigit() and len(text) < 9 else None


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for piece in answer.content.iter_any():
        data += piece
        if len(data) > most:
            raise ImageError(f"the answer of {answer.url.host} is longer than {most} bytes")
    return bytes(data)
