"""The daemon of the reversed socket, with a page or a socket for viewers, or both. Band: app.

It runs as root from the system's boot on. It shows the active login session to everyone who has the page's token or may
use the socket. `kvm_agent` is the program in the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pommel import json_file, locks
from pommel.app.console.tls import TlsWish, tls_of
from pommel.errors import NotPermitted, StateError, UsageError
from pommel.session import admission
from pommel.session.admission import Senses
from pommel.session.daemon import SOCKETS_MODE, SessionDaemon, Surroundings, Timing
from pommel.session.directory import safe_directory
from pommel.session.peer import Expected, agent_expected
from pommel.session.peer_linux import program_of
from pommel.session.places import DEFAULT_ID, Places, System
from pommel.session.reception import Reception
from pommel.session.sessions import Session, active_session
from pommel.tasks import background

if TYPE_CHECKING:
    from pommel.app.mesh.ticket import Ticket
    from pommel.wire.viewer import ViewerStream

LOOPBACK = "127.0.0.1"
_SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3)


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """The options of a daemon.

    With `page`, there is a page on `host` and `port` (None: a free port). `socket` is a Unix socket for viewers, which
    root and `socket_uid` may use. `uid` sets the session's user by hand; its agent is then started by hand too.
    `requirement` is the code requirement of macOS that an agent must meet, stored at the installation. `run` is a
    folder in place of /run. With a `ticket`, the session is also a device of a MeshCentral server.
    """

    service_id: str = DEFAULT_ID
    page: bool = True
    host: str = LOOPBACK
    port: int | None = None
    allowed_hosts: tuple[str, ...] = ()
    tls: TlsWish = field(default_factory=TlsWish)
    socket: Path | None = None
    socket_uid: int = 0
    uid: int | None = None
    requirement: str = ""
    run: Path | None = None
    ticket: Ticket | None = None
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class Serving:
    """A running daemon: its addresses for viewers, and its process. An address that does not exist is empty."""

    service_id: str
    url: str
    ws: str
    socket: str
    pid: int
    tls_fingerprint: str = ""


def this_system() -> System:
    """This operating system, as the room `session` names it.

    Raises:
        UsageError: its sessions cannot be shown.
    """
    if sys.platform == "darwin":
        return "macos"
    if sys.platform.startswith("linux"):
        return "linux"
    raise UsageError(f"login sessions of {platform.system()} cannot be shown")


def places_of(service_id: str = DEFAULT_ID, run: Path | None = None) -> Places:
    """The paths of a service on this system.

    Raises:
        UsageError, ConfigError: the id is not valid.
    """
    return Places.of(this_system(), service_id, run=PurePosixPath(run) if run else None)


def systemd_runs() -> bool:
    """Whether systemd is this system's init."""
    return _SYSTEMD_RUNS.is_dir()


async def serve(options: DaemonOptions, *, on_ready: Callable[[Serving], None], log: Callable[[str], None]) -> str:
    """Serve in this process until cancelled. Then viewers get a message, and signal, socket and secret are removed.

    Raises: UsageError: no viewer could connect, or the page's address cannot be used. NotPermitted: this is not root,
    or other users can write to the folders. BusyError: another daemon of this service runs; or no port is free.
    MissingProgram: a library is not installed.
    """
    if not options.page and options.socket is None and options.ticket is None:
        raise UsageError("no viewer could connect", hint="pass --page, --socket PATH, or --msh FILE")
    if options.run is None and os.geteuid() != 0:
        raise NotPermitted("the daemon must run as root", hint="sudo pommel kvm daemon")
    places = places_of(options.service_id, options.run)
    daemon = SessionDaemon(places, surroundings(places, options, log), options.timing)
    async with background(daemon.run()) as (running,):
        await _until_serving(daemon, running)
        async with _ways_in(places, daemon, options, log) as (serving, ways):
            on_ready(serving)
            return await _all_of(running, *ways)


def surroundings(places: Places, options: DaemonOptions, log: Callable[[str], None]) -> Surroundings:
    """The functions by which the daemon gets facts about this system.

    Raises:
        MissingProgram, UsageError: as `session.admission.macos`.
    """
    by_hand = options.uid is not None
    user = options.uid or 0
    return Surroundings(
        active=(lambda: Session(user, "by hand")) if by_hand else active_session,
        expected=partial(_expected, places, by_systemd=not by_hand and systemd_runs()),
        senses=_senses(options.requirement),
        installed=lambda: by_hand or Path(places.agent_definition).exists(),
        log=log,
    )


def _senses(requirement: str) -> Senses:
    if sys.platform != "darwin":
        return admission.LINUX
    if not requirement:
        raise UsageError(
            "the signature of the agent must be set with --requirement",
            hint="to set it automatically: sudo pommel kvm install",
        )
    return admission.macos(requirement)


def _expected(places: Places, session: Session, *, by_systemd: bool) -> Expected:
    if places.system == "macos":
        return Expected(session.uid, signed=True)
    return agent_expected(places, session.uid, frozenset(_programs()), by_systemd=by_systemd)


def _programs() -> Iterable[tuple[int, int]]:
    """Device and inode of this process's interpreter, and of its path now: after an update, agents run the new one."""
    running = program_of()
    if running is None:
        raise StateError("this process cannot see its own program in /proc")
    yield running.file
    with contextlib.suppress(OSError):
        found = Path(sys.executable).stat()
        yield found.st_dev, found.st_ino


async def _until_serving(daemon: SessionDaemon, running: asyncio.Task[None]) -> None:
    async with background(daemon.serving.wait()) as (ready,):
        await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()


async def _all_of(*works: Awaitable[None]) -> str:
    """Run all until one fails or this is cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(_awaited(work))
    return "the daemon has ended"


async def _awaited(work: Awaitable[None]) -> None:
    await work


@contextlib.asynccontextmanager
async def _ways_in(
    places: Places, daemon: SessionDaemon, options: DaemonOptions, log: Callable[[str], None]
) -> AsyncIterator[tuple[Serving, list[Awaitable[None]]]]:
    """Open the socket and the page for viewers; yield their addresses, and the coroutines to run."""
    async with contextlib.AsyncExitStack() as opened:
        ways: list[Awaitable[None]] = []
        if options.socket is not None:
            path = PurePosixPath(options.socket.absolute())
            reception = Reception(path, options.socket_uid, daemon.view, log)
            ways.append(opened.enter_context(reception.listening())())
        server = await opened.enter_async_context(_page(places, daemon, options)) if options.page else None
        serving = Serving(
            options.service_id,
            url=server.url if server else "",
            ws=server.ws if server else "",
            socket=str(options.socket or ""),
            pid=os.getpid(),
            tls_fingerprint=server.fingerprint if server else "",
        )
        if options.ticket is not None:
            await opened.enter_async_context(_on_server(places, daemon, options.ticket, server, log))
        keep(places, serving, server.secrets.document() if server else {}, server.port if server else None)
        yield serving, ways


@contextlib.asynccontextmanager
async def _page(places: Places, daemon: SessionDaemon, options: DaemonOptions) -> AsyncIterator[Any]:
    # Imported late: a daemon without a page needs no web server, and a guest does not even have the library.
    from pommel.console.server import Admission, ConsoleInfo, ConsoleServer, Secrets
    from pommel.console.telling import of_installed

    kept = read_record(places)
    name = f"{socket.gethostname()}'s session"
    server = ConsoleServer(
        info=ConsoleInfo(
            name, name, of_installed(places.service_id, guest="mac" if places.system == "macos" else "linux")
        ),
        # The tokens and the port of the last run, so that an open page can connect again.
        token=Admission(Secrets.read(kept), keep=lambda _: _keep_more(places, server)),
        serve_viewer=daemon.view,
        status=_status(name, daemon),
        host=options.host,
        port=options.port or kept.get("port"),
        allowed_hosts=options.allowed_hosts,
    )
    server.use_tls(tls_of(options.tls, Path(places.tls), options.host, options.allowed_hosts))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _on_server(
    places: Places, daemon: SessionDaemon, ticket: Ticket, server: Any, log: Callable[[str], None]
) -> AsyncIterator[None]:
    from pommel.app.mesh.hands import Hands
    from pommel.app.mesh.session import SharedSession, on_server

    async def serve(stream: ViewerStream, *, wheel_notch: int) -> None:
        await daemon.view(Hands(stream, wheel_notch=wheel_notch))

    session = SharedSession(socket.gethostname(), serve, server.audience if server else None)
    async with on_server(Path(places.mesh), ticket, session, log):
        yield


def _status(name: str, daemon: SessionDaemon) -> Callable[[], Awaitable[Mapping[str, object]]]:
    async def status() -> Mapping[str, object]:
        return {"name": name, "state": "running", "viewers": daemon.viewers}

    return status


def keep(places: Places, serving: Serving, secrets: Mapping[str, object], port: int | None) -> None:
    """Write the daemon's addresses to its record, which only root can read."""
    document = {key: getattr(serving, key) for key in ("pid", "url", "ws", "socket", "tls_fingerprint")}
    _write(places, {**document, **secrets, "port": port})


def _keep_more(places: Places, server: Any) -> None:
    """Write the present tokens and links to the record."""
    now = {"url": server.url, "ws": server.ws, "tls_fingerprint": server.fingerprint, **server.secrets.document()}
    _write(places, {**read_record(places), **now})


def renew(places: Places) -> Serving:
    """Make a new link to a daemon's page. The old link stops working, and its viewers are disconnected.

    Raises: NotPermitted: only root can see the link. StateError: no daemon with a page runs. MachineError: it did
    not answer.
    """
    from pommel.app.console.renewal import ask_for_new

    if Path(places.record).exists() and not os.access(places.record, os.R_OK):
        raise NotPermitted("only root can see the link", hint="sudo pommel kvm new-token")
    kept = read_record(places)
    url, shown = kept.get("url"), str(kept.get("tls_fingerprint", ""))
    if not url or locks.holder(Path(places.lock)) is None:
        raise StateError("no daemon with a page runs here", hint="pommel kvm status")
    again = "start the daemon again (it keeps its links), then run this command again"
    ask_for_new(str(url), "the daemon", hint=again, fingerprint=shown)
    kept = read_record(places)
    told = {key: str(kept.get(key, "")) for key in ("url", "ws", "socket", "tls_fingerprint")}
    return Serving(places.service_id, pid=int(kept.get("pid", 0)), **told)


def _write(places: Places, document: Mapping[str, object]) -> None:
    with safe_directory(places.sockets, mode=SOCKETS_MODE) as folder:
        folder.write(places.record.name, json.dumps(document).encode(), mode=0o600)


def read_record(places: Places) -> dict[str, Any]:
    """The record of the last daemon; empty if it cannot be read, because only root may."""
    return json_file.read_object(Path(places.record))
