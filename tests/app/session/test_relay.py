"""The console of a guest's session: a real ssh carries the socket, a real sshd is the guest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath

import pytest

from app.clips import alive, machine_behind
from clipboard.conftest import Sshd
from isolation import patient
from pommel.app.session.relay import MachineSession
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.session.reception import Reception
from pommel.wire.viewer import ViewerStream
from session.scene import Viewer
from waits import until


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    root = tmp_path / "s"
    root.mkdir()
    made = Sshd(root, {})
    yield made
    made.stop()


class Guest:
    """A guest whose daemon shows every viewer the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[bytes] = []
        self.goodbye: tuple[int, str] | None = None

    async def view(self, stream: ViewerStream) -> None:
        if self.goodbye:
            await stream.close(*self.goodbye)
            return
        await stream.send(b"screen")
        async for message in stream.messages():
            self.heard.append(message)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        self.path.parent.mkdir(mode=0o711, exist_ok=True)
        with Reception(PurePosixPath(self.path), 0, self.view, lambda _: None).listening() as let_in:
            task = asyncio.ensure_future(let_in())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait([task])


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path / "g" / "viewers")


@contextlib.asynccontextmanager
async def relaying(workspace: Workspace, guest: Guest) -> AsyncIterator[MachineSession]:
    relay = MachineSession(workspace, workspace.paths("trial"), linger_s=0.2, sockets={"linux": str(guest.path)})
    running = asyncio.ensure_future(relay.run())
    try:
        yield relay
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert list(workspace.paths("trial").runtime.glob("kvm-*")) == []


async def told(relay: MachineSession) -> tuple[int, str]:
    """How a viewer is parted from that sees nothing."""
    viewer = Viewer()
    await relay.serve(viewer)
    assert viewer.closed is not None
    return viewer.closed


async def test_a_viewer_sees_the_guests_session_and_drives_it(tmp_path: Path, sshd: Sshd, guest: Guest) -> None:
    workspace = machine_behind(sshd, tmp_path, None)
    with alive(workspace):
        async with guest.serving(), relaying(workspace, guest) as relay:
            viewers = [Viewer(), Viewer()]
            serving = [asyncio.ensure_future(relay.serve(viewer)) for viewer in viewers]
            for viewer in viewers:
                await until(lambda viewer=viewer: viewer.shown == [b"screen"], what="the screen")  # type: ignore[misc]
            viewers[0].say(b"key")
            await until(lambda: guest.heard == [b"key"])
            assert (await relay.status())["viewers"] == 2
            for viewer in viewers:
                viewer.leave()
            await asyncio.gather(*serving)
            assert (await relay.status())["viewers"] == 0
            guest.goodbye = 1013, "no user is logged in"
            assert await told(relay) == (1013, "no user is logged in")
            assert (await relay.status())["error"] == "no user is logged in"


async def test_why_there_is_nothing_to_see(tmp_path: Path, sshd: Sshd, guest: Guest) -> None:
    workspace = machine_behind(sshd, tmp_path, None)
    with alive(workspace):
        async with relaying(workspace, guest) as relay:
            assert await told(relay) == (
                1013,
                "Pommel is not installed in the guest yet; type: pommel guest install trial",
            )
            sshd.stop()
            code, why = await told(relay)
            assert code == 1013 and why.startswith("the guest does not answer SSH: ")
            sshd.start()
            async with guest.serving():
                viewer = Viewer()
                serving = asyncio.ensure_future(relay.serve(viewer))
                await until(lambda: viewer.shown == [b"screen"])
                assert not serving.done()
                sshd.stop()
                await serving
                assert viewer.closed is not None and viewer.closed[0] == 1013
                sshd.start()
                again = Viewer()
                serving = asyncio.ensure_future(relay.serve(again))
                await until(lambda: again.shown or again.closed)
                again.leave()
                await serving
            # The daemon has gone, the connection has not: it is looked again.
            assert (await told(relay))[0] == 1013
            assert (await told(relay))[1] == (
                "Pommel is not installed in the guest yet; type: pommel guest install trial"
            )


async def test_it_ends_with_its_machine(tmp_path: Path, sshd: Sshd, guest: Guest) -> None:
    workspace = machine_behind(sshd, tmp_path, None)
    with alive(workspace):
        relay = MachineSession(workspace, workspace.paths("trial"), linger_s=0.2, sockets={"linux": str(guest.path)})
        running = asyncio.ensure_future(relay.run())
        await asyncio.sleep(0.1)
        assert not running.done()
    async with asyncio.timeout(patient(20)):
        with contextlib.suppress(StateError):
            await asyncio.wait([running])
    assert running.done()
    running.exception()
