"""Many viewers of one screen, over real WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pommel.console.server import ConsoleInfo, ConsoleServer, new_token
from pommel.screen.endpoint import Endpoint
from pommel.screen.geometry import Rect, Size, whole
from pommel.wire import messages as wire
from pommel.wire.codec import encode
from waits import until

from .doubles import MemorySink, Onlooker, PaintedSource, RawEncoder

SIZE = Size(256, 192)
LARGE = Size(1280, 720)


class Served:
    """An endpoint behind a console's server, and those who look on."""

    def __init__(self, tasks: asyncio.TaskGroup, size: Size, stall_s: float) -> None:
        self.tasks = tasks
        self.source, self.encoder = PaintedSource(size), RawEncoder()
        self.endpoint = Endpoint(self.source, MemorySink(), encoder=self.encoder, stall_s=stall_s)
        self.server = ConsoleServer(
            info=ConsoleInfo("desk"), token=new_token(), serve_viewer=self.endpoint.serve, status=self._status, port=0
        )

    @staticmethod
    async def _status() -> dict[str, object]:
        return {}

    async def look(self, *, acknowledges: bool = False) -> Onlooker:
        onlooker = Onlooker(acknowledges=acknowledges)
        connection = await connect(self.server.ws, max_size=None, compression=None)
        self.tasks.create_task(_read(connection, onlooker))
        self.tasks.create_task(_write(connection, onlooker))
        return onlooker

    def shows(self, onlooker: Onlooker) -> bool:
        pixels = self.source.frame.pixels
        return onlooker.canvas.shape == pixels.shape and bool((onlooker.canvas == pixels).all())


async def _read(connection: ClientConnection, onlooker: Onlooker) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            if isinstance(message, bytes):
                onlooker.take(message)
    onlooker.leave()


async def _write(connection: ClientConnection, onlooker: Onlooker) -> None:
    async for message in onlooker.messages():
        with contextlib.suppress(ConnectionClosed):
            await connection.send(message)
    await connection.close()


@contextlib.asynccontextmanager
async def served(size: Size, *, stall_s: float = 30.0) -> AsyncIterator[Served]:
    async with asyncio.TaskGroup() as tasks:
        stage = Served(tasks, size, stall_s)
        stage.source.paint(whole(size), 1)
        await stage.server.start()
        running = tasks.create_task(stage.endpoint.run())
        try:
            yield stage
        finally:
            running.cancel()
            await stage.server.stop()


async def test_fifty_viewers_see_one_screen_and_its_pictures_are_made_once() -> None:
    async with served(SIZE) as stage:
        crowd = [await stage.look(acknowledges=n % 2 == 0) for n in range(50)]
        await until(lambda: all(stage.shows(one) for one in crowd))
        assert stage.endpoint.viewers == 50
        stage.encoder.count = 0
        for seed in range(20):
            stage.source.paint(Rect(64 * (seed % 4), 0, 64, 64), seed)
            await until(lambda: all(stage.shows(one) for one in crowd))
        assert stage.encoder.count <= 3 * 20
        for one in crowd[:49]:
            one.leave()
        await until(lambda: stage.endpoint.viewers == 1)
        stage.source.paint(whole(SIZE), 99)
        await until(lambda: stage.shows(crowd[49]))


@pytest.mark.parametrize("acknowledges", [False, True])
async def test_one_that_does_not_read_keeps_nobody_waiting_and_is_parted_from(acknowledges: bool) -> None:
    async with served(LARGE, stall_s=1.0) as stage:
        others = [await stage.look(acknowledges=acknowledges) for _ in range(3)]
        parts = urlsplit(stage.server.ws)
        deaf = socket.create_connection((parts.hostname, parts.port))
        head = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        head += (
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        deaf.sendall(head.encode())
        await until(lambda: stage.endpoint.viewers == 4)
        streams = {viewer._stream for viewer in stage.endpoint._viewers}
        most = 0
        for seed in range(60):
            stage.source.paint(whole(LARGE), seed)
            await asyncio.sleep(0.02)
            most = max([most, *(stream.unsent_bytes() for stream in streams)])
            if stage.endpoint.viewers == 3 and seed > 10:
                break
        await until(lambda: stage.endpoint.viewers == 3)
        await until(lambda: all(stage.shows(one) for one in others))
        # One picture of what this encoder makes, 2 MiB, and a window; the kernel counts its own headers too.
        assert most < (2 << 20) + (2 << 20)
        deaf.close()


async def test_input_overtakes_a_picture_that_waits() -> None:
    async with served(LARGE) as stage:
        stuck = await connect(stage.server.ws, max_size=None, compression=None, max_queue=1)
        await until(lambda: stage.endpoint.viewers == 1)
        for seed in range(10):
            stage.source.paint(whole(LARGE), seed)
            await asyncio.sleep(0.01)
        sink = stage.endpoint._sink
        assert isinstance(sink, MemorySink)
        for vk in range(65, 91):
            await stuck.send(encode(wire.Key(vk, True)))
        await until(lambda: len(sink.done) == 26)
        assert [one.vk for one in sink.done] == list(range(65, 91))
        stuck.transport.abort()
        await until(lambda: len(sink.done) == 52)
        assert all(not one.down for one in sink.done[26:])
