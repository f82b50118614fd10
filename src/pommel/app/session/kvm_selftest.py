"""Test each part of the reversed socket on this system, installed or not, and say how to repair it. Band: app.

All files are in a temporary directory, which is deleted. A daemon and an agent of the user run there like installed
ones. The launcher is the real one of the system, with a job that only creates a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import plistlib
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pommel.app.session.kvm_agent import find_screen
from pommel.app.session.kvm_daemon import DaemonOptions, places_of, surroundings, this_system
from pommel.app.session.kvm_install import check_libraries, pinned_requirement
from pommel.config import environment
from pommel.errors import PommelError, StateError
from pommel.process import run, spawn_detached, this_python
from pommel.progress import Progress, Report, ignore
from pommel.session.daemon import SessionDaemon
from pommel.session.service_files import AGENT_WORD
from pommel.session.sessions import active_session
from pommel.tasks import background
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction, Picture, Refresh

if TYPE_CHECKING:
    from pommel.app.session.kvm import SessionConnection

_WHOLE_S = 20.0
_LAUNCH_S = 15.0  # launchd may wait ten seconds between two starts (launchd.plist(5), ThrottleInterval)
_FRAME_S = 10.0
_COMMAND_S = 20.0
_JOB = "pommel-selftest"


@dataclass(frozen=True, slots=True)
class SelftestCheck:
    """The test of one part: whether it works (None: it could not be tested), what was found, and the repair."""

    piece: str
    ok: bool | None
    text: str
    mend: str = ""


class NotTried(StateError):
    """This part cannot be tested here."""


def selftest(*, report: Report = ignore) -> tuple[SelftestCheck, ...]:
    """Test every part, also after a failure."""
    pieces: dict[str, Callable[[], str]] = {
        "system": _system,
        "libraries": _libraries,
        "session": _session,
        "launcher": _launcher,
        "permissions": _permissions,
        "screen": lambda: asyncio.run(_screen()),
        "socket, peer and agent": lambda: asyncio.run(_whole()),
    }
    return tuple(_tried(piece, attempt, report) for piece, attempt in pieces.items())


def _tried(piece: str, attempt: Callable[[], str], report: Report) -> SelftestCheck:
    report(Progress(piece))
    try:
        check = SelftestCheck(piece, True, attempt())
    except NotTried as no:
        check = SelftestCheck(piece, None, no.message, no.hint or "")
    except PommelError as failure:
        check = SelftestCheck(piece, False, failure.message, failure.hint or "")
    except OSError as failure:
        check = SelftestCheck(piece, False, str(failure))
    report(Progress(piece, finished=True))
    return check


def _system() -> str:
    version = platform.mac_ver()[0] if sys.platform == "darwin" else platform.release()
    return f"{this_system()} {version} on {platform.machine()}, Python {platform.python_version()}"


def _libraries() -> str:
    check_libraries(places_of())
    return "all are installed"


def _session() -> str:
    found = active_session()
    if found is None:
        raise NotTried("no user is logged in at the screen", hint="log in at the screen, and try again")
    return f"{found} has the screen"


# --- the launcher ---


def _launcher() -> str:
    with _folder() as folder:
        queue, mark = folder / "queue", folder / "mark"
        queue.mkdir()
        job = _launchd_job(queue, mark, folder) if sys.platform == "darwin" else _systemd_job(queue, mark)
        with job:
            (queue / "session-active").touch()
            began, deadline = time.monotonic(), time.monotonic() + _LAUNCH_S
            while not mark.exists():
                if time.monotonic() > deadline:
                    raise StateError(f"a job was not started within {_LAUNCH_S:g} s of the signal")
                time.sleep(0.05)
            (queue / "session-active").unlink()
            return f"a job starts {time.monotonic() - began:.1f} s after the signal"


@contextlib.contextmanager
def _systemd_job(queue: Path, mark: Path) -> Iterator[None]:
    if shutil.which("systemd-run") is None or not _answers(["systemctl", "--user", "is-system-running"]):
        raise NotTried("there is no systemd for this user here", hint="log in to your own session, and try again there")
    unit = f"{_JOB}-{os.getpid()}"
    run(
        [
            *("systemd-run", "--user", "--quiet", "--collect", f"--unit={unit}"),
            *(f"--path-property=DirectoryNotEmpty={queue}", "touch", str(mark)),
        ],
        timeout_s=_COMMAND_S,
    )
    try:
        yield
    finally:
        run(["systemctl", "--user", "stop", f"{unit}.path", f"{unit}.service"], check=False, timeout_s=_COMMAND_S)


@contextlib.contextmanager
def _launchd_job(queue: Path, mark: Path, folder: Path) -> Iterator[None]:
    label, domain = f"{_JOB}-{os.getpid()}", f"gui/{os.getuid()}"
    job = {"Label": label, "ProgramArguments": ["/usr/bin/touch", str(mark)], "QueueDirectories": [str(queue)]}
    plist = folder / f"{label}.plist"
    plist.write_bytes(plistlib.dumps(job))
    if not _answers(["launchctl", "print", domain]):
        raise NotTried("this user is not logged in to a desktop", hint="log in at the screen, and try again")
    run(["launchctl", "bootstrap", domain, str(plist)], timeout_s=_COMMAND_S)
    try:
        yield
    finally:
        run(["launchctl", "bootout", f"{domain}/{label}"], check=False, timeout_s=_COMMAND_S)


def _answers(words: list[str]) -> bool:
    try:
        done = run(words, check=False, timeout_s=_COMMAND_S)
    except PommelError:
        return False
    # `degraded` has exit status 1, but it is an answer of a running systemd.
    return done.returncode == 0 or done.text.strip() in ("degraded", "starting")


# --- the screen ---


def _permissions() -> str:
    if sys.platform != "darwin":
        return "none are needed here"
    from pommel.screen.sources.macos import permissions

    found = permissions()
    missing = [one for one in found if not one.granted]
    if missing:
        raise StateError(
            "; ".join(one.words for one in missing), hint="; ".join(f"open {one.url!r}" for one in missing)
        )
    return f"granted: {', '.join(one.name for one in found)}"


async def _screen() -> str:
    """Capture a frame, and test the input by the release of a key that is not pressed, which no program notices."""
    from pommel.screen.actions import PressKey
    from pommel.screen.seams import SourceEnded

    shift = 0x10
    shown: list[str] = []
    async with _connected(shown.append) as connection:
        connection.source.watch(True)
        async with asyncio.timeout(_FRAME_S):
            began = time.monotonic()
            update = await connection.source.next_update()
        if isinstance(update, SourceEnded):
            raise StateError(f"the screen ended at once: {update.reason}")
        seconds, size = time.monotonic() - began, update.frame.size
        if size.width * size.height == 0:
            raise StateError("the screen has no pixels")
        await connection.sink.perform(PressKey(shift, extended=False, down=False))
        lit = bool(update.frame.pixels[..., :3].any())
        looks = f"{size.width}×{size.height} in {seconds * 1000:.0f} ms{'' if lit else ', all black'}"
        return "; ".join([*shown, looks, "input is accepted"])


@contextlib.asynccontextmanager
async def _connected(log: Callable[[str], None]) -> AsyncIterator[SessionConnection]:
    if sys.platform == "darwin":
        from pommel.screen.sources.macos import connect_macos

        connection: SessionConnection = await connect_macos()
    else:
        connection = await find_screen(environment(), log, patience_s=0)
    try:
        yield connection
    finally:
        await connection.close()


# --- the whole of it ---


async def _whole() -> str:
    """Run a daemon in this process, an agent in another one, and a viewer that waits for its first picture."""
    with _folder() as folder:
        uid, said = os.geteuid(), list[str]()
        requirement = pinned_requirement() if sys.platform == "darwin" else ""
        options = DaemonOptions(run=folder, uid=uid, requirement=requirement)
        places = places_of(options.service_id, folder)
        daemon = SessionDaemon(places, surroundings(places, options, said.append), options.timing)
        viewer = _FirstPicture()
        async with background(daemon.run(), daemon.view(viewer)) as tasks:
            await _until(lambda: Path(places.signal).exists() or any(task.done() for task in tasks))
            began = time.monotonic()
            with _agent(folder, uid) as log:
                await _until(lambda: viewer.shown or any(task.done() for task in tasks))
                if not viewer.shown:
                    words = [viewer.told, *said, *log.read_text().splitlines()[-3:]]
                    raise StateError("no picture came: " + "; ".join(dict.fromkeys(word for word in words if word)))
            return f"the first picture came {time.monotonic() - began:.1f} s after the signal"


@contextlib.contextmanager
def _agent(folder: Path, uid: int) -> Iterator[Path]:
    """Start the agent, as a launcher would, with the same Pommel as this process."""
    log, env = folder / "agent.log", environment() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = this_python("-m", "pommel", AGENT_WORD, "--run", str(folder), "--daemon-uid", str(uid))
    child = spawn_detached(words, log, env=env)
    try:
        yield log
    finally:
        child.kill()


class _FirstPicture:
    """A viewer that ends with its first picture, or with the close message that says why there is none."""

    def __init__(self) -> None:
        self.shown = False
        self.told = ""
        self._over = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Read a command."""
        decoder = Decoder(Direction.TO_VIEWER)
        decoder.receive_data(data)
        if any(isinstance(command, Picture) for command in decoder.events()):
            self.shown = True
            self._over.set()

    async def send_text(self, text: str) -> None:
        """Ignore it: the close message has the reason too."""

    def unsent_bytes(self) -> int:
        """Always 0."""
        return 0

    async def messages(self) -> AsyncIterator[bytes]:
        """Ask for pictures, and send nothing else."""
        yield encode(Refresh())
        await self._over.wait()

    async def close(self, code: int, reason: str) -> None:
        """Keep the reason why there is no picture."""
        self.told = reason
        self._over.set()


async def _until(true: Callable[[], bool]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_WHOLE_S):
            while not true():  # noqa: ASYNC110 - another process makes it true, so there is no event
                await asyncio.sleep(0.02)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pommel-selftest-") as made:
        yield Path(made).resolve()
