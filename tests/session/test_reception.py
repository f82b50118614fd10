"""Viewers who come in by a socket: over it goes what goes between daemon and agent, and nobody else comes in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest

from pommel.errors import NotPermitted, ProtocolError
from pommel.session.reception import Reception
from pommel.session.seat import Seat
from pommel.wire.viewer import ViewerStream
from session.scene import ANN, BOB, Scene, Viewer
from waits import until


@contextlib.asynccontextmanager
async def open_reception(reception: Reception) -> AsyncIterator[None]:
    with reception.listening() as let_in:
        serving = asyncio.ensure_future(let_in())
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])


@contextlib.asynccontextmanager
async def beyond(path: Path, viewer: Viewer) -> AsyncIterator[asyncio.Future[tuple[int, str] | None]]:
    """What another process does with a viewer of its own: hands it on over the socket, both ways."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, str(path))
    seat = Seat(viewer)
    reading, showing = asyncio.ensure_future(seat.read()), asyncio.ensure_future(seat.show(connection))
    try:
        yield showing
    finally:
        viewer.leave()
        showing.cancel()
        await asyncio.wait([reading, showing])
        connection.close()


def folder(scene: Scene) -> Path:
    made = scene.run / "in"
    made.mkdir(mode=0o711, exist_ok=True)
    return made


async def test_a_viewer_from_elsewhere_sees_and_drives_the_session(scene: Scene) -> None:
    path = folder(scene) / "viewers"
    async with scene.serving() as daemon, scene.launcher(ANN):
        reception = Reception(PurePosixPath(path), os.geteuid(), daemon.view, scene.log.append)
        async with open_reception(reception):
            assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (0o600, os.geteuid())
            async with beyond(path, near := Viewer()), scene.looking(daemon) as here:
                await until(lambda: near.shown and here.shown)
                near.say(b"key")
                await until(lambda: b"echo key" in near.shown)
                assert b"echo key" not in here.shown
                assert daemon.viewers == 2
                near.waiting = 7
                near.say(b"hello")
                await until(lambda: b"echo hello" in near.shown)
                near.say(b"unsent")
                await until(lambda: near.told)
                assert int(near.told[0]) >= 7, "what has not left there counts for the agent's pace"
            await until(lambda: daemon.viewers == 0)
        assert not path.exists()


async def test_why_there_is_nothing_to_see_goes_all_the_way(scene: Scene) -> None:
    scene.installed = False
    path = folder(scene) / "viewers"
    async with scene.serving() as daemon:
        reception = Reception(PurePosixPath(path), os.geteuid(), daemon.view, scene.log.append)
        async with open_reception(reception), beyond(path, near := Viewer()) as showing:
            assert await showing == (1013, "the agent is not installed")
            assert near.told == ["the agent is not installed"]


async def test_whose_socket_it_is(scene: Scene) -> None:
    path, seen = folder(scene) / "viewers", asyncio.Event()

    async def view(stream: ViewerStream) -> None:
        seen.set()

    knock = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nprint('in', s.recv(1))"

    async def knocks(uid: int) -> str:
        words = ("setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-c", knock, str(path))
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        return (await child.communicate())[0].decode()

    async with open_reception(Reception(PurePosixPath(path), ANN, view, scene.log.append)):
        assert "PermissionError" in await knocks(BOB)
        assert not seen.is_set()
        assert "in" in await knocks(ANN)
        assert seen.is_set()
        # The directory's owner may let in whoever it likes; the door asks all the same.
        path.chmod(0o666)
        seen.clear()
        await knocks(BOB)
        assert not seen.is_set()
        assert scene.log == [f"a viewer was refused: it runs as uid {BOB}"]


async def test_a_viewer_that_speaks_nonsense_harms_nobody(scene: Scene) -> None:
    path = folder(scene) / "viewers"

    async def view(stream: ViewerStream) -> None:
        async for _ in stream.messages():
            pass

    async with open_reception(Reception(PurePosixPath(path), os.geteuid(), view, scene.log.append)):
        for nonsense in (b"\xff" * 9, b"\x03\0\0\0\0", b"\x01\xff\xff\xff\xff"):
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(str(path))
                there.sendall(nonsense)
                there.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.get_running_loop().sock_recv(there, 1) == b""
        await until(lambda: len(scene.log) == 3)
        async with beyond(path, Viewer()) as showing:
            await asyncio.sleep(0.05)
            assert not showing.done()
    assert ProtocolError.__name__ not in scene.log


async def test_an_unsafe_directory(scene: Scene) -> None:
    folder(scene).chmod(0o777)
    reception = Reception(PurePosixPath(folder(scene) / "viewers"), 0, nobody, scene.log.append)
    with pytest.raises(NotPermitted, match="written by other users"), reception.listening():
        pass


async def nobody(stream: ViewerStream) -> None:
    raise ProtocolError("nobody comes in")
