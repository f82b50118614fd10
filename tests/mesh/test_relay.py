"""The viewer's stream, over a relay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from isolation import patient
from mesh.fake_server import FakeServer
from mesh.joined import Joined
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from pommel.wire.viewer import ViewerStream
from waits import until


async def test_a_viewer_that_never_comes_is_given_up(
    fake: FakeServer, online: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pommel.mesh.relay.JOIN_S", 0.2)
    monkeypatch.setattr("pommel.mesh.relay.CHOOSE_S", 0.2)
    viewer = await fake.opens_tunnel()
    assert "did not connect" in (await viewer.told("console"))["msg"]
    assert await viewer.next() is None
    viewer = await fake.opens_tunnel()
    await viewer.socket.send_str("cr")
    assert "sent no request" in (await viewer.told("console"))["msg"]


async def test_what_waits_for_a_viewer_that_does_not_read_is_counted(
    fake: FakeServer, online: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    async def pour(stream: Any, **_: object) -> None:
        assert stream.unsent_bytes() < 1 << 16
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await stream.send(bytes(1 << 16))
        counted.append(stream.unsent_bytes())

    monkeypatch.setattr(online.desk, "serve", pour)
    viewer = await fake.opens_tunnel()
    viewer.socket._req.transport.pause_reading()  # type: ignore[union-attr]
    await viewer.begin()
    await until(lambda: counted)
    assert counted[0] > 1 << 16


async def test_a_viewer_that_does_not_read_can_be_parted_from(
    fake: FakeServer, online: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    parted = asyncio.Event()

    async def pour(stream: ViewerStream, **_: object) -> None:
        async with asyncio.TaskGroup() as tasks:
            pouring = tasks.create_task(_pour(stream))
            await asyncio.sleep(0.3)
            await stream.close(1008, "ü" * 200)
            pouring.cancel()
        parted.set()

    monkeypatch.setattr("pommel.mesh.relay._GOODBYE_S", 0.2)
    monkeypatch.setattr(online.desk, "serve", pour)
    viewer = await fake.opens_tunnel()
    viewer.socket._req.transport.pause_reading()  # type: ignore[union-attr]
    await viewer.begin()
    async with asyncio.timeout(patient(10)):
        await parted.wait()
    await until(lambda: online.connection.viewers == 0)
    viewer.socket._req.transport.abort()  # type: ignore[union-attr]


async def _pour(stream: ViewerStream) -> None:
    while True:
        await stream.send(bytes(1 << 16))


async def test_commands_that_nobody_knows_pass_a_limited_viewer_whole(
    fake: FakeServer, online: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[bytes] = []

    async def listen(stream: ViewerStream, **_: object) -> None:
        async for data in stream.messages():
            got.append(data)

    monkeypatch.setattr(online.desk, "serve", listen)
    viewer = await fake.opens_tunnel(rights=0x1008)
    await viewer.begin()
    harmless: list[wire.Command] = [wire.Unknown(222, b"abc"), wire.Compression(4, 50, 1024, 50), wire.Mouse(1, 2, 2)]
    for command in (*harmless, wire.CtrlAltDel(), wire.Refresh()):
        await viewer.socket.send_bytes(encode(command))
    await until(lambda: len(got) == 5)
    blocks = wire.Abilities(wire.WANTS_BLOCKS | wire.KEYS_BY_LEGEND)  # said for the server's multiplexer
    assert got == [encode(one) for one in (blocks, *harmless, wire.Refresh())]


async def test_a_viewers_answers_to_pings_become_acknowledgements(
    fake: FakeServer, online: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[wire.Command] = []
    picture = encode(wire.Picture(0, 0, bytes(100)))

    async def show(stream: ViewerStream, **_: object) -> None:
        decoder = Decoder(wire.Direction.TO_ENDPOINT)
        async for data in stream.messages():
            decoder.receive_data(data)
            got.extend(decoder.events())
            if got[-1] in (wire.Shown(0), wire.Refresh()):
                for one in (encode(wire.Screen(64, 64)), picture, picture):
                    await stream.send(one)

    monkeypatch.setattr(online.desk, "serve", show)
    viewer = await fake.opens_tunnel(rights=0x1008)  # a limited viewer's answers count too
    await viewer.begin()
    for _ in range(3):  # before the first picture, behind it, and behind the second once that is answered
        assert (await viewer.told("ping")) == {"ctrlChannel": "102938", "type": "ping"}
        await viewer.socket.send_str('{"ctrlChannel":"102938","type":"pong"}')
    blocks, acknowledges = (
        wire.Abilities(wire.WANTS_BLOCKS | wire.KEYS_BY_LEGEND),
        wire.Abilities(wire.WANTS_BLOCKS | wire.KEYS_BY_LEGEND | wire.ACKNOWLEDGES),
    )
    await until(lambda: len(got) == 5)
    assert got == [blocks, acknowledges, wire.Shown(0), wire.Shown(1), wire.Shown(2)]
    await viewer.socket.send_bytes(encode(wire.Refresh()))
    await viewer.told("ping")
    await viewer.socket.send_str('{"ctrlChannel":"102938","type":"pong"}')
    await until(lambda: got[-1] == wire.Shown(3))
