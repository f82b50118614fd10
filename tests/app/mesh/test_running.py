"""The process that keeps machines online: it sees them come and go by itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.meshes import joined, kill, made, process, start, workspace
from mesh.fake_server import FakeServer, fake_server
from pommel import __version__, locks
from pommel.app.mesh import membership as mesh
from pommel.app.mesh import running as mesh_running
from pommel.app.mesh import status as mesh_status
from pommel.app.workspace import Workspace
from pommel.errors import BusyError
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder
from pommel.wire.messages import Direction
from waits import until


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with fake_server(tmp_path) as one:
        yield one


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_running, "_LOOK_S", 0.1)


async def test_a_machine_is_online_while_it_runs(where: Workspace, server: FakeServer) -> None:
    paths = made(where)
    member = joined(paths, server)
    async with process(where) as running:
        await asyncio.sleep(0.3)
        assert running.said == [] and mesh_status.standings(where.home) == {}
        await start(paths)
        seen = await running.until("online")
        assert (seen.server, seen.node_id, seen.mesh_pid) == (
            server.msh.servers[0].url,
            member.identity.node_id,
            os.getpid(),
        )
        await until(lambda: mesh_status.standing(where, paths) == "online")
        told = mesh.status("trial", workspace=where)
        assert (told.standing, told.group, told.agent_id) == ("online", "tests", 10005)
        info = await server.hears(action="coreinfo")
        assert (info["osdesc"], info["caps"]) == (f"Debian, the trial machine (Pommel {__version__})", 13)
        assert b"trial" in server.introductions[-1]
        await kill(paths)
        began = time.monotonic()
        await running.until("offline")
        await until(lambda: server.agents[-1].closed)
        assert time.monotonic() - began < 10
        told = mesh.status("trial", workspace=where)
        assert (told.standing, told.why, told.hint) == ("offline", "trial is not running", "pommel start trial")


async def test_there_is_one_and_the_next_is_told_its_pid(where: Workspace) -> None:
    async with process(where):
        await until(lambda: locks.holder(where.home.mesh.lock))
        with pytest.raises(BusyError, match="of this home"):
            await mesh_running.serve(where)
        with pytest.raises(BusyError, match=rf"\(pid {os.getpid()}\)") as refusal:
            mesh.refuse_second(where)
        assert refusal.value.hint
    assert locks.holder(where.home.mesh.lock) is None
    assert mesh_status.standings(where.home) == {}
    assert where.home.mesh.directory.stat().st_mode & 0o777 == 0o700


async def test_it_ends_a_while_after_the_last(where: Workspace, server: FakeServer) -> None:
    paths = made(where)
    joined(paths, server)
    await start(paths)
    async with process(where, linger_s=0.3) as running:
        await running.until("online")
        await asyncio.sleep(0.6)
        assert running.task is not None and not running.task.done()
        await kill(paths)
        assert await running.task == "none of the machines that joined a server is running"


async def test_who_is_started_as_it_ends_is_not_forgotten(
    where: Workspace, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = made(where)
    joined(paths, server)
    await start(paths)
    wanted, seen = mesh_running._wanted, []

    def late(home: object) -> dict[str, int]:
        seen.append(1)
        return {} if len(seen) == 1 else wanted(where.home)

    monkeypatch.setattr(mesh_running, "_wanted", late)
    async with process(where, linger_s=0.0) as running:
        await running.until("online")


async def test_one_that_joins_another_server_goes_there_and_one_that_leaves_goes(
    where: Workspace, server: FakeServer, tmp_path: Path
) -> None:
    paths = made(where)
    joined(paths, server)
    await start(paths)
    (tmp_path / "other").mkdir()
    async with fake_server(tmp_path / "other") as other, process(where) as running:
        await running.until("online")
        await asyncio.sleep(0.3)
        assert len(server.introductions) == 1, "that the server was told its name is no reason to connect anew"
        before = len(running.said)
        joined(paths, other)
        seen = await running.until("online", since=before)
        assert seen.server == other.msh.servers[0].url
        assert server.agents[-1].closed
        await asyncio.to_thread(mesh.leave, "trial", workspace=where)
        assert not paths.mesh.exists()
        await until(lambda: other.agents[-1].closed)
        assert mesh.list_joined(workspace=where) == []


async def test_one_that_cannot_be_online_is_no_concern_of_the_others(where: Workspace, server: FakeServer) -> None:
    for number, name in enumerate(("one", "trial", "two")):
        paths = made(where, name, number + 1)
        joined(paths, server)
        await start(paths)
    where.paths("one").mesh.joinpath("identity.pem").write_text("nonsense")
    silent = where.paths("two").mesh / "joined.json"
    silent.write_text(silent.read_text().replace(f":{server.port}/", ":1/"))
    async with process(where) as running:
        failed = await running.until("failed", "one")
        assert "damaged" in failed.why and "join again" in (failed.hint or "")
        waiting = await running.until("waiting", "two")
        assert "cannot be connected to" in waiting.why
        await running.until("online")
    found = {one.name: one.standing for one in mesh.list_joined(workspace=where)}
    assert found == {"one": "failed", "trial": "offline", "two": "offline"}


async def test_a_fault_of_ours_is_told_and_logged(
    where: Workspace, server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = made(where)
    joined(paths, server)
    await start(paths)

    async def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pommel.app.mesh.running.DeviceConnection.run", broken)
    async with process(where) as running:
        failed = await running.until("failed")
        assert "an error in Pommel" in failed.why
    assert "keeping trial online failed" in caplog.text


async def test_a_machine_that_comes_and_goes_often_waits_before_its_server_has_enough(
    where: Workspace, server: FakeServer
) -> None:
    paths = made(where)
    joined(paths, server)
    async with process(where) as running:
        for _ in range(4):
            before = len(running.said)
            await start(paths)
            await running.until("online", since=before)
            await kill(paths)
            await running.until("offline", since=before)
        before = len(running.said)
        await start(paths)
        waiting = await running.until("waiting", since=before)
        assert "connected too often" in waiting.why
    assert len(server.introductions) == 4


async def test_sessions_share_one_capture_that_ends_with_them(
    where: Workspace, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pommel.app.console import relay
    from pommel.app.mesh import screen as mesh_screen

    captures, connect = [], relay.connect_vnc

    async def counted(path: Path, **words: Any) -> object:
        captures.append(await connect(path, **words))
        return captures[-1]

    monkeypatch.setattr(relay, "connect_vnc", counted)
    monkeypatch.setattr(mesh_screen, "LINGER_S", 0.2)
    paths = made(where)
    joined(paths, server)
    await start(paths)
    async with process(where) as running:
        await running.until("online")
        assert captures == []
        for number in (1, 2):
            viewer = await server.opens_tunnel(where=f"*/meshrelay.ashx?p=2&id={number}")
            await viewer.begin()
            (screen,) = commands(await viewer.command())
            assert isinstance(screen, wire.Screen)
        await until(lambda: running.said[-1].viewers == 2)
        assert len(captures) == 1
        for socket in server.relays:
            await socket.close()
        await until(lambda: running.said[-1].viewers == 0)
        await until(lambda: not running_captures())


async def test_a_session_that_fails_by_a_fault_of_ours_ends_alone(
    where: Workspace, server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pommel.app.console.relay.MachineRelay.serve", broken)
    paths = made(where)
    joined(paths, server)
    await start(paths)
    async with process(where) as running:
        await running.until("online")
        viewer = await server.opens_tunnel()
        await viewer.begin()
        assert "showing the screen failed" in (await viewer.told("console"))["msg"]
        await until(lambda: running.said[-1].viewers == 0)
        assert running.said[-1].standing == "online"
    assert "ZeroDivisionError" in caplog.text


def commands(data: bytes) -> list[wire.Command]:
    decoder = Decoder(Direction.TO_VIEWER)
    decoder.receive_data(data)
    return list(decoder.events())


def running_captures() -> list[str]:
    return [str(task.get_coro()) for task in asyncio.all_tasks() if "Relay.run" in str(task.get_coro())]
