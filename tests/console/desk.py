"""A stand-in for an endpoint: shows a picture it is given, and writes down what its viewers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import numpy as np
import simplejpeg

from isolation import patient
from pommel.wire import messages as m
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Command, Direction
from pommel.wire.viewer import ViewerStream

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (250, 250, 250)}


def patch(width: int, height: int, colour: str) -> bytes:
    """A JPEG of one colour."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = COLOURS[colour]
    return simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="444")


def quarters(width: int, height: int) -> list[Command]:
    """A screen of four quarters: red, green; blue, white."""
    half_w, half_h = width // 2, height // 2
    places = {"red": (0, 0), "green": (half_w, 0), "blue": (0, half_h), "white": (half_w, half_h)}
    return [m.Picture(x, y, patch(half_w, half_h, colour)) for colour, (x, y) in places.items()]


class Desk:
    """`serve` is a `serve_viewer`. All viewers' commands are in `seen`, their acknowledgements in `shown`; `show` sends to all."""

    def __init__(self, width: int = 640, height: int = 400) -> None:
        self.width, self.height = width, height
        self.seen: list[Command] = []
        self.shown: list[int] = []
        self.viewers: list[ViewerStream] = []
        self.came = 0
        self.state = "running"
        self.silent = False
        self.guest = ""
        self._changed = asyncio.Condition()

    async def serve(self, viewer: ViewerStream) -> None:
        decoder = Decoder(Direction.TO_ENDPOINT)
        self.viewers.append(viewer)
        self.came += 1
        try:
            if not self.silent:
                await self.picture_to(viewer)
            async for data in viewer.messages():
                decoder.receive_data(data)
                for command in decoder.events():
                    await self._note(command)
                    if command == m.Refresh():
                        await self.picture_to(viewer)
        finally:
            self.viewers.remove(viewer)
            await self._note(None)

    async def picture_to(self, viewer: ViewerStream) -> None:
        for command in [m.Screen(self.width, self.height), *quarters(self.width, self.height)]:
            await viewer.send(encode(command))

    async def show(self, *commands: Command) -> None:
        for viewer in self.viewers:
            for command in commands:
                await viewer.send(encode(command))

    async def say(self, text: str) -> None:
        for viewer in self.viewers:
            await viewer.send_text(text)

    async def status(self) -> Mapping[str, object]:
        return {"name": "desk", "state": self.state, "guest": self.guest}

    async def until(self, truth: Callable[[], object], timeout_s: float = 10) -> None:
        """Wait until something seen makes `truth` true."""
        async with asyncio.timeout(patient(timeout_s)), self._changed:
            await self._changed.wait_for(truth)

    async def next(self, kind: type[Command] | tuple[type[Command], ...], count: int) -> list[Command]:
        """Wait for `count` commands of a kind, and take them out of `seen` with all before them."""
        await self.until(lambda: len(self.of(kind)) >= count)
        found = self.of(kind)[:count]
        self.seen.clear()
        return found

    def of(self, kind: type[Command] | tuple[type[Command], ...]) -> list[Command]:
        return [command for command in self.seen if isinstance(command, kind)]

    async def _note(self, command: Command | None) -> None:
        if isinstance(command, m.Shown):
            self.shown.append(command.count)
        elif command is not None:
            self.seen.append(command)
        async with self._changed:
            self._changed.notify_all()
