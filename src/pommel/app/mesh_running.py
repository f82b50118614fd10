"""The process that keeps a home's machines on their MeshCentral servers. Band: app.

`serve` runs it here until it is told to end; who starts it in the background is `mesh`. It lives by its lock, and finds
out by itself which machines have joined and run: by their files and by QEMU's locks, once a second. All connections
share one event loop.
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
from pommel.app import mesh_status
from pommel.app.mesh_device import machine_device
from pommel.app.mesh_status import FAILED, MeshStatus
from pommel.app.mesh_waking import Waker
from pommel.app.workspace import Workspace
from pommel.errors import PommelError
from pommel.mesh.backoff import CALM_S, Backoff
from pommel.mesh.connection import Connection, Phase, Standing
from pommel.mesh.membership import Membership, has_joined, load
from pommel.mesh.network import network
from pommel.paths import Home
from pommel.tasks import background, start_task, stop_tasks

LINGER_S = 30.0  # without any machine to keep; a restart takes less
_LOOK_S = 1.0
_WRITE_S = 0.1  # what is written down is for people
_AGAIN_S = 60.0
Tell = Callable[[MeshStatus], None]

log = logging.getLogger(__name__)


async def serve(workspace: Workspace, *, linger_s: float | None = None, on_change: Tell = lambda _: None) -> str:
    """Keep all machines that have joined a server online while they run; with `linger_s` end so long after the last.

    Returns why it ended. Cancel it to end it: the servers are told, nothing is left behind.

    Raises:
        BusyError: another process does it already; the message has its pid.
    """
    home = workspace.home
    home.mesh.make()
    while True:
        with locks.hold(home.mesh.lock, busy="another process keeps the machines of this home online"):
            try:
                why = await _Running(workspace, on_change).run(linger_s)
            finally:
                mesh_status.forget(home)
        # Whoever started a machine in this moment has seen the lock held, and counts on us.
        if not await asyncio.to_thread(_wanted, home):
            return why


def _wanted(home: Home) -> dict[str, int]:
    """The machines that have joined a server and run, with what changes when they join anew."""
    found = {}
    for paths in map(home.machine, home.names()):
        if not paths.mesh.is_dir() or not has_joined(paths.mesh):
            continue
        with contextlib.suppress(OSError):  # it leaves, or is deleted, in this moment
            if locks.holder(paths.pidfile) is not None:
                found[paths.name] = paths.mesh.stat().st_mtime_ns
    return found


class _Kept:
    """One machine that is kept online: its task, its membership as soon as that is read, and how it stands."""

    def __init__(self, name: str, changed: int) -> None:
        self.changed = changed
        self.member: Membership | None = None
        self.connection: Connection | None = None
        self.status = MeshStatus(name, Phase.CONNECTING.value, since=time.time(), mesh_pid=os.getpid())
        self.task: asyncio.Task[None] | None = None
        self.was_online = False


class _Running:
    def __init__(self, workspace: Workspace, on_change: Tell) -> None:
        self._workspace, self._home, self._on_change = workspace, workspace.home, on_change
        self._kept: dict[str, _Kept] = {}
        self._backoffs: dict[str, Backoff] = {}  # a machine that goes and comes must not weary its server either
        self._news = asyncio.Event()
        self._waker = Waker(workspace)

    async def run(self, linger_s: float | None) -> str:
        """Run until nothing has been there to be kept for `linger_s`; return that."""
        async with network() as http, background(self._write()):
            try:
                return await self._follow(http, linger_s)
            finally:
                await self._part(tuple(self._kept))

    async def _follow(self, http: aiohttp.ClientSession, linger_s: float | None) -> str:
        """See machines come and go."""
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
        """The machines that have joined with something else since."""
        found = []
        for name, kept in self._kept.items():
            if name in wanted and wanted[name] != kept.changed:
                kept.changed = wanted[name]
                if kept.member is None or await asyncio.to_thread(self._key, name) != mesh_status.key_of(kept.member):
                    found.append(name)
        return found

    def _key(self, name: str) -> str:
        try:
            return mesh_status.key_of(load(self._home.machine(name).mesh))
        except (PommelError, OSError):
            return ""  # damaged now: to begin anew says so

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
            self._on_change(replace(one.status, standing=mesh_status.OFFLINE, why="", hint=None, viewers=0))
            self._news.set()

    # --- one machine

    async def _keep(self, name: str, kept: _Kept, http: aiohttp.ClientSession) -> None:
        """Keep one machine online until cancelled. Its failures, ours too, are no other's concern."""
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

        def stands(standing: Standing) -> None:
            kept.was_online = kept.was_online or standing.phase is Phase.ONLINE
            said = {"standing": standing.phase.value, "why": standing.why, "hint": standing.hint}
            self._stand(kept, **said, server=standing.server, since=time.time())

        async def wake(macs: Sequence[str]) -> None:
            await self._waker.wake(macs, member)

        def watched() -> None:
            self._stand(kept, viewers=connection.viewers)

        kept.status = replace(kept.status, key=mesh_status.key_of(member), node_id=member.identity.node_id)
        await self._rest(name, kept)
        async with machine_device(self._workspace, name, http, wake=wake, watched=watched) as device:
            connection = Connection(member, device, http, stands)
            await connection.run()

    async def _rest(self, name: str, kept: _Kept) -> None:
        """Wait, if the machine has left its server so often that it would not be welcome now."""
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
            await asyncio.to_thread(mesh_status.keep, self._home, told)
            await self._news.wait()
            await asyncio.sleep(_WRITE_S)
