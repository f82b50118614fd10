"""How long the event loop is held up while all of a large screen changes: a ticker of 1 ms in Pommel's own loop.

    python bench/screen/stalls.py [SECONDS] [WIDTHxHEIGHT] [SCENE]

The ticks begin with the first viewer. What our threads waited for a processor meanwhile (schedstat) is no stall of ours and is
left out, and so is a tick in which the hypervisor took a processor away (steal). What remains may still be the machine's own
pause, so the same ticker runs at the same time in a process that does nothing else. Of each turn of Pommel's loop its time on the processor is taken too: what is long there is long on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from asyncio.base_events import BaseEventLoop
from asyncio.events import Handle
from pathlib import Path
from typing import Any

TICK_S, LONG_S = 0.001, 0.005
STEAL_EVERY = 20  # ticks: the counter goes by hundredths of a second
COMES_S = 2.0  # what is imported and collected for the first viewer is told apart from what encoding and comparing do


async def tick(coming: list[float], late: list[float]) -> None:
    """Note how late each tick is, in seconds, for ever; what our threads waited for a processor does not count.

    A long one during which the hypervisor had one of the processors is noted as negative.
    """
    begun, stolen = time.monotonic(), _stolen()
    for n in itertools.count():
        if n % STEAL_EVERY == 0:
            stolen = _stolen()
        due, before = time.monotonic() + TICK_S, _waits_s()
        await asyncio.sleep(TICK_S)
        took, now = time.monotonic() - due, _waits_s()
        waited = sum(now[one] - before[one] for one in now.keys() & before.keys())
        lateness = max(took - waited, 0.0)
        if lateness > LONG_S and _stolen() != stolen:
            lateness = -lateness
        (late if due - begun > COMES_S else coming).append(lateness)


def _stolen() -> int:
    """Return how many hundredths of a second the hypervisor has had a processor that was wanted (proc(5), stat)."""
    with Path("/proc/stat").open() as lines:
        return int(lines.readline().split()[8])


def _waits_s() -> dict[str, float]:
    """Return what each thread of this process has waited on a run queue: one may hold the interpreter lock there."""
    found = {}
    for one in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended
            found[one] = int(Path(f"/proc/self/task/{one}/schedstat").read_text().split()[1]) / 1e9  # proc(5): in ns
    return found


def serve(file: str, words: list[str]) -> None:
    """Be `pommel WORDS` with the probe in it, and write what it saw to `file` in the end."""
    from pommel.cli import main
    from pommel.screen.delivery import Delivery

    coming: list[float] = []
    late: list[float] = []
    turns: list[tuple[float, int, tuple[float, str]]] = []
    calls: list[tuple[float, str]] = []
    run_call, run_turn, run = Handle._run, BaseEventLoop._run_once, Delivery.run
    is_begun = threading.Event()

    def noted(handle: Handle) -> Any:
        begun, callback = time.thread_time(), handle._callback  # type: ignore[attr-defined]
        try:
            return run_call(handle)
        finally:
            calls.append((time.thread_time() - begun, _name(callback)))

    def timed(loop: BaseEventLoop) -> None:
        calls.clear()
        begun = time.thread_time()
        run_turn(loop)
        if is_begun.is_set():
            turns.append((time.thread_time() - begun, len(calls), max(calls, default=(0.0, ""))))
            turns[:] = sorted(turns, reverse=True)[:5] if len(turns) > 1000 else turns

    async def probed(self: Delivery, *given: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tick(coming, late))
            asyncio.get_running_loop().call_later(COMES_S, is_begun.set)
            await run(self, *given)

    Handle._run, BaseEventLoop._run_once, Delivery.run = noted, timed, probed  # type: ignore[assignment,method-assign]
    probe = {"coming": coming, "late": late}
    atexit.register(lambda: Path(file).write_text(json.dumps(probe | {"turns": sorted(turns, reverse=True)[:3]})))
    sys.argv = ["pommel", *words]
    main()


def _name(callback: Any) -> str:
    """Name what is called without a look at its arguments: the repr of a picture takes milliseconds."""
    task = getattr(callback, "__self__", None)
    return task.get_coro().__qualname__ if isinstance(task, asyncio.Task) else getattr(callback, "__qualname__", "")


def idle(file: str, seconds: float) -> None:
    """Tick and do nothing else."""
    late: list[float] = []

    async def while_it_lasts() -> None:
        ticking = asyncio.ensure_future(tick(late, late))
        await asyncio.sleep(seconds)
        ticking.cancel()

    asyncio.run(while_it_lasts())
    Path(file).write_text(json.dumps({"late": late}))


async def look(where: str, scene: str, seconds: float) -> dict[str, Any]:
    """Play the scene before one viewer."""
    from figures import play
    from kvm import Viewer

    viewer = Viewer(argparse.Namespace(rate=0.0, quality=50, timer=20, ack=False))
    await viewer.open(where)
    reading = asyncio.ensure_future(viewer.read())
    told = await asyncio.to_thread(play, scene, seconds, 30, viewer.corner, lambda: viewer.bytes, [])
    reading.cancel()
    return told


def told(name: str, late: list[float]) -> None:
    stolen = sum(one < 0 for one in late)
    late = sorted(one for one in late if one >= 0) or [0.0]
    shares = (f"{1000 * late[min(int(part * len(late)), len(late) - 1)]:.2f}" for part in (0.5, 0.99, 1))
    print(f"| {name} | {len(late)} | {' | '.join(shares)} | {sum(one > LONG_S for one in late)} | {stolen} |")


def measure(seconds: float, size: str, scene: str) -> None:
    from rivals import display, free_port, process

    with tempfile.TemporaryDirectory() as folder, display(size):
        ours, others = str(Path(folder) / "ours"), str(Path(folder) / "others")
        words = [sys.executable, __file__, "--serve", ours, "kvm", "serve", "--json"]
        with process([*words, "--listen", f"127.0.0.1:{free_port()}"], stdout=-1) as child:
            where = json.loads(child.stdout.readline())["ws"]
            with process([sys.executable, __file__, "--idle", others, str(seconds + 1)]) as beside:
                played = asyncio.run(look(where, scene, seconds))
                beside.wait(60)
        probe, control = json.loads(Path(ours).read_text()), json.loads(Path(others).read_text())
    print(f"{size}, {scene}: {played['seen_fps']:.1f} frames seen a second, {played['MB_s']:.1f} MB/s\n")
    print(
        "| ticks of 1 ms, late by | ticks | p50 ms | p99 ms | worst ms | over 5 ms | left out: stolen |\n|---|---|---|---|---|---|---|"
    )
    told(f"in Pommel's loop, the {COMES_S:g} s when its first viewer comes", probe["coming"])
    told("in Pommel's loop, from then on", probe["late"])
    told("in a process that does nothing", control["late"])
    print("\nthe longest turns of Pommel's loop from then on, on the processor:")
    for took, count, (longest, name) in probe["turns"]:
        print(f"  {1000 * took:.2f} ms in {count} calls, the longest {1000 * longest:.2f} ms: {name}")


if __name__ == "__main__":
    role, given = (sys.argv[1], sys.argv[2:]) if sys.argv[1:2] in (["--serve"], ["--idle"]) else ("", sys.argv[1:])
    if role == "--serve":
        serve(given[0], given[1:])
    elif role == "--idle":
        idle(given[0], float(given[1]))
    else:
        measure(*(float(given[0]) if given else 8.0, *(given[1:2] or ["3840x2160"]), *(given[2:3] or ["full"])))
