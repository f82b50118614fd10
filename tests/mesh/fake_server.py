"""A server that speaks MeshCentral's side of the handshake, and misbehaves where the test wants it to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from isolation import patient
from mesh.doubles import identity
from pommel.mesh.keys import DeviceIdentity, fingerprint, is_signed, key_of, sha384, to_pem
from pommel.mesh.msh import Msh, Server
from pommel.mesh.network import Cable

MESH_ID = bytes(range(48))
PATIENCE_S = 20.0
OVER = web.AppKey("over", asyncio.Event)


def server_hello(
    message: bytes, nonce: bytes, key: DeviceIdentity, *, signed: bytes | None = None
) -> tuple[bytes, bytes]:
    """The server's two answers to message 1 (b1 and b2)."""
    tls_hash, device_nonce = message[2:50], message[50:98]
    signature = key.sign(signed if signed is not None else tls_hash + device_nonce + nonce)
    proof = struct.pack(">HH", 2, len(key.certificate)) + key.certificate + signature
    return struct.pack(">H", 1) + tls_hash + nonce, proof


@dataclass
class FakeServer:
    """The server. `after` it has said this message type it falls silent; `key` is what it proves itself with."""

    key: DeviceIdentity
    tls: ssl.SSLContext
    silent_after: int | None = None
    lies: bool = False
    hangs_up: bool = False
    port: int = 0
    heard: list[dict[str, Any]] = field(default_factory=list)
    binary: list[bytes] = field(default_factory=list)
    agents: list[web.WebSocketResponse] = field(default_factory=list)
    relays: list[web.WebSocketResponse] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    introductions: list[bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def msh(self) -> Msh:
        url = f"wss://127.0.0.1:{self.port}/agent.ashx"
        return Msh(MESH_ID, "tests", (Server(url, fingerprint(identity(0).key.public_key())),))

    @property
    def msh_file(self) -> bytes:
        server = self.msh.servers[0]
        said = f"\r\nMeshName=tests\r\nMeshType=2\r\nMeshID=0x{MESH_ID.hex()}\r\nServerID={server.server_id.hex()}"
        return f"{said}\r\nMeshServer={server.url}\r\n".encode()

    async def until(self, true: Callable[[], Any]) -> Any:
        async with asyncio.timeout(patient(PATIENCE_S)):
            while not (found := true()):
                self.news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self.news.wait()
        return found

    async def hears(self, **want: Any) -> dict[str, Any]:
        """A JSON message from the device with these fields."""

        def found() -> dict[str, Any] | None:
            return next((one for one in self.heard if all(one.get(k) == v for k, v in want.items())), None)

        return dict(await self.until(found))

    async def say(self, **said: Any) -> None:
        await self.agents[-1].send_bytes(json.dumps(said).encode())

    async def opens_tunnel(self, where: str = "*/meshrelay.ashx?p=2&id=1&nodeid=a@b$c", **said: Any) -> Onlooker:
        count = len(self.relays)
        order = {
            "action": "msg",
            "type": "tunnel",
            "value": where,
            "usage": 2,
            "userid": "user//ann",
            "sessionid": "s1",
        }
        order |= {"username": "ann", "realname": "Ann B.", "rights": 0xFFFFFFFF, "consent": 0}
        await self.say(**(order | said))
        await self.until(lambda: len(self.relays) > count)
        return Onlooker(self.relays[-1], self)

    async def _agent(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.agents.append(socket)
        if await self._shake_hands(socket):
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.heard.append(json.loads(message.data))
                elif message.type is WSMsgType.BINARY:
                    self.binary.append(message.data)
                self.news.set()
        return socket

    async def _shake_hands(self, socket: web.WebSocketResponse) -> bool:
        assert await socket.receive_bytes() == b"\0\5" + self.msh.servers[0].server_id
        nonce, hello = os.urandom(48), await socket.receive_bytes()
        if self.hangs_up or self.silent_after == 0:
            return await self._leave(socket)
        first, proof = server_hello(hello, nonce, self.key, signed=b"other things" if self.lies else None)
        await socket.send_bytes(first)
        await socket.send_bytes(b'{"action":"ping"}')
        await socket.send_bytes(proof)
        theirs = await socket.receive()
        if theirs.type is not WSMsgType.BINARY:
            return False
        (size,) = struct.unpack_from(">H", theirs.data, 2)
        certificate, signature = theirs.data[4 : 4 + size], theirs.data[4 + size :]
        assert is_signed(key_of(certificate), signature, hello[2:50] + nonce + hello[50:])
        self.introductions.append(await socket.receive_bytes())
        if self.silent_after == 2:
            return await self._leave(socket)
        await socket.send_bytes(b"\0\4")
        return True

    async def _leave(self, socket: web.WebSocketResponse) -> bool:
        if not self.hangs_up:
            await socket.receive()
        return False

    async def _relay(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.asked.append(request.raw_path)
        self.relays.append(socket)
        self.news.set()
        await request.app[OVER].wait()
        return socket


class Onlooker:
    """The viewer's end of a tunnel."""

    def __init__(self, socket: web.WebSocketResponse, server: FakeServer) -> None:
        self.socket = socket
        self.server = server
        self._kept: list[Any] = []

    async def begin(self, *texts: str) -> None:
        for text in ("c", *texts, "2"):
            await self.socket.send_str(text)

    async def next(self) -> Any:
        """The next message: bytes, a control text's fields, or None at the end."""
        async with asyncio.timeout(patient(PATIENCE_S)):
            message = await self.socket.receive()
        if message.type is WSMsgType.TEXT:
            return json.loads(message.data)
        return message.data if message.type is WSMsgType.BINARY else None

    async def told(self, kind: str) -> Any:
        """The next control text of this type."""
        while True:
            said = self._kept.pop(0) if self._kept else await self.next()
            assert said is not None
            if isinstance(said, dict) and said["type"] == kind:
                return said

    async def command(self) -> bytes:
        """The next KVM command; texts before it are kept for `told`."""
        while not isinstance(said := await self.next(), bytes):
            assert said is not None
            self._kept.append(said)
        return said


def tls_context(key: DeviceIdentity, folder: Path, name: str) -> ssl.SSLContext:
    pem = folder / f"{name}.pem"
    pem.write_bytes(to_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def tls_hash(key: DeviceIdentity) -> bytes:
    return sha384(key.certificate)


@contextlib.asynccontextmanager
async def fake_server(folder: Path, **options: Any) -> AsyncIterator[FakeServer]:
    """The server on a free port."""
    key = options.pop("key", identity(0))
    server = FakeServer(key, tls_context(identity(1), folder, "tls"), **options)
    over = asyncio.Event()
    cables: list[Cable] = []
    app = web.Application(middlewares=[keeping(cables)])
    app[OVER] = over
    app.router.add_get("/agent.ashx", server._agent)
    app.router.add_get("/meshrelay.ashx", server._relay)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server.tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        over.set()
        for socket in (*server.agents, *server.relays):
            await socket.close()
        await runner.cleanup()
        await cut_all(cables)


def keeping(cables: list[Cable]) -> Any:
    """A middleware that keeps each request's connection in mind: a server of aiohttp does not wait for their end."""

    @web.middleware
    async def keep(request: web.Request, handler: Any) -> Any:
        assert request.transport is not None
        cables.append(Cable(request.transport))
        return await handler(request)

    return keep


async def cut_all(cables: Iterable[Cable]) -> None:
    await asyncio.gather(*(one.cut() for one in cables))


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A port that takes connections and says nothing, not even a TLS greeting."""
    taken: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        await cut_all(Cable(writer.transport) for writer in taken)


@contextlib.asynccontextmanager
async def stubborn_server(folder: Path, answer: bytes) -> AsyncIterator[int]:
    """A TLS server that says this to each request, and from then on neither listens nor goes."""
    taken: list[tuple[Cable, asyncio.StreamWriter]] = []  # held: from Python 3.13 on one that nobody holds says goodbye

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append((Cable(writer.transport), writer))
        asked = await reader.readuntil(b"\r\n\r\n")
        key = asked.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        proof = base64.b64encode(
            hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        )  # RFC 6455, 4.2.2
        writer.write(answer.replace(b"PROOF", proof))
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's, which reads too

    tls = tls_context(identity(1), folder, "stubborn")
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as listening:
        yield listening.sockets[0].getsockname()[1]
        await cut_all(cable for cable, _ in taken)
