"""A small HTTP proxy on loopback: CONNECT for what is TLS, absolute addresses for the rest, a password if wanted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """What it wants (`login`, as NAME:PASSWORD), what it answers with instead of serving, and what it was asked."""

    login: str | None = None
    answer: bytes | None = None
    port: int = 0
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    _at_work: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def address_for(self, login: str) -> str:
        return f"http://{login}@127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._at_work):
                task.cancel()
            await asyncio.gather(*self._at_work, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._at_work.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._pass_on(reader, writer)
        finally:
            writer.transport.abort()
            self._at_work.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, _, rest = head.partition("\r\n")
        method, target, version = first.split()
        self.asked.append(f"{method} {target}")
        self.heads.append(head)
        wanted = self.login and f"Proxy-Authorization: Basic {base64.b64encode(self.login.encode()).decode()}\r\n"
        if wanted and wanted not in head:
            refusal = b'HTTP/1.1 407 Log In\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n'
            writer.write(refusal)
            await writer.drain()
            return
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            there, back = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            there, back = await asyncio.open_connection(parts.hostname, parts.port or 80)
            path = parts.path or "/"
            kept = [line for line in rest.split("\r\n") if line and not line.lower().startswith("proxy-")]
            # One request a connection: the next may be for somebody else.
            kept = [line for line in kept if not line.lower().startswith("connection:")] + ["Connection: close"]
            back.write("\r\n".join([f"{method} {path} {version}", *kept, "", ""]).encode())
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.transport.abort()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()
