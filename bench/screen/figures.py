"""What each measuring viewer does alike: read the frame's number off the pixels, play the scene, work out the figures."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scene import BITS, CELL

STRIP = (CELL, BITS * CELL)  # height, width of the corner with the number
_SETTLE_S = 2.0  # what a server does once for a viewer that has come is not what it does all the time
_SKIP = 4  # the first frames fall into the scene's own start


class Corner:
    """The corner with the number, and when each number was first seen."""

    def __init__(self) -> None:
        self._gray = np.zeros(STRIP, np.uint8)
        self.seen: dict[int, float] = {}

    def paint(self, x: int, y: int, gray: np.ndarray) -> None:
        """Take new pixels, (height, width) of brightness, that begin at x, y of the screen."""
        height, width = min(STRIP[0] - y, gray.shape[0]), min(STRIP[1] - x, gray.shape[1])
        if height <= 0 or width <= 0:
            return
        self._gray[y : y + height, x : x + width] = gray[:height, :width]
        bits = self._gray[CELL // 2, CELL // 2 :: CELL] > 127
        number = int("".join(map(str, bits.astype(int))), 2)
        self.seen.setdefault(number, time.monotonic())


def cpu_seconds(pids: Sequence[int]) -> float:
    """Add up what processes and their children have used of a core, in seconds."""
    total = 0.0
    for pid in pids:
        try:
            root = psutil.Process(pid)
            for one in (root, *root.children(recursive=True)):
                used = one.cpu_times()
                total += used.user + used.system
        except psutil.NoSuchProcess:
            pass
    return total


def play(
    scene: str,
    seconds: float,
    fps: float,
    corner: Corner,
    received: Callable[[], int],
    pids: Sequence[int],
    drawn: dict[int, float] | None = None,
) -> dict[str, Any]:
    """Play a scene on DISPLAY in a process of its own; return what came of it. Blocks: call it beside the viewer.

    When each frame was drawn is put into `drawn`.
    """
    drawn = {} if drawn is None else drawn
    time.sleep(_SETTLE_S)
    words = [sys.executable, str(Path(__file__).with_name("scene.py")), scene, str(seconds), str(fps)]
    begun, bytes_before, cpu_before = 0.0, 0, 0.0
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            number, _, at = line.partition(" ")
            if not number.isdigit():
                continue
            if not drawn and int(number) > (fps * _SETTLE_S if scene == "idle" else 0):
                begun, bytes_before, cpu_before = time.monotonic(), received(), cpu_seconds(pids)
                corner.seen.clear()
            if begun:
                drawn[int(number)] = float(at)
    took = time.monotonic() - begun
    cpu, arrived = cpu_seconds(pids) - cpu_before, received() - bytes_before
    time.sleep(0.5)
    ages = np.array([corner.seen[n] - drawn[n] for n in sorted(drawn) if n in corner.seen and n > _SKIP]) * 1000
    return {"scene": scene, "drawn_fps": len(drawn) / took, **_ages(ages, took), "MB_s": arrived / took / 1e6} | {
        "cpu_percent": 100 * cpu / took,
        "cpu_ms_frame": 1000 * cpu / len(ages) if len(ages) else None,
    }


def _ages(ages: np.ndarray, took: float) -> dict[str, Any]:
    if not len(ages):
        return {"seen_fps": 0.0, "age_p50": None, "age_p95": None, "age_end": None}
    return {
        "seen_fps": (len(ages) + _SKIP) / took,
        "age_p50": float(np.median(ages)),
        "age_p95": float(np.percentile(ages, 95)),
        "age_end": float(np.median(ages[-max(len(ages) // 5, 1) :])),  # grows where pictures queue
    }
