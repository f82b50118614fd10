"""Video or pictures for what changes every frame: both ways through to the real page, seen in a real Chromium.

    pip install -e '.[bench,video,test]'; python bench/video_path.py [--runs 3] [--seconds 8] [--scenes grain,clean,pan,scroll]
        [--links direct,thin]

Each scene is drawn on an X display of its own at 30 fps, a quarter of the screen in size, with the frame's number inside
it. The page is told to take video or not to, and reads the number off its canvas after each drawing; between page and
server stands a pipe that counts bytes, and lets through 500 kB/s at most in the second half of the table. PSNR is of
what stood on the canvas against what was drawn. CPU is the server's; figures are medians over the runs, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.async_api import Page, async_playwright

sys.path.insert(0, str(Path(__file__).parent / "screen"))

from figures import cpu_seconds
from rivals import display, pommel
from scene import BITS, CELL, LINE

WIDTH, HEIGHT, COUNT = 960, 540, 48
X, Y, INSIDE = 480, 270, 64  # where the film is on the screen, and the number in the film
RATES = {"direct": 0, "thin": 500_000}
CHROMIUM = "/usr/bin/chromium"
Clip = list[np.ndarray]

# After each drawing the page reads the number where it stands, and keeps the first few films it saw whole.
WATCH = """
window.seen = {}; window.films = []; window.draws = {pictures: 0, frames: 0};
if (!TAKES) delete window.VideoDecoder;
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (what, x, y) {
  draw.call(this, what, x, y);
  window.draws[what instanceof ImageBitmap ? "pictures" : "frames"] += 1;
  const right = x + (what.displayWidth ?? what.width), bottom = y + (what.displayHeight ?? what.height);
  if (x > AT_X || y > AT_Y || right < AT_X + 256 || bottom < AT_Y + 16) return;
  const row = this.getImageData(AT_X, AT_Y + 8, 256, 1).data;
  let number = 0;
  for (let bit = 0; bit < 16; bit += 1) number = number * 2 + (row[4 * (16 * bit + 8) + 1] > 127);
  if (number in window.seen) return;
  window.seen[number] = performance.timeOrigin + performance.now();
  if (number % 50 === 49 && window.films.length < 3) {
    window.films.push([number, this.getImageData(FILM_X, FILM_Y, 960, 540).data]);
  }
};
"""
FILMS = """() => window.films.map(([number, data]) => {
  let text = "";
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  return [number, btoa(text)];
})"""


# --- what is shown ---


def film(grain: float) -> Clip:
    """Smooth colours that move, with a camera's noise."""
    random = np.random.default_rng(20)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    frames = []
    for t in np.linspace(0, 2 * np.pi, COUNT, endpoint=False):
        waves = (np.sin(x / 41 + t) + np.cos(y / 29 - t), np.sin((x + y) / 57 - t), np.cos((x - 2 * y) / 71 + 2 * t))
        frames.append(_bytes(128 + 55 * np.stack(waves, -1) + random.normal(0, grain, (HEIGHT, WIDTH, 3))))
    return frames


def pan() -> Clip:
    """A view over something with the spectrum of nature (1/f), 3 pixels a frame, there and back."""
    random = np.random.default_rng(20)
    width = WIDTH + 3 * COUNT
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(width)[None]
    fall = 1 / np.maximum(np.hypot(fy, fx), 1 / width)
    waves = [np.fft.rfft2(random.normal(size=(HEIGHT, width))) for _ in range(3)]
    light = np.fft.irfft2(waves[0] * fall, (HEIGHT, width))
    tints = [np.fft.irfft2(wave * fall**2, (HEIGHT, width)) for wave in waves]
    scene = np.stack([128 + 38 * light / light.std() + 12 * tint / tint.std() for tint in tints], -1)
    there = [_bytes(scene[:, 3 * n : 3 * n + WIDTH]) for n in range(COUNT)]
    return there + there[-2:0:-1]


def scroll() -> Clip:
    """A page of text that moves up by a line each frame."""
    import pygame

    pygame.font.init()
    random, font = np.random.default_rng(20), pygame.font.Font(None, 22)
    words = ["".join(map(chr, random.integers(97, 123, n))) for n in random.integers(2, 11, 3000)]
    page = pygame.Surface((WIDTH, HEIGHT + COUNT * LINE))
    page.fill((252, 252, 250))
    for line, y in enumerate(range(2, page.get_height() - LINE, LINE)):
        page.blit(font.render(" ".join(words[(line * 29 + n) % 3000] for n in range(29)), True, (32, 32, 40)), (20, y))
    whole = pygame.surfarray.array3d(page).swapaxes(0, 1)
    return [whole[n * LINE : n * LINE + HEIGHT].copy() for n in range(COUNT)]


SCENES: dict[str, Callable[[], Clip]] = {
    "grain": lambda: film(5), "clean": lambda: film(0), "pan": pan, "scroll": scroll
}  # fmt: skip


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture, 0, 255).astype(np.uint8)


def frame(clip: Clip, number: int) -> np.ndarray:
    """The frame as it is drawn: the clip's, with its number inside."""
    picture = clip[number % len(clip)].copy()
    for bit in range(BITS):
        at = INSIDE + bit * CELL
        picture[INSIDE : INSIDE + CELL, at : at + CELL] = 255 * (number >> (BITS - 1 - bit) & 1)
    return picture


def play(name: str, seconds: float) -> None:
    """Draw a scene on DISPLAY, and say on stdout when each frame was; in a process of its own."""
    import pygame
    from scene import Scene, ticks

    clip = SCENES[name]()
    scene = Scene()
    scene.window.blit(scene.page(scene.height), (0, 0))
    surfaces = [pygame.surfarray.make_surface(picture.swapaxes(0, 1)) for picture in clip]
    pygame.display.flip()
    where = pygame.Rect(X, Y, WIDTH, HEIGHT)
    for number in ticks(seconds, 30):
        pygame.event.pump()
        scene.window.blit(surfaces[number % len(clip)], where)
        for bit in range(BITS):
            white = 255 * (number >> (BITS - 1 - bit) & 1)
            scene.window.fill((white,) * 3, (X + INSIDE + bit * CELL, Y + INSIDE, CELL, CELL))
        drawn = time.time()
        pygame.display.update(where)
        print(number, f"{drawn:.6f}", flush=True)


# --- the pipe between page and server ---


class Pipe:
    """Passes a page's connections on to the server; counts what comes back, and holds it to a rate."""

    def __init__(self, port: int, rate: float) -> None:
        self.bytes, self._to, self._rate, self._free_s = 0, port, rate, 0.0
        self.port = 0

    async def __aenter__(self) -> Pipe:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = socket.socket()
        if self._rate:
            pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        pipe.connect(("127.0.0.1", self._to))
        back, there = await asyncio.open_connection(sock=pipe, limit=16384)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forth(reader, there))
                tasks.create_task(self._back(back, writer))
        except* (ConnectionError, OSError):
            pass

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours, theirs = f"127.0.0.1:{self.port}".encode(), f"127.0.0.1:{self._to}".encode()
        while data := await reader.read(65536):
            writer.write(data.replace(ours, theirs))  # Host and Origin must be the server's
            await writer.drain()
        writer.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(8192 if self._rate else 1 << 20):
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
            if self._rate:
                self._free_s = max(self._free_s, time.monotonic() - 0.02) + len(data) / self._rate
                await asyncio.sleep(max(0.0, self._free_s - time.monotonic()))
        writer.close()


# --- one run ---


async def run(page: Page, pipe: Pipe, name: str, seconds: float, pids: list[int]) -> dict[str, Any]:
    words = [sys.executable, __file__, "--play", name, str(seconds)]
    drawn: dict[int, float] = {}
    child = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    begun, bytes_before, cpu_before, last = 0.0, 0, 0.0, 0
    async for line in child.stdout:
        number, _, at = line.decode().partition(" ")
        if not number.isdigit():
            continue
        last = int(number)
        drawn[last] = float(at) * 1000
        if last == FROM:
            begun, bytes_before, cpu_before = time.monotonic(), pipe.bytes, cpu_seconds(pids)
    took, got, cpu = time.monotonic() - begun, pipe.bytes - bytes_before, cpu_seconds(pids) - cpu_before
    await child.wait()
    await asyncio.sleep(0.7)
    seen = {int(n): at for n, at in (await page.evaluate("window.seen")).items()}
    ages = np.array([seen[n] - drawn[n] for n in sorted(drawn) if n in seen and n >= FROM])
    return {
        "fps": len(ages) / took, "kB_s": got / took / 1000, "cpu": 100 * cpu / took,
        "kB_frame": got / 1000 / max(len(ages), 1), "p50": float(np.median(ages)), "p95": float(np.percentile(ages, 95)),
        "last": float(np.median(ages[-len(ages) // 5 :])), "psnr": await psnr(page, SCENES[name]()),
        "frames": (await page.evaluate("window.draws"))["frames"],
    }  # fmt: skip


FROM = 60  # the film has to be known for one first


async def psnr(page: Page, clip: Clip) -> float:
    errors = []
    for number, text in await page.evaluate(FILMS):
        shown = np.frombuffer(base64.b64decode(text), np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3]
        errors.append(np.mean((shown.astype(np.float32) - frame(clip, number)) ** 2))
    return float(10 * np.log10(255**2 / np.mean(errors))) if errors else float("nan")


async def case(
    browser: Any, url: str, pids: list[int], name: str, seconds: float, takes: bool, rate: float, quality: str
) -> Any:
    port = int(url.split(":")[2].split("/")[0])
    async with Pipe(port, rate) as pipe:
        context = await browser.new_context(viewport={"width": 960, "height": 600})
        page = await context.new_page()
        watch = WATCH.replace("TAKES", "true" if takes else "false").replace("AT_X", str(X + INSIDE))
        watch = watch.replace("AT_Y", str(Y + INSIDE)).replace("FILM_X", str(X)).replace("FILM_Y", str(Y))
        watch += f'localStorage.setItem("pommel", JSON.stringify({{mode: "fit", quality: "{quality}", swap: false}}));'
        await page.add_init_script(watch)
        await page.goto(url.replace(f":{port}", f":{pipe.port}"))
        await page.wait_for_selector("body[data-state=live]")
        await asyncio.sleep(0.5)
        try:
            return await run(page, pipe, name, seconds, pids)
        finally:
            await context.close()


COLUMNS = {
    "fps": "seen fps", "p50": "age p50 ms", "p95": "p95", "last": "last fifth's p50", "kB_s": "kB/s",
    "kB_frame": "kB per frame seen", "psnr": "PSNR dB", "cpu": "server CPU %", "frames": "drawn as video",
}  # fmt: skip


def middle(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(row[key] for row in rows) for key in rows[0]}


async def measure(options: argparse.Namespace, served: dict[str, str], pids: list[int]) -> None:
    async with async_playwright() as player:
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for rate in [RATES[link] for link in options.links.split(",")]:
            print(f"\n{'500 kB/s' if rate else 'direct'}, quality {options.quality}\n")
            print(f"| scene | way | {' | '.join(COLUMNS.values())} |\n|---|---|{'---|' * len(COLUMNS)}", flush=True)
            for name in options.scenes.split(","):
                taken: dict[bool, list[dict[str, float]]] = {False: [], True: []}
                for _ in range(options.runs):
                    for takes in (False, True):
                        taken[takes].append(
                            await case(
                                browser, served["url"], pids, name, options.seconds, takes, rate, options.quality
                            )
                        )
                for takes, rows in taken.items():
                    row = middle(rows)
                    cells = " | ".join(f"{row[key]:.3g}" for key in COLUMNS)
                    print(f"| {name} | {'video' if takes else 'pictures'} | {cells} |", flush=True)
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure video beside pictures, in the real page.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--links", default="direct,thin")
    parser.add_argument("--quality", default="high", help="as in the page's menu")
    parser.add_argument("--play", nargs=2, metavar=("SCENE", "SECONDS"), help="only draw")
    options = parser.parse_args()
    if options.play:
        play(options.play[0], float(options.play[1]))
        return
    with display(), pommel() as ours:
        asyncio.run(measure(options, {"url": ours.where.replace("ws://", "http://").replace("/kvm?", "/?")}, ours.pids))


if __name__ == "__main__":
    main()
