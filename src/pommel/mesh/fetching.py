"""Download of a .msh file. Band: shell.

Pommel trusts the contents of this file from then on. So this download accepts only a TLS certificate that this host
trusts, though later connections accept the server's own certificate.
"""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

from pommel import proxies
from pommel.errors import PommelError, UsageError
from pommel.mesh.msh import MOST_BYTES
from pommel.mesh.network import SentElsewhere, network

_WAIT_S = 30.0
_BY_HAND = "download the file in a browser, and pass the file's path instead of the address"


class FetchError(PommelError):
    """The .msh file could not be downloaded."""


async def fetch_msh(url: str) -> bytes:
    """Download a .msh file.

    Raises:
        UsageError: the address does not begin with https.
        FetchError: it could not be downloaded, or not safely.
        ConfigError: the configured proxy cannot be used.
    """
    if not url.startswith("https://"):
        raise UsageError(f"{url[:80]} is not an address that begins with https://", hint=_BY_HAND)
    try:
        proxy, through = proxies.proxy_for(url), proxies.for_request(url)
    except ValueError:
        raise UsageError(f"{url[:80]} is not an address", hint=_BY_HAND) from None
    try:
        trust = ssl.create_default_context()
        async with asyncio.timeout(_WAIT_S), network() as http, http.get(url, ssl=trust, **through) as answer:
            if answer.status != 200:
                raise FetchError(f"the server answers with status {answer.status} to {url}", hint=_BY_HAND)
            return await _body(answer)
    except SentElsewhere as sent:
        typed = f"if this is the right server: pommel mesh join NAME --msh {sent.to}"
        typed = typed if sent.to.startswith("https://") else _BY_HAND
        raise FetchError(f"{url} redirects to {sent.to}, and Pommel does not follow redirects", hint=typed) from None
    except aiohttp.ClientConnectorCertificateError:
        raise FetchError("this host does not trust the server's TLS certificate", hint=_BY_HAND) from None
    except aiohttp.InvalidURL:
        raise UsageError(f"{url[:80]} is not an address", hint=_BY_HAND) from None
    except TimeoutError:
        raise FetchError(f"{url} could not be downloaded within {_WAIT_S:g} s", hint=_BY_HAND) from None
    except (aiohttp.ClientError, OSError) as failure:
        if proxy is not None and (said := proxies.complaint(failure, proxy)) is not None:
            raise FetchError(said, hint=proxies.hint(url, proxy)) from None
        raise FetchError(f"{url} could not be downloaded: {failure}", hint=_BY_HAND) from None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for piece in answer.content.iter_any():
        data += piece
        if len(data) > MOST_BYTES:
            raise FetchError("the server's answer is too long for a .msh file", hint=_BY_HAND)
    return bytes(data)
