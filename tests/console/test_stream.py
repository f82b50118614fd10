"""What is answered of MeshCentral's control texts, and how a stream tells of room. See test_server for the rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pommel.console.server import ConsoleInfo, ConsoleServer, new_token
from pommel.console.stream import WebSocketStream, control_reply
from pommel.wire.viewer import ViewerStream


@pytest.mark.parametrize("channel", ['"102938"', "102938"])
def test_rtt_is_echoed_and_ping_answered(channel: str) -> None:
    rtt = f'{{ "ctrlChannel": {channel}, "type": "rtt", "time": 1 }}'
    assert control_reply(rtt) == rtt
    assert json.loads(control_reply(f'{{"ctrlChannel":{channel},"type":"ping"}}') or "") == {
        "ctrlChannel": "102938",
        "type": "pong",
    }


@pytest.mark.parametrize(
    "text",
    ["2", "", "null", '{"type":"rtt"}', '{"ctrlChannel":"1","type":"rtt"}', '{"ctrlChannel":102938}', "[" * 9999],
)
def test_the_rest_is_not(text: str) -> None:
    assert control_reply(text) is None


@given(st.text(max_size=50))
def test_law_any_text_is_answered_or_ignored(text: str) -> None:
    assert control_reply(text) in (None, text)


class Served:
    """A console's server whose viewers' streams the test holds."""

    def __init__(self) -> None:
        self.streams: list[ViewerStream] = []
        self.over = asyncio.Event()
        self.server = ConsoleServer(
            info=ConsoleInfo("desk"), token=new_token(), serve_viewer=self._serve, status=self._status, port=0
        )

    async def _serve(self, stream: ViewerStream) -> None:
        self.streams.append(stream)
        await self.over.wait()

    @staticmethod
    async def _status() -> dict[str, object]:
        return {}


@contextlib.asynccontextmanager
async def viewed() -> AsyncIterator[tuple[WebSocketStream, ClientConnection]]:
    """A stream, and a viewer at its other end that reads when it is told to."""
    served = Served()
    await served.server.start()
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    pipe.connect(("127.0.0.1", served.server.port))
    pipe.setblocking(False)
    viewer = await connect(served.server.ws, sock=pipe, max_size=None, max_queue=1, compression=None)
    while not served.streams:
        await asyncio.sleep(0.002)
    (stream,) = served.streams
    assert isinstance(stream, WebSocketStream)
    try:
        yield stream, viewer
    finally:
        served.over.set()
        viewer.transport.abort()
        await served.server.stop()


async def fill(stream: WebSocketStream, messages: int = 40) -> None:
    for _ in range(messages):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.send(bytes(100_000))


async def test_who_waits_for_room_is_called_once_the_viewer_reads_and_not_before() -> None:
    async with viewed() as (stream, viewer):
        await fill(stream)
        before, calls = stream.unsent_bytes(), []
        assert before > 1_000_000
        called = asyncio.Event()
        stream.call_when_drained(50_000, lambda: calls.append("an older call"))
        stream.call_when_drained(50_000, called.set)
        await asyncio.sleep(0.05)
        assert not called.is_set()
        while not called.is_set():
            await viewer.recv()
        assert stream.unsent_bytes() < before and calls == []


async def test_it_can_be_asked_again_until_all_has_gone() -> None:
    async with viewed() as (stream, viewer):
        await fill(stream, 20)

        async def read() -> None:
            async for _ in viewer:
                pass

        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            while stream.unsent_bytes():
                called = asyncio.Event()
                stream.call_when_drained(1000, called.set)
                await called.wait()
            called = asyncio.Event()
            stream.call_when_drained(1000, called.set)  # nothing waits: soon all the same
            await called.wait()
            reading.cancel()


async def test_the_socket_ends_with_its_stream_though_somebody_waited_for_room() -> None:
    async with viewed() as (stream, viewer):
        await fill(stream)
        stream.call_when_drained(1000, lambda: None)
        closing = asyncio.ensure_future(stream.close(1008, "too slow"))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await viewer.recv()
        await closing
        assert closed.value.rcvd is not None and (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            1008,
            "too slow",
        )
        called = asyncio.Event()
        stream.call_when_drained(1000, called.set)
        await called.wait()  # whoever asks later is not left waiting
