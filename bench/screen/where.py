"""Where the age of a picture comes from: each step of a frame on its way from the scene to a viewer, in milliseconds.

    python bench/screen/where.py [SECONDS] [SCENE,SCENE]

Scene, Pommel and viewer are processes of their own on an Xvfb of 1920×1080, as in `bench/screen`; Pommel's carries marks at
the borders of its modules, which cost some 20 µs a frame. Of each step the median is told, and the quartile below, which says
more on a host that has other work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from bisect import bisect_left
from pathlib import Path

import numpy as np
from figures import play
from kvm import Viewer
from rivals import display, free_port, process

STEPS = {
    "damage": "the scene's flip → DAMAGE heard, in the thread of the X connection",
    "grabbed": "capture: taking the damage, the server copies into shared memory",
    "compared": "compare",
    "told": "the event loop wakes up",
    "marked": "engine and backlogs",
    "begun": "the viewer's task wakes up, areas are found, encoding begins",
    "sending": "encode the first picture",
    "sent": "socket: into the kernel",
    "seen": "the viewer: wakes up, reads, decodes (Python, no browser)",
}


async def look(where: str, scene: str, seconds: float) -> tuple[dict[int, float], dict[int, float]]:
    """Play a scene before a viewer; return when each frame was drawn, and when it was seen."""
    viewer = Viewer(argparse.Namespace(rate=0.0, quality=50, timer=20, ack=False))
    await viewer.open(where)
    reading = asyncio.ensure_future(viewer.read())
    drawn: dict[int, float] = {}
    await asyncio.to_thread(play, scene, seconds, 30, viewer.corner, lambda: viewer.bytes, [], drawn)
    reading.cancel()
    return drawn, viewer.corner.seen


LAST = "(the frame's last picture is in the kernel later than its first by)"


def steps(marks: list[tuple[float, str]], drawn: dict[int, float], seen: dict[int, float]) -> dict[str, list[float]]:
    """Return how long each frame took for each step; frames that were overtaken are left out."""
    times = {name: [at for at, mark in marks if mark == name] for name in STEPS}
    found: dict[str, list[float]] = {name: [] for name in (*STEPS, LAST)}
    for number in sorted(drawn.keys() & seen.keys()):
        way = [drawn[number]]
        for name in list(STEPS)[:-1]:
            at = bisect_left(times[name], way[-1])
            way.append(times[name][at] if at < len(times[name]) else np.inf)
        way.append(seen[number])
        if way == sorted(way):
            for name, since, until in zip(STEPS, way, way[1:], strict=False):
                found[name].append(1000 * (until - since))
            until = max(drawn.get(number + 1, 0.0), way[-1])
            found[LAST].append(1000 * (times["sent"][bisect_left(times["sent"], until) - 1] - way[-2]))
    return found


def measure(scene: str, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder, display():
        file = str(Path(folder) / "marks")
        words = [sys.executable, str(Path(__file__).with_name("marks.py")), file, "kvm", "serve", "--json"]
        with process([*words, "--listen", f"127.0.0.1:{free_port()}"], stdout=-1) as child:
            drawn, seen = asyncio.run(look(json.loads(child.stdout.readline())["ws"], scene, seconds))
        found = steps(json.loads(Path(file).read_text()), drawn, seen)
    ways = list(zip(*(found[name] for name in STEPS), strict=True))
    print(f"\n{scene}: {len(ways)} of {len(drawn)} frames\n\n| step | p50 ms | p25 ms |\n|---|---|---|")
    for name, text in STEPS.items():
        print(f"| {text} | {np.median(found[name]):.2f} | {np.percentile(found[name], 25):.2f} |")
    whole = [sum(way) for way in ways]
    ours = [sum(way[1:-1]) for way in ways]
    print(f"| from DAMAGE to the kernel, together | {np.median(ours):.2f} | {np.percentile(ours, 25):.2f} |")
    print(f"| {LAST} | {np.median(found[LAST]):.2f} | {np.percentile(found[LAST], 25):.2f} |")
    print(f"| all | {np.median(whole):.2f} | {np.percentile(whole, 25):.2f} |", flush=True)


if __name__ == "__main__":
    for one in (sys.argv[2] if len(sys.argv) > 2 else "type,scroll,video").split(","):
        measure(one, float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
