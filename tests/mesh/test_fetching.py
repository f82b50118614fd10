"""A .msh file from an address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mesh.doubles import identity
from mesh.fake_server import cut_all, keeping, silent_server, tls_context
from pommel.errors import UsageError
from pommel.mesh.fetching import FetchError, fetch_msh
from pommel.mesh.keys import DeviceIdentity
from pommel.mesh.network import Cable


@pytest.fixture
def asked() -> list[str]:
    """The paths that the server was asked for."""
    return []


@pytest.fixture
async def server(tmp_path: Path, asked: list[str]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/gone":
            raise web.HTTPUnauthorized
        if request.path == "/elsewhere":
            raise web.HTTPFound(f"http://127.0.0.1:{runner.addresses[1][1]}/meshsettings")
        if request.path == "/there":
            raise web.HTTPFound("/meshsettings?n=7")
        return web.Response(body=b"x" * int(request.query.get("n", 3)))

    cables: list[Cable] = []
    app = web.Application(middlewares=[keeping(cables)])
    app.router.add_get("/{any}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls_context(loopback(), tmp_path, "tls")).start()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
    await cut_all(cables)


@lru_cache(maxsize=1)
def loopback() -> DeviceIdentity:
    """A key with a certificate for the loopback address, which is its own authority."""
    key, name = identity(1).key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, datetime(2020, 1, 1), datetime(2119, 1, 1))
    der = made.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return DeviceIdentity(key, der)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this host trust the server."""
    store = tmp_path / "trusted.pem"
    store.write_bytes(x509.load_der_x509_certificate(loopback().certificate).public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(store))


async def test_a_server_that_this_host_does_not_trust_is_refused(server: str) -> None:
    with pytest.raises(FetchError, match="does not trust") as refused:
        await fetch_msh(f"{server}/meshsettings")
    assert "browser" in str(refused.value.hint)


@pytest.mark.usefixtures("trusted")
async def test_what_a_trusted_server_says(server: str) -> None:
    assert await fetch_msh(f"{server}/meshsettings?n=5") == b"xxxxx"
    with pytest.raises(FetchError, match="status 401"):
        await fetch_msh(f"{server}/gone")
    with pytest.raises(FetchError, match="too long for"):
        await fetch_msh(f"{server}/meshsettings?n=2000000")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("path", "where"), [("elsewhere", r"http://127\.0\.0\.1:\d+"), ("there", r"https://127\.0\.0\.1:\d+")]
)
async def test_a_redirect_is_not_followed_and_told(server: str, asked: list[str], path: str, where: str) -> None:
    with pytest.raises(FetchError, match=rf"/{path} redirects to {where}/meshsettings, and") as refused:
        await fetch_msh(f"{server}/{path}")
    assert asked == [f"/{path}"]
    assert ("--msh https://" if path == "there" else "browser") in str(refused.value.hint)
    assert "n=7" not in refused.value.message + str(refused.value.hint)


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
