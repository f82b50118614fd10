"""The process that keeps a home's machines connected to their MeshCentral servers. Band: app.

`serve` runs until it is told to end; `app.mesh.membership` starts it in the background. It holds a lock while it
lives. Once a second it looks at the machines' files and QEMU's locks to find machines that have joined and run. All
connections share one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import aiohttp

from pommel import locks
from pommel.app.mesh import status
from pommel.app.mesh.device import machine_device
from pommel.app.mesh.status import FAILED, MeshStatus
from pommel.app.mesh.waking import Waker
from pommel.app.workspace import Workspace
from pommel.errors import PommelError
from pommel.mesh.backoff import CALM_S, Backoff
from pommel.mesh.connection import DeviceConnection, Phase, ServerStanding
from pommel.mesh.membership import Membership, has_joined, load
from pommel.mesh.network import network
from pommel.paths import Home
from pommel.tasks import background, start_task, stop_tasks

LINGER_S = 30.0  # without a running machine; a restart is quicker, and must not end the process
_LOOK_S = 1.0
_WRITE_S = 0.1  # at most ten writes a second: only people read the status
_AGAIN_S = 60.0
Tell = Callable[[MeshStatus], None]

log = logging.getLogger(__name__)


async def serve(workspace: Workspace, *, linger_s: float | None = None, on_change: Tell = lambda _: None) -> str:
    """Keep all machines that have joined a server online while they run. `linger_s` after the last one, it ends.

    Return the reason of the end. It can be cancelled: the connections are closed, and nothing is left.

    Raises:
        BusyError: another process does this already; the message has its pid.
    """
    home = workspace.home
    home.mesh.make()
    while True:
        with locks.hold(home.mesh.lock, busy="another process keeps the machines of this home online"):
            try:
                why = await _Running(workspace, on_change).run(linger_s)
            finally:
                status.forget(home)
        # A command that started a machine just now has seen the lock held, and so has not started another process.
        if not await asyncio.to_thread(_wanted, home):
            return why


def _wanted(home: Home) -> dict[str, int]:
    """The running machines that have joined a server, each with a number that changes when it joins again."""
    found = {}
    for paths in map(home.machine, home.names()):
        if not paths.mesh.is_dir() or not has_joined(paths.mesh):
            continue
        with contextlib.suppress(OSError):  # it just leaves the server, or is being deleted
            if locks.holder(paths.pidfile) is not None:
                found[paths.name] = paths.mesh.stat().st_mtime_ns
    return found


class _Kept:
    """One machine that is kept online: its task, its membership (once it is read), and its status."""

    def __init__(self, name: str, changed: int) -> None:
        self.changed = changed
        self.member: Membership | None = None
        self.connection: DeviceConnection | None = None
        self.status = MeshStatus(name, Phase.CONNECTING.value, since=time.time(), mesh_pid=os.getpid())
        self.task: asyncio.Task[None] | None = None
        self.was_online = False


class _Running:
    def __init__(self, workspace: Workspace, on_change: Tell) -> None:
        self._workspace, self._home, self._on_change = workspace, workspace.home, on_change
        self._kept: dict[str, _Kept] = {}
        self._backoffs: dict[str, Backoff] = {}  # kept across restarts: also a machine that often restarts must pause
        self._news = asyncio.Event()
        self._waker = Waker(workspace)

    async def run(self, linger_s: float | None) -> str:
        """Run until there has been no machine for `linger_s`; return the reason."""
        async with network() as http, background(self._write()):
            try:
                return await self._follow(http, linger_s)
            finally:
                await self._part(tuple(self._kept))

    async def _follow(self, http: aiohttp.ClientSession, linger_s: float | None) -> str:
        """Watch which machines run, and start and end their connections."""
        busy_at = time.monotonic()
        while True:
            wanted = await asyncio.to_thread(_wanted, self._home)
            gone = [name for name in self._kept if name not in wanted]
            await self._part([*gone, *await self._others(wanted)])
            for name, changed in wanted.items():
                if name not in self._kept:
                    self._begin(name, changed, http)
            now = time.monotonic()
            busy_at = now if self._kept else busy_at
            if linger_s is not None and not self._kept and now - busy_at >= linger_s:
                return "none of the machines that joined a server is running"
            await asyncio.sleep(_LOOK_S)

    async def _others(self, wanted: dict[str, int]) -> list[str]:
        """The machines whose membership has changed since it was read."""
        found = []
        for name, kept in self._kept.items():
            if name in wanted and wanted[name] != kept.changed:
                kept.changed = wanted[name]
                if kept.member is None or await asyncio.to_thread(self._key, name) != status.key_of(kept.member):
                    found.append(name)
        return found

    def _key(self, name: str) -> str:
        try:
            return status.key_of(load(self._home.machine(name).mesh))
        except (PommelError, OSError):
            return ""  # it is damaged now; the new connection reports that

    def _begin(self, name: str, changed: int, http: aiohttp.ClientSession) -> None:
        kept = self._kept[name] = _Kept(name, changed)
        kept.task = start_task(self._keep(name, kept, http))
        self._news.set()

    async def _part(self, names: Iterable[str]) -> None:
        kept = [self._kept.pop(name) for name in names]
        await stop_tasks(*(one.task for one in kept if one.task is not None))
        for one in kept:
            if one.was_online:
                backoff = self._backoffs.setdefault(one.status.name, Backoff())
                backoff.lost(asyncio.get_running_loop().time(), known=True, online_for_s=CALM_S)
            self._on_change(replace(one.status, standing=status.OFFLINE, why="", hint=None, viewers=0))
            self._news.set()

    # --- one machine

    async def _keep(self, name: str, kept: _Kept, http: aiohttp.ClientSession) -> None:
        """Keep one machine online until cancelled. An error, even a bug in Pommel, must not stop the other machines."""
        while True:
            try:
                await self._stay(name, kept, http)
            except PommelError as failure:
                self._stand(kept, standing=FAILED, why=failure.message, hint=failure.hint)
            except Exception as bug:
                log.exception("keeping %s online failed", name)
                self._stand(
                    kept, standing=FAILED, why=f"an error in Pommel: {bug!r}", hint=f"see {self._home.mesh.log}"
                )
            await asyncio.sleep(_AGAIN_S)

    async def _stay(self, name: str, kept: _Kept, http: aiohttp.ClientSession) -> None:
        kept.member = member = await asyncio.to_thread(load, self._home.machine(name).mesh)

        def stands(standing: ServerStanding) -> None:
            kept.was_online = kept.was_online or standing.phase is Phase.ONLINE
            said = {"standing": standing.phase.value, "why": standing.why, "hint": standing.hint}
            self._stand(kept, **said, server=standing.server, since=time.time())

        async def wake(macs: Sequence[str]) -> None:
            await self._waker.wake(macs, member)

        def watched() -> None:
            self._stand(kept, viewers=connection.viewers)

        kept.status = replace(kept.status, key=status.key_of(member), node_id=member.identity.node_id)
        await self._rest(name, kept)
        async with machine_device(self._workspace, name, http, wake=wake, watched=watched) as device:
            connection = DeviceConnection(member, device, http, stands)
            await connection.run()

    async def _rest(self, name: str, kept: _Kept) -> None:
        """Wait, if the machine has connected so often that its server would refuse it now."""
        if name in self._backoffs:
            pause_s = self._backoffs[name].pause_s(asyncio.get_running_loop().time(), 0.0)
            if pause_s > _LOOK_S:
                why = f"it connected too often: its server accepts it again in {pause_s:.0f} s"
                self._stand(kept, standing=Phase.WAITING.value, why=why)
            await asyncio.sleep(pause_s)

    def _stand(self, kept: _Kept, **now: object) -> None:
        before, kept.status = kept.status, replace(kept.status, **now)  # type: ignore[arg-type]
        if kept.status != before:
            self._news.set()
            self._on_change(kept.status)

    async def _write(self) -> None:
        while True:
            self._news.clear()
            told = {name: kept.status for name, kept in self._kept.items()}
            await asyncio.to_thread(status.keep, self._home, told)
            await self._news.wait()
            await asyncio.sleep(_WRITE_S)
