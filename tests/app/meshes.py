"""Machines that have joined a fake MeshCentral server: a record, a QEMU with next to nothing in it, and a process of ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from machine.bare import argv, end, short_home
from mesh.doubles import identity
from mesh.fake_server import FakeServer
from pommel.app.argv.commandline import new_record
from pommel.app.mesh import running as mesh_running
from pommel.app.mesh.status import MeshStatus
from pommel.app.workspace import Workspace
from pommel.machine import lifecycle
from pommel.machine.identity import RANDOM_BYTES
from pommel.machine.record import save
from pommel.mesh.keys import to_pem
from pommel.mesh.membership import Membership, join
from pommel.paths import MachinePaths
from waits import until


@contextlib.contextmanager
def workspace() -> Iterator[Workspace]:
    """A home; every QEMU in it is dead afterwards."""
    with short_home() as home:
        home.root.mkdir(parents=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("POMMEL_")}
        yield Workspace(home, home.root, env | {"POMMEL_HOME": str(home.root)})


def made(where: Workspace, name: str = "trial", number: int = 1) -> MachinePaths:
    """A machine that has been made."""
    if name != "trial":
        with (where.cwd / "pommel.toml").open("a") as file:
            file.write(f'[machine.{name}]\nupstream = "trial"\n')
        where.__dict__.pop("file", None)
    paths = where.paths(name)
    paths.directory.mkdir(parents=True)
    save(
        paths.record, new_record(where.spec(name), bytes([number]) * RANDOM_BYTES, created="2026-01-01T00:00:00+00:00")
    )
    return paths


def joined(paths: MachinePaths, server: FakeServer | bytes, number: int = 2) -> Membership:
    """Its membership, with a key that was made before: to make one takes its time."""
    paths.mesh.mkdir(mode=0o700, exist_ok=True)
    file = paths.mesh / "identity.pem"
    file.write_bytes(to_pem(identity(number)))
    file.chmod(0o600)
    return join(paths.mesh, server if isinstance(server, bytes) else server.msh_file)


async def start(paths: MachinePaths) -> None:
    """Have it run, with a screen."""
    await asyncio.to_thread(
        lifecycle.start, paths, argv(paths, "-vga", "std", "-vnc", f"unix:{paths.vnc},share=ignore")
    )


async def kill(paths: MachinePaths) -> None:
    await asyncio.to_thread(end, paths.pidfile)


class Process:
    """The process that keeps machines online, in this one; and all that it has said."""

    def __init__(self) -> None:
        self.said: list[MeshStatus] = []
        self.task: asyncio.Future[str] | None = None

    async def until(self, standing: str, name: str = "trial", since: int = 0) -> MeshStatus:
        def found() -> MeshStatus | None:
            known = [one for one in self.said[since:] if one.name == name]
            return known[-1] if known and known[-1].standing == standing else None

        return await until(found)


@contextlib.asynccontextmanager
async def process(where: Workspace, **options: Any) -> AsyncIterator[Process]:
    one = Process()
    one.task = asyncio.ensure_future(mesh_running.serve(where, on_change=one.said.append, **options))
    try:
        yield one
    finally:
        one.task.cancel()
        outcome = (await asyncio.gather(one.task, return_exceptions=True))[0]
        if isinstance(outcome, Exception):
            raise outcome
