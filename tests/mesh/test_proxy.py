"""A MeshCentral server behind a proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from connect_proxy import Proxy
from mesh.doubles import Desk, identity
from mesh.fake_server import FakeServer, tls_hash
from mesh.joined import on_server
from pommel.errors import ConfigError, ProtocolError
from pommel.mesh.connection import Phase
from pommel.mesh.fetching import FetchError, fetch_msh
from pommel.mesh.membership import join
from pommel.mesh.network import ServerUnreachable, network, opened
from pommel.proxies import NAMES


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


async def test_a_device_is_online_through_the_proxy(
    fake: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy("ann:hunter22").running() as proxy:
        monkeypatch.setenv("https_proxy", proxy.address_for("ann:hunter22"))
        async with on_server(join(folder, fake.msh_file), Desk()) as one:
            await one.until(Phase.ONLINE)
            await fake.opens_tunnel()
        assert proxy.asked == [f"CONNECT 127.0.0.1:{fake.port}"] * 2
    # The password is the proxy's alone.
    assert fake.introductions and not any(b"hunter22" in said for said in fake.introductions)


async def test_the_certificate_is_looked_at_behind_the_proxy_too(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy().running() as proxy, network() as http:
        monkeypatch.setenv("all_proxy", proxy.address)
        async with opened(http, fake.msh.servers[0].url, [tls_hash(identity(1))]) as line:
            assert line.certificate == identity(1).certificate
        assert line.transport.is_closing()
        with pytest.raises(ProtocolError, match="different TLS certificate"):
            async with opened(http, fake.msh.servers[0].base + "meshrelay.ashx?ticket=1", [bytes(48)]):
                pass
    assert fake.asked == []


REFUSALS = [
    (None, b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "asks for a name and a password"),
    ("ann:wrong22", b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "refuses the name and password that it was given"),
    (None, b"HTTP/1.1 502 \x1b[2J\r\nContent-Length: 0\r\n\r\n", "refuses the connection: status 502 Bad Gateway"),
    (None, b"HTTP/1.1 799 x\r\nContent-Length: 0\r\n\r\n", "refuses the connection: status 799"),
]


@pytest.mark.parametrize(("login", "answer", "said"), REFUSALS)
async def test_a_proxy_that_refuses(
    monkeypatch: pytest.MonkeyPatch, login: str | None, answer: bytes, said: str
) -> None:
    async with Proxy(answer=answer).running() as proxy, network() as http:
        monkeypatch.setenv("https_proxy", proxy.address_for(login) if login else proxy.address)
        with pytest.raises(ServerUnreachable) as refusal:
            async with opened(http, "wss://mesh.example/agent.ashx"):
                pass
        with pytest.raises(FetchError, match=said):
            await fetch_msh("https://mesh.example/meshsettings?id=1")
    assert refusal.value.message == f"the proxy {proxy.address} (https_proxy) {said}"
    assert refusal.value.hint and "no_proxy=mesh.example" in refusal.value.hint
    assert "wrong22" not in refusal.value.message + refusal.value.hint


@pytest.mark.parametrize("answer", [b"", b"not HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_proxy_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    async with Proxy(answer=answer).running() as proxy, network() as http:
        monkeypatch.setenv("https_proxy", proxy.address)
        with pytest.raises(ServerUnreachable, match=r"mesh\.example:443 cannot be connected to through the proxy http"):
            async with opened(http, "wss://mesh.example/agent.ashx"):
                pass


async def test_a_proxy_whose_name_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://ann:hunter22@proxy.invalid:3128")
    async with network() as http:
        with pytest.raises(ServerUnreachable) as refusal:
            async with opened(http, "wss://mesh.example/agent.ashx"):
                pass
    assert refusal.value.message.startswith(
        "the proxy http://proxy.invalid:3128 (https_proxy) cannot be connected to: "
    )


async def test_socks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5h://ann:hunter22@p:1080")
    async with network() as http:
        with pytest.raises(ConfigError, match="all_proxy names a proxy of the kind socks5h"):
            async with opened(http, "wss://mesh.example/agent.ashx"):
                pass
    with pytest.raises(ConfigError, match="all_proxy names a proxy of the kind socks5h"):
        await fetch_msh("https://mesh.example/meshsettings?id=1")
