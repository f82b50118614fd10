"""WebSockets to servers with certificates of their own."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import WSMsgType

from mesh.doubles import identity
from mesh.fake_server import FakeServer, fake_server, silent_server, stubborn_server, tls_hash
from pommel.errors import ProtocolError
from pommel.mesh.network import Cable, SentElsewhere, ServerUnreachable, network, opened


async def test_the_certificate_is_taken_note_of_and_the_socket_ended(fake: FakeServer) -> None:
    async with network() as http:
        async with opened(http, fake.msh.servers[0].url, [bytes(48), tls_hash(identity(1))]) as line:
            assert line.certificate == identity(1).certificate
            assert not line.socket.closed
        assert line.transport.is_closing()
        assert (await line.socket.receive()).type in (WSMsgType.CLOSED, WSMsgType.CLOSE)


async def test_another_certificate_is_not_even_asked(fake: FakeServer) -> None:
    url = fake.msh.servers[0].base + "meshrelay.ashx?ticket=1"
    async with network() as http:
        with pytest.raises(ProtocolError, match="different TLS certificate"):
            async with opened(http, url, [bytes(48)]):
                pass
    assert fake.asked == []


@pytest.mark.parametrize(
    ("path", "said"), [("nothing/here", "status 404"), ("agent.ashx", "cannot be connected to: Connection refused")]
)
async def test_no_server_there(tmp_path: Path, path: str, said: str) -> None:
    async with fake_server(tmp_path) as fake, network() as http:
        port = fake.port if "404" in said else 1
        with pytest.raises(ServerUnreachable, match=said):
            async with opened(http, f"wss://127.0.0.1:{port}/{path}"):
                pass


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://127.0.0.1:{port}/meta-data?ticket=1", "http://127.0.0.1:{port}/meta-data,"),
        ("https://127.0.0.1:{port}/agent.ashx", "https://127.0.0.1:{port}/agent.ashx,"),
        ("//evil.example/x", "wss://evil.example/x,"),
        ("elsewhere.ashx?a=1#b", "/elsewhere.ashx,"),
        ("wss://u:p@[::1]:7/\u00e4", "wss://"),
        ("http://[", "redirects to"),
        ("gopher://x/y", "gopher://x/y,"),
    ],
)
async def test_a_redirect_is_not_followed_and_told(tmp_path: Path, status: int, location: str, told: str) -> None:
    """Neither off TLS, nor to another host, nor to the same one: a certificate was looked at for this address alone."""
    asked: list[str] = []

    async def inner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode(errors="replace"))
        writer.close()

    elsewhere = await asyncio.start_server(inner, "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]
    head = f"HTTP/1.1 {status} X\r\nLocation: {location.format(port=port)}\r\nContent-Length: 0\r\n\r\n"
    async with elsewhere, stubborn_server(tmp_path, head.encode()) as first, network() as http:
        with pytest.raises(SentElsewhere) as refused:
            async with opened(http, f"wss://127.0.0.1:{first}/agent.ashx"):
                pass
        assert sockets_to(first) == 0
    assert asked == []
    message = refused.value.message
    assert f"127.0.0.1:{first} redirects to" in message and told.format(port=port) in message
    assert "ticket" not in message and "u:p@" not in message and refused.value.hint


async def test_a_server_that_takes_the_connection_and_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pommel.mesh.network.CONNECT_S", 0.2)
    async with silent_server() as port, network() as http:
        with pytest.raises(ServerUnreachable, match="does not answer"):
            async with opened(http, f"wss://127.0.0.1:{port}/agent.ashx"):
                pass


REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
LONG_REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nx"
WELCOME = b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: PROOF\r\n\r\n"


def sockets_to(port: int) -> int:
    """How many open sockets of this process lead there."""
    ours = [one for one in gc.get_objects() if isinstance(one, socket.socket) and one.fileno() >= 0]
    return sum(one.family == socket.AF_INET and _peer(one) == port for one in ours)


def _peer(one: socket.socket) -> int | None:
    try:
        return int(one.getpeername()[1])
    except OSError:
        return None


@pytest.mark.parametrize("answer", [REFUSAL, LONG_REFUSAL, WELCOME])
async def test_who_does_not_say_goodbye_is_cut_off_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr("pommel.mesh.network._CLOSE_S", 0.1)
    async with stubborn_server(tmp_path, answer) as port, network() as http:
        try:
            async with opened(http, f"wss://127.0.0.1:{port}/agent.ashx") as line:
                assert sockets_to(port) == 1
                await line.socket.send_bytes(bytes(1 << 20))
        except ServerUnreachable as refused:
            assert answer != WELCOME, refused
        assert sockets_to(port) == 0


async def test_when_the_network_ends_nothing_is_left_open(tmp_path: Path) -> None:
    async with stubborn_server(tmp_path, LONG_REFUSAL) as port:
        async with network() as http:
            for _ in range(4):
                answer = await http.get(f"https://127.0.0.1:{port}/", ssl=False)
                assert answer.status == 404
                answer.close()
            assert sockets_to(port) == 4  # aiohttp knows of none of them any more
        assert sockets_to(port) == 0


async def test_a_transport_that_was_closed_twice_is_cut_off_too(tmp_path: Path) -> None:
    async with stubborn_server(tmp_path, LONG_REFUSAL) as port:
        anything = ssl.create_default_context()
        anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anything)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.readline()
        cable = Cable(writer.transport)
        for _ in range(2):
            writer.transport.close()
        assert cable.is_open
        await cable.cut()
        assert not cable.is_open
        assert sockets_to(port) == 0
