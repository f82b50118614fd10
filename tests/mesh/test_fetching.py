"""A .msh file from an address."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from mesh.doubles import identity
from mesh.fake_server import silent_server, tls_context
from pommel.errors import UsageError
from pommel.mesh import fetching
from pommel.mesh.fetching import FetchError, fetch_msh


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/gone":
            raise web.HTTPUnauthorized
        return web.Response(body=b"x" * int(request.query.get("n", 3)))

    app = web.Application()
    app.router.add_get("/{any}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls_context(identity(1), tmp_path, "tls")).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_server_that_this_host_does_not_trust_is_refused(server: str) -> None:
    with pytest.raises(FetchError, match="does not trust") as refused:
        await fetch_msh(f"{server}/meshsettings")
    assert "browser" in str(refused.value.hint)


async def test_what_a_trusted_server_says(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Trust as if the certificate were in the system's store.
    connector = fetching.aiohttp.TCPConnector
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    session = fetching.aiohttp.ClientSession
    monkeypatch.setattr(fetching.aiohttp, "ClientSession", lambda: session(connector=connector(ssl=anything)))
    assert await fetch_msh(f"{server}/meshsettings?n=5") == b"xxxxx"
    with pytest.raises(FetchError, match="status 401"):
        await fetch_msh(f"{server}/gone")
    with pytest.raises(FetchError, match="far too long"):
        await fetch_msh(f"{server}/meshsettings?n=2000000")


@pytest.mark.parametrize("url", ["http://h/meshsettings", "ftp://h", "h", "", "https://", "https://:0/"])
async def test_other_addresses(url: str) -> None:
    with pytest.raises((UsageError, FetchError)):
        await fetch_msh(url)


async def test_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pommel.mesh.fetching._WAIT_S", 0.2)
    async with silent_server() as port:
        with pytest.raises(FetchError, match="within"):
            await fetch_msh(f"https://127.0.0.1:{port}/meshsettings")


async def test_nobody_there() -> None:
    with pytest.raises(FetchError, match="could not be downloaded"):
        await fetch_msh("https://127.0.0.1:1/meshsettings")
