"""What devices on a MeshCentral server cost while nobody looks at them: one process, one event loop, a real server.

    pip install -e .[test,bench]
    python bench/mesh.py [DEVICES [SECONDS]]         # 100 devices, 60 s at rest

The server is MeshCentral itself on the loopback address, in a process of its own that is not counted; npm installs it
into POMMEL_TEST_CACHE at the first run. Keys are made beforehand by other processes, so that no memory they left free
makes a device look smaller than it is: what is counted begins with reading them from disk.

Memory is what the process has for itself (USS), after and before, by the number of devices. At rest means: from ten
seconds after the last device is online. More than 150 seconds also show that the server, which then gives up on silent
agents, has heard of all of them; whoever was lost meanwhile is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mesh.doubles import FACTS, Desk
from mesh.server import MeshCentral, logged_in, mesh_central
from pommel.mesh.connection import DeviceConnection, Phase, ServerStanding
from pommel.mesh.membership import join, load
from pommel.mesh.network import network

PATIENCE_S, CALM_S = 300, 10
MOST_CPU_PERCENT, MOST_MB = 1.0, 3.0


@dataclass
class Figures:
    """One run's. Seconds are of the processor unless they are `took_s`."""

    devices: int
    took_s: float = 0.0
    online_cpu_s: float = 0.0
    mb_each: float = 0.0
    rest_s: float = 0.0
    rest_cpu_s: float = 0.0
    switches: float = 0.0
    lost: int = 0
    seen: int = 0

    @property
    def cpu_percent(self) -> float:
        return 100 * self.rest_cpu_s / self.rest_s

    def table(self) -> str:
        rows = {
            "all online after": f"{self.took_s:.1f} s ({1000 * self.online_cpu_s / self.devices:.0f} ms of CPU each)",
            "memory each (goal: below 3)": f"{self.mb_each:.2f} MB",
            f"CPU of a core at rest, {self.rest_s:.0f} s (goal: below 1)": f"{self.cpu_percent:.3f} %",
            "wake-ups at rest": f"{self.switches:.1f} a second",
            "connections lost meanwhile": str(self.lost),
            "online in the server's list at the end": str(self.seen),
        }
        lines = [
            f"| {self.devices} devices, one process | |",
            "|---|---|",
            *(f"| {k} | {v} |" for k, v in rows.items()),
        ]
        return "\n".join(lines)


def main() -> None:
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rest_s = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory(prefix="pmb-") as root, mesh_central() as server:
        msh = asyncio.run(_msh(server))
        folders = [Path(root) / str(number) for number in range(devices)]
        with ProcessPoolExecutor() as others:
            list(others.map(_join, folders, [msh] * devices))
        figures = asyncio.run(_measured(server, folders, rest_s))
    print(figures.table())
    sys.exit(figures.cpu_percent >= MOST_CPU_PERCENT or figures.mb_each >= MOST_MB or figures.seen != devices)


async def _msh(server: MeshCentral) -> bytes:
    async with logged_in(server) as user:
        return await user.msh()


def _join(folder: Path, msh: bytes) -> None:
    join(folder, msh)


async def _measured(server: MeshCentral, folders: list[Path], rest_s: float) -> Figures:
    me, figures = psutil.Process(), Figures(len(folders))
    gc.collect()
    before = me.memory_full_info().uss
    async with network() as http:
        began, cpu_s = time.monotonic(), _cpu_s(me)
        stood: list[ServerStanding] = []
        members = [load(folder) for folder in folders]
        desks = [Desk(now=replace(FACTS, name=f"mac-{number}")) for number in range(len(folders))]
        connections = [
            DeviceConnection(one, desk, http, stood.append) for one, desk in zip(members, desks, strict=True)
        ]
        async with _running(connections):
            async with asyncio.timeout(PATIENCE_S):
                while any(one.standing.phase is not Phase.ONLINE for one in connections):
                    await asyncio.sleep(0.05)
            figures.took_s, figures.online_cpu_s = time.monotonic() - began, _cpu_s(me) - cpu_s
            await asyncio.sleep(CALM_S)
            gc.collect()
            figures.mb_each = (me.memory_full_info().uss - before) / len(folders) / 1e6
            await _rest(me, figures, rest_s)
            figures.lost = sum(one.phase is Phase.WAITING for one in stood)
            figures.seen = await _seen(server)
    return figures


async def _rest(me: psutil.Process, figures: Figures, rest_s: float) -> None:
    began, cpu_s, switches = time.monotonic(), _cpu_s(me), me.num_ctx_switches().voluntary
    await asyncio.sleep(rest_s)
    figures.rest_s, figures.rest_cpu_s = time.monotonic() - began, _cpu_s(me) - cpu_s
    figures.switches = (me.num_ctx_switches().voluntary - switches) / figures.rest_s


async def _seen(server: MeshCentral) -> int:
    async with logged_in(server) as user:
        groups = (await user.ask("nodes"))["nodes"]
    return sum(bool(node.get("conn", 0) & 1) for nodes in groups.values() for node in nodes)


@contextlib.asynccontextmanager
async def _running(connections: list[DeviceConnection]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one.run()) for one in connections]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _cpu_s(me: psutil.Process) -> float:
    times = me.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
