"""A viewer that measures, of whatever speaks MeshCentral's KVM commands over a WebSocket.

    python bench/screen/kvm.py WHERE play SCENE SECONDS FPS     frames seen, their age, bytes, CPU of --pid
    python bench/screen/kvm.py WHERE input COUNT                 Mouse sent → pointer moved on DISPLAY, ms
    python bench/screen/kvm.py WHERE crowd VIEWERS SCENE SECONDS FPS

WHERE is a WebSocket's address, or SERVER,USER,PASSWORD,DEVICE of a MeshCentral server. DISPLAY names the screen.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import socket
import ssl
import struct
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import simplejpeg
from figures import STRIP, Corner, play
from websockets.asyncio.client import ClientConnection, connect

PICTURE, SCREEN, JUMBO, SHOWN, MOVE = 3, 7, 27, 201, 208
_ACKNOWLEDGES, _TAKES_MOVES = 1, 256
_FIRST_S = 20.0


class Viewer:
    """One viewer: what it saw, and how much it took to be told."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.corner, self.bytes, self.pictures = Corner(), 0, 0
        self.whole: float | None = None  # when every pixel had come
        self._missing: np.ndarray | None = None
        self._canvas = np.zeros((0, 0), np.uint8)  # brightness, of a viewer that takes moves
        self.socket: ClientConnection

    async def open(self, where: str) -> None:
        self.socket, server = await _open(where, self.options.rate)
        if server:
            while await self.socket.recv() not in ("c", "cr"):
                pass
            await self.socket.send("2")

    async def read(self) -> None:
        async for message in self.socket:
            if isinstance(message, bytes):
                self.bytes += len(message)
                await self._take(message)
                if self.options.rate:
                    await asyncio.sleep(len(message) / self.options.rate)
            elif json.loads(message).get("type") == "ping":  # as MeshCentral's page does
                await self.socket.send('{"ctrlChannel":"102938","type":"pong"}')

    async def _take(self, message: bytes) -> None:
        at = 0
        before = self.pictures
        while at + 4 <= len(message):
            kind, size = struct.unpack_from(">HH", message, at)
            if kind == JUMBO:
                size = struct.unpack_from(">I", message, at + 4)[0]
                at += 8
                kind = struct.unpack_from(">H", message, at)[0]
            await self._command(kind, memoryview(message)[at + 4 : at + size])
            at += max(size, 4)
        if self.options.ack and self.pictures != before:
            await self.socket.send(struct.pack(">HHI", SHOWN, 8, self.pictures))

    async def _command(self, kind: int, body: memoryview) -> None:
        if kind == SCREEN:
            width, height = struct.unpack_from(">HH", body)
            if self._missing is None or self._missing.shape != (height, width):
                self._missing = np.ones((height, width), bool)
                self._canvas = np.zeros((height, width), np.uint8)
            await self.socket.send(self._wishes())
        elif kind == PICTURE:
            self.pictures += 1
            x, y = struct.unpack_from(">HH", body)
            self._picture(x, y, bytes(body[4:]))
        elif kind == MOVE:
            x, y, width, height, to_x, to_y = struct.unpack(">HHHHHH", body)
            part = self._canvas[y : y + height, x : x + width].copy()
            self._canvas[to_y : to_y + height, to_x : to_x + width] = part

    def _wishes(self) -> bytes:
        quality, timer = self.options.quality, self.options.timer
        bits = _ACKNOWLEDGES * self.options.ack | _TAKES_MOVES * self.options.moves
        abilities = struct.pack(">HHH", 200, 6, bits) if bits else b""
        return abilities + struct.pack(">HHBBHH", 5, 10, 1, quality, 1024, timer) + struct.pack(">HHB", 8, 5, 0)

    def _picture(self, x: int, y: int, image: bytes) -> None:
        height, width = simplejpeg.decode_jpeg_header(image)[:2]
        if self.whole is None and self._missing is not None:
            self._missing[y : y + height, x : x + width] = False
            if not self._missing.any():
                self.whole = time.monotonic()
        if self.options.moves:
            self._canvas[y : y + height, x : x + width] = simplejpeg.decode_jpeg(image, "GRAY")[:, :, 0]
            if y < STRIP[0] and x < STRIP[1]:
                self.corner.paint(0, 0, self._canvas)
        elif y < STRIP[0] and x < STRIP[1]:
            self.corner.paint(x, y, simplejpeg.decode_jpeg(image, "GRAY")[:, :, 0])


async def _open(where: str, rate: float) -> tuple[ClientConnection, bool]:
    if "," not in where:
        return await connect(where, max_size=None, **_thin(where, rate)), False
    url, user, password, device = where.split(",")
    login = ",".join(base64.b64encode(word.encode()).decode() for word in (user, password))
    control = await connect(f"{url}/control.ashx", ssl=_tls(), additional_headers={"x-meshauth": login}, max_size=None)
    cookie, relay, node = await _node(control, device)
    tunnel = f"p=2&nodeid={node}&id={secrets.token_hex(6)}"
    there = f"{url}/meshrelay.ashx?browser=1&{tunnel}&auth={cookie}"
    stream = await connect(there, ssl=_tls(), max_size=None, **_thin(there, rate))
    asked = {"action": "msg", "type": "tunnel", "nodeid": node, "usage": 2}
    await control.send(json.dumps(asked | {"value": f"*/meshrelay.ashx?{tunnel}&rauth={relay}"}))
    return stream, True


async def _node(control: ClientConnection, device: str) -> tuple[str, str, str]:
    await control.send(json.dumps({"action": "authcookie"}))
    cookies: tuple[str, str] | None = None
    while True:
        await control.send(json.dumps({"action": "nodes"}))
        while (said := json.loads(await control.recv())).get("action") != "nodes":
            if said.get("action") == "authcookie":
                cookies = said["cookie"], said["rcookie"]
        online = [
            node["_id"]
            for group in said["nodes"].values()
            for node in group
            if node["name"] == device and node.get("conn")
        ]
        if online and cookies:
            return (*cookies, online[0])
        await asyncio.sleep(0.5)


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _thin(where: str, rate: float) -> dict[str, Any]:
    """A slow reader lets little wait on its own side, so that what waits does so where the server can see it."""
    if not rate:
        return {"max_queue": 64}
    parts = urlsplit(where)
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    pipe.connect((parts.hostname, parts.port))
    pipe.setblocking(False)
    return {"sock": pipe, "max_queue": 1}


async def run_play(options: argparse.Namespace, count: int, words: list[str]) -> dict[str, Any]:
    scene, seconds, fps = words[0], float(words[1]), float(words[2])
    viewers = [Viewer(options) for _ in range(count)]
    begun = time.monotonic()
    for viewer in viewers:
        await viewer.open(options.where)
    readers = [asyncio.ensure_future(viewer.read()) for viewer in viewers]
    first = viewers[0]
    while first.whole is None and time.monotonic() < begun + _FIRST_S and not readers[0].done():
        await asyncio.sleep(0.005)
    told = await asyncio.to_thread(play, scene, seconds, fps, first.corner, lambda: first.bytes, options.pid)
    for reader in readers:
        reader.cancel()
    return {"first_ms": 1000 * (first.whole - begun) if first.whole else None, **told}


async def run_input(options: argparse.Namespace, count: int) -> dict[str, Any]:
    from Xlib.display import Display

    viewer = Viewer(options)
    await viewer.open(options.where)
    reader = asyncio.ensure_future(viewer.read())
    await asyncio.sleep(2)
    root = Display().screen().root
    times = []
    for n in range(count):
        x, y = 300 + n * 37 % 800, 300 + n * 53 % 500
        begun = time.monotonic()
        await viewer.socket.send(struct.pack(">HHBBHH", 2, 10, 0, 0, x, y))
        where = await asyncio.to_thread(_until_there, root, x, y, begun + 1)
        if where:
            times.append((where - begun) * 1000)
        await asyncio.sleep(0.03 + n % 7 * 0.004)
    reader.cancel()
    lost = count - len(times)
    return {"p50": float(np.median(times)), "p95": float(np.percentile(times, 95)), "lost": lost}


def _until_there(root: Any, x: int, y: int, deadline: float) -> float | None:
    while time.monotonic() < deadline:
        at = root.query_pointer()
        if abs(at.root_x - x) <= 1 and abs(at.root_y - y) <= 1:
            return time.monotonic()
    return None


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("where")
    parser.add_argument("what", choices=("play", "input", "crowd"))
    parser.add_argument("words", nargs="+")
    parser.add_argument("--quality", type=int, default=50)
    parser.add_argument("--timer", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second that are read")
    parser.add_argument("--moves", action="store_true", help="take moves, as Pommel's own page does")
    parser.add_argument("--ack", action="store_true", help="acknowledge pictures, as Pommel's own page does")
    parser.add_argument("--pid", type=int, action="append", default=[], help="whose CPU counts")
    options = parser.parse_args()
    if options.what == "input":
        print(json.dumps(await run_input(options, int(options.words[0]))))
    elif options.what == "crowd":
        print(json.dumps(await run_play(options, int(options.words[0]), options.words[1:])))
    else:
        print(json.dumps(await run_play(options, 1, options.words)))


if __name__ == "__main__":
    asyncio.run(main())
