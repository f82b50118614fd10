"""A daemon in this process, its places, viewers, and children of other users."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath

from isolation import patient
from pommel.session.admission import LINUX
from pommel.session.daemon import SessionDaemon, Surroundings, Timing
from pommel.session.peer import Expected, agent_expected
from pommel.session.peer_linux import program_of
from pommel.session.places import Places
from pommel.session.service_files import agent_job
from pommel.session.sessions import Session
from session.launchd import Launchd
from waits import until

ANN, BOB = 12345, 12346
PATIENCE_S = 30.0
QUICK = Timing(arrive_s=PATIENCE_S, nobody_s=PATIENCE_S, patience_s=PATIENCE_S, poll_s=0.05, leave_s=1.0)
HASTY = Timing(arrive_s=0.4, nobody_s=0.2, patience_s=0.6, poll_s=0.05, leave_s=1.0)


class Child:
    """A process of another user; `lines` is what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def said(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


class Viewer:
    """A viewer that can be made to read slowly."""

    def __init__(self) -> None:
        self.shown: list[bytes] = []
        self.told: list[str] = []
        self.closed: tuple[int, str] | None = None
        self.waiting = 0
        self.stuck = asyncio.Event()
        self.stuck.set()
        self._says: asyncio.Queue[bytes | None] = asyncio.Queue()

    def say(self, data: bytes) -> None:
        self._says.put_nowait(data)

    def leave(self) -> None:
        self._says.put_nowait(None)

    async def send(self, data: bytes) -> None:
        await self.stuck.wait()
        self.shown.append(data)

    async def send_text(self, text: str) -> None:
        try:
            self.told.append(json.loads(text)["msg"])
        except (ValueError, TypeError):
            self.told.append(text)

    def unsent_bytes(self) -> int:
        return self.waiting

    async def messages(self) -> AsyncIterator[bytes]:
        while (data := await self._says.get()) is not None:
            yield data

    async def close(self, code: int, reason: str) -> None:
        self.closed = code, reason
        self.leave()


class Scene:
    """One service: its places under a directory that all users may go through."""

    def __init__(self) -> None:
        self.run = Path(tempfile.mkdtemp(prefix="pommel-session-"))
        self.run.chmod(0o755)
        self.places = Places.of("linux", run=PurePosixPath(self.run))
        self.active: Session | None = Session(ANN, "1")
        self.installed = True
        self.log: list[str] = []
        self.children: list[Child] = []
        self._launching: asyncio.Future[None] | None = None

    def close(self) -> None:
        for child in self.children:
            child.close()
        shutil.rmtree(self.run)

    def start(self, mode: str, uid: int, **env: str) -> Child:
        """Start child.py in a mode."""
        return self.start_program(
            [sys.executable, str(Path(__file__).with_name("child.py")), mode, str(uid), str(self.run)], **env
        )

    def start_program(self, words: list[str], **env: str) -> Child:
        log = self.run / f"child-{len(self.children)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=out, stderr=out, env=os.environ | env, start_new_session=True
            )
        self.children.append(Child(process, log))
        return self.children[-1]

    def expected(self, session: Session) -> Expected:
        program = program_of()
        assert program is not None
        return agent_expected(self.places, session.uid, frozenset({program.file}), by_systemd=False)

    def daemon(self, timing: Timing) -> SessionDaemon:
        around = Surroundings(lambda: self.active, self.expected, LINUX, lambda: self.installed, self.log.append)
        return SessionDaemon(self.places, around, timing)

    @contextlib.asynccontextmanager
    async def serving(self, timing: Timing = QUICK) -> AsyncIterator[SessionDaemon]:
        """A daemon that runs for the time of the block."""
        daemon = self.daemon(timing)
        running = asyncio.ensure_future(daemon.run())
        try:
            await until(lambda: running.done() or Path(self.places.lock).exists(), what="the daemon")
            if running.done():
                await running
            yield daemon
        finally:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.result()

    @contextlib.asynccontextmanager
    async def looking(self, daemon: SessionDaemon) -> AsyncIterator[Viewer]:
        """A viewer that looks on for the time of the block."""
        viewer = Viewer()
        viewing = asyncio.ensure_future(daemon.view(viewer))
        try:
            yield viewer
        finally:
            viewer.leave()
            viewer.stuck.set()
            async with asyncio.timeout(patient(PATIENCE_S)):
                await viewing

    @contextlib.asynccontextmanager
    async def launcher(self, *uids: int, mode: str = "agent") -> AsyncIterator[None]:
        """What launchd or systemd does, in the sessions of these users; faster."""
        job = {**agent_job(self.places, ["/bin/pommel"]), "ThrottleInterval": 0.3}
        launchers = [Launchd(job, lambda _, uid=uid: self.start(mode, uid)) for uid in uids]  # type: ignore[misc]

        async def tick() -> None:
            while True:
                for one in launchers:
                    one.tick(asyncio.get_running_loop().time())
                await asyncio.sleep(0.02)

        ticking = asyncio.ensure_future(tick())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])

    def traces(self) -> list[str]:
        """What lies in the two directories, but for the lock."""
        folders = [Path(self.places.signals), Path(self.places.sockets)]
        return sorted(
            f.name for folder in folders if folder.is_dir() for f in folder.iterdir() if f.name != "daemon.lock"
        )


@contextlib.contextmanager
def a_scene() -> Iterator[Scene]:
    scene = Scene()
    try:
        yield scene
    finally:
        scene.close()
