"""WebSockets to servers with certificates of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import WSMsgType

from mesh.doubles import identity
from mesh.fake_server import FakeServer, fake_server, silent_server, tls_hash
from pommel.errors import ProtocolError
from pommel.mesh.network import ServerUnreachable, network, opened


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
        with pytest.raises(ProtocolError, match="another TLS certificate"):
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


async def test_a_server_that_takes_the_connection_and_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pommel.mesh.network.CONNECT_S", 0.2)
    async with silent_server() as port, network() as http:
        with pytest.raises(ServerUnreachable, match="does not answer"):
            async with opened(http, f"wss://127.0.0.1:{port}/agent.ashx"):
                pass
