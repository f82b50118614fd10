"""A .msh file from an address. Band: shell.

What it says is believed from then on, so here the server's TLS certificate has to be one that this host trusts.
"""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

from pommel.errors import PommelError, UsageError
from pommel.mesh.msh import MOST_BYTES
from pommel.mesh.network import network

_WAIT_S = 30.0
_BY_HAND = "download the file in a browser, and give its name instead of the address"


class FetchError(PommelError):
    """The .msh file could not be had."""


async def fetch_msh(url: str) -> bytes:
    """Download a .msh file.

    Raises:
        UsageError: the address is not one of https.
        FetchError: it could not be had, or not safely.
    """
    if not url.startswith("https://"):
        raise UsageError(f"{url[:80]} is no address that begins with https://", hint=_BY_HAND)
    try:
        trust = ssl.create_default_context()
        async with asyncio.timeout(_WAIT_S), network() as http, http.get(url, ssl=trust) as answer:
            _check_way(answer)
            if answer.status != 200:
                raise FetchError(f"the server answers with status {answer.status} to {url}", hint=_BY_HAND)
            return await _body(answer)
    except aiohttp.ClientConnectorCertificateError:
        raise FetchError("this host does not trust the server's TLS certificate", hint=_BY_HAND) from None
    except aiohttp.InvalidURL:
        raise UsageError(f"{url[:80]} is no address", hint=_BY_HAND) from None
    except TimeoutError:
        raise FetchError(f"{url} could not be downloaded within {_WAIT_S:g} s", hint=_BY_HAND) from None
    except (aiohttp.ClientError, OSError) as failure:
        raise FetchError(f"{url} could not be downloaded: {failure}", hint=_BY_HAND) from None


def _check_way(answer: aiohttp.ClientResponse) -> None:
    for hop in (*answer.history, answer):
        if hop.url.scheme != "https":
            raise FetchError(f"the server sends on to {hop.url.origin()}, which is not one of https", hint=_BY_HAND)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for piece in answer.content.iter_any():
        data += piece
        if len(data) > MOST_BYTES:
            raise FetchError("what the server sends is far too long for a .msh file", hint=_BY_HAND)
    return bytes(data)
