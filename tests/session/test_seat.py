"""A viewer whose agents change: what the next one is told of what was said to the last."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from pommel.session.framing import FrameDecoder, FrameKind, encode
from pommel.session.seat import Seat
from pommel.wire import messages as wire
from pommel.wire.codec import encode as command
from session.scene import Viewer
from waits import until

PICTURE = command(wire.Picture(0, 0, b"jpeg"))
JUMBO = command(wire.Picture(0, 0, bytes(70_000)))
FILM = command(wire.Video(0, 0, 8, 8, 2, 1, bytes(70_000)))
SCREEN = command(wire.Screen(8, 8))
MOVE = command(wire.Move(0, 4, 8, 4, 0, 0))


class AgentEnd:
    """The other end of what `Seat.show` is given."""

    def __init__(self, seat: Seat) -> None:
        ours, self._socket = socket.socketpair()
        self._socket.setblocking(False)
        ours.setblocking(False)
        self.showing = asyncio.ensure_future(seat.show(ours))
        self.heard: list[bytes] = []
        self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        decoder = FrameDecoder()
        while data := await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16):
            self.heard += [frame.payload for frame in decoder.receive(data) if frame.kind is FrameKind.MESSAGE]

    async def say(self, *messages: bytes) -> None:
        for message in messages:
            await asyncio.get_running_loop().sock_sendall(self._socket, encode(FrameKind.MESSAGE, message))

    async def leave(self) -> None:
        self._listening.cancel()
        await asyncio.wait([self._listening])
        self._socket.close()
        await self.showing


@pytest.fixture
async def viewer() -> AsyncIterator[Viewer]:
    made = Viewer()
    yield made
    made.leave()


async def test_wishes_are_told_to_the_next_agent_and_counts_begin_anew(viewer: Viewer) -> None:
    seat = Seat(viewer)
    reading = asyncio.ensure_future(seat.read())
    wish, ability = command(wire.Compression(1, 70)), command(wire.Abilities(1))
    viewer.say(wish)
    viewer.say(ability)
    viewer.say(command(wire.Refresh()))
    first = AgentEnd(seat)
    await until(lambda: first.heard[-2:] == [ability, wish] or first.heard == [ability, wish], what="the wishes")
    await first.say(SCREEN, PICTURE, MOVE, JUMBO, FILM)  # a move is passed on, but the viewer does not count it
    await until(lambda: len(viewer.shown) == 5)
    assert viewer.shown == [SCREEN, PICTURE, MOVE, JUMBO, FILM]
    viewer.say(command(wire.Shown(2)))
    await until(lambda: first.heard[-1] == command(wire.Shown(2)))
    await first.leave()
    second = AgentEnd(seat)
    await until(lambda: second.heard == [ability, wish])
    await second.say(SCREEN, PICTURE)
    await until(lambda: len(viewer.shown) == 7)
    for count in (3, 4):  # the last of the first agent's, and the second's first
        viewer.say(command(wire.Shown(count)))
    await until(lambda: len(second.heard) == 3)
    assert second.heard[2] == command(wire.Shown(1))
    await second.leave()
    viewer.leave()
    await reading


async def test_counts_go_round(viewer: Viewer) -> None:
    seat = Seat(viewer)
    seat._pictures = 2**32 - 1
    reading = asyncio.ensure_future(seat.read())
    agent = AgentEnd(seat)
    await until(lambda: seat._writer is not None)
    viewer.say(command(wire.Shown(2**32 - 1)))
    viewer.say(command(wire.Shown(1)))
    await until(lambda: agent.heard == [command(wire.Shown(2))])
    await agent.leave()
    viewer.leave()
    await reading
