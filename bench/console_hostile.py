"""The console with 50 viewers, one of which does not read, without and with 2,000 hostile connections, in turn.

Once more the same attackers are at work, but on another server: what that costs is the host's loss, not the console's.

    python bench/console_hostile.py [--runs 3] [--seconds 10] [--hostile 2000] [--fps 10]

The console is `pommel kvm serve` on an Xvfb of 640×400 that a scene is played on. Viewers, attackers and console are processes of
their own. Of the attackers half send half a request's headers and a byte a second after that, a quarter ask with a Host that is
none, and a quarter begin a body without a token. Who is parted from comes again after a second. A newcomer asks for the status
with the token, on a connection of its own, twice a second. Every figure is the median over the runs. It takes Xvfb and the
packages of '.[bench]'; `ulimit -Hn` has to leave room for the attackers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).with_name("screen")))

import numpy as np
import psutil
from figures import play
from kvm import Viewer
from rivals import display, free_port, process

GOOD = 49
_SKIP = 4
Row = dict[str, Any]


# --- viewers ---


async def crowd(ws: str, pid: int, seconds: float, fps: float) -> Row:
    """Have 49 viewers look on, one stall and a newcomer come again and again while a scene is played."""
    options = argparse.Namespace(rate=0.0, quality=50, timer=20, ack=True)
    viewers = [Viewer(options) for _ in range(GOOD)]
    for viewer in viewers:
        await viewer.open(ws)
    tasks = [asyncio.ensure_future(viewer.read()) for viewer in viewers]
    waits: list[float | None] = []
    with stalled(ws):
        newcomer = asyncio.ensure_future(come_again(ws, waits))
        drawn: dict[int, float] = {}
        told = await asyncio.to_thread(play, "type", seconds, fps, viewers[0].corner, lambda: 0, [pid], drawn)
        newcomer.cancel()
    lost = sum(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    rates, ages = [], []
    for viewer in viewers:
        seen = [viewer.corner.seen[n] - at for n, at in drawn.items() if n > _SKIP and n in viewer.corner.seen]
        rates.append(len(seen) / max(len(drawn) - _SKIP, 1) * fps)
        ages.append(1000 * float(np.median(seen)) if seen else float("inf"))
    came = [wait for wait in waits if wait is not None]
    return {
        "drawn_fps": told["drawn_fps"],
        "fps": median(rates),
        "fps_worst": min(rates),
        "age": median(ages),
        "age_worst": max(ages),
        "cpu": told["cpu_percent"],
        "lost": lost,
        "new_ms": 1000 * median(came) if came else None,
        "new_worst_ms": 1000 * max(came) if came else None,
        "new_refused": len(waits) - len(came),
    }


@contextlib.contextmanager
def stalled(ws: str) -> Any:
    """A viewer that shakes hands and never reads."""
    at = urlsplit(ws)
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect((at.hostname, at.port))
    peer.sendall(
        f"GET {at.path}?{at.query} HTTP/1.1\r\nHost: {at.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    yield
    peer.close()


async def come_again(ws: str, waits: list[float | None]) -> None:
    at = urlsplit(ws)
    while True:
        begun = time.monotonic()
        answer = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(at.hostname, at.port)
                writer.write(
                    f"GET /api/status?{at.query} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n\r\n".encode()
                )
                answer = await reader.read()
                writer.close()
        waits.append(time.monotonic() - begun if b" 200 " in answer[:20] else None)
        await asyncio.sleep(0.5)


# --- attackers ---


async def attack(port: int, count: int, seconds: float) -> Row:
    """Keep `count` hostile connections, or attempts at them, for a while."""
    made = {"connections": 0, "refused": 0}
    attackers = [asyncio.ensure_future(attacker(port, number % 4, made)) for number in range(count)]
    await asyncio.sleep(seconds + 5)
    for one in attackers:
        one.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)
    return {key: value / (seconds + 5) for key, value in made.items()}


async def attacker(port: int, kind: int, made: dict[str, int]) -> None:
    ours = b"Host: 127.0.0.1:%d\r\n" % port
    begin = {
        2: b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n",
        3: b"POST /api/answer HTTP/1.1\r\n" + ours + b"Content-Length: 1000000\r\n\r\n",
    }.get(kind, b"GET / HTTP/1.1\r\n" + ours + b"X: ")
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            made["connections"] += 1
            try:
                writer.write(begin)
                while not reader.at_eof():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            answer = await reader.read(4096)
                            made["refused"] += b"HTTP/1.1 4" in answer
                    writer.write(b"y")
            finally:
                writer.transport.abort()
        await asyncio.sleep(1)


async def decoy(port: int) -> None:
    """A server that refuses all, and is not the console."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(3):
                await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", port, backlog=1024) as server:
        await server.serve_forever()


# --- one run ---


def measure(seconds: float, fps: float, hostile: int, at_us: bool) -> Row:
    """Start a console and have it looked at while so many attack it, or another server; return all figures."""
    us, port = [sys.executable, __file__], free_port()
    target = port if at_us else free_port()
    with tempfile.TemporaryFile() as log:
        words = [sys.executable, "-m", "pommel", "kvm", "serve", "--json", "--listen", f"127.0.0.1:{port}"]
        with process(words, stdout=subprocess.PIPE, stderr=log) as console, contextlib.ExitStack() as others:
            assert console.stdout is not None
            ws = json.loads(console.stdout.readline())["ws"]
            if hostile:
                if not at_us:
                    others.enter_context(process([*us, "decoy", str(target)]))
                words = [*us, "attack", str(target), str(hostile), str(seconds)]
                attackers = others.enter_context(process(words, stdout=subprocess.PIPE))
                time.sleep(3)  # all have come once
            said = subprocess.run(
                [*us, "crowd", ws, str(console.pid), str(seconds), str(fps)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=seconds + 90,
            )
            row: Row = json.loads(said.stdout.splitlines()[-1])
            if hostile:
                row |= json.loads(attackers.communicate(timeout=60)[0].splitlines()[-1])
            one = psutil.Process(console.pid)
            row |= {"rss_mib": one.memory_info().rss / 2**20, "files": one.num_fds()}
        row["log"] = os.fstat(log.fileno()).st_size
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--hostile", type=int, default=2000)
    parser.add_argument("--fps", type=float, default=10)
    options = parser.parse_args()
    with display("640x400"):
        pairs = []
        for run in range(options.runs):
            ways = ((0, True), (options.hostile, False), (options.hostile, True))
            pairs.append([measure(options.seconds, options.fps, *way) for way in ways])
            print(f"run {run + 1}: {json.dumps(pairs[-1])}", file=sys.stderr, flush=True)
    names = {
        "fps": f"pictures a second, of {options.fps:g} drawn: the median good viewer",
        "fps_worst": "the worst good viewer",
        "age": "age of a picture, ms: the median good viewer",
        "age_worst": "the worst good viewer",
        "lost": "good viewers that were cut off",
        "new_ms": "a newcomer with the token is answered after, ms",
        "new_worst_ms": "at worst",
        "new_refused": "newcomers that got no answer",
        "connections": "hostile connections made a second",
        "cpu": "CPU of the console, % of a core",
        "rss_mib": "its memory, MiB",
        "files": "its descriptors at the end",
        "log": "bytes that it logged",
    }
    print(f"\n| | quiet | {options.hostile} at another server | {options.hostile} at the console |\n|---|---|---|---|")
    for key, name in names.items():
        sides = [[row[key] for row in side if row.get(key) is not None] for side in zip(*pairs, strict=True)]
        print(f"| {name} | {' | '.join(f'{median(side):.4g}' if side else '–' for side in sides)} |")


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.argv[1:2] == ["crowd"]:
        print(json.dumps(asyncio.run(crowd(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))))
    elif sys.argv[1:2] == ["decoy"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        asyncio.run(decoy(int(sys.argv[2])))
    elif sys.argv[1:2] == ["attack"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        print(json.dumps(asyncio.run(attack(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))))
    else:
        main()
