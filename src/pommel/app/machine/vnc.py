"""A machine's screen for ordinary VNC viewers, and the start of such a viewer. Band: app.

QEMU's VNC server has no password, and listens on a Unix socket that only its user can open. The relay to it
(`screen.vnc_door`) listens on a port of 127.0.0.1 with a new random password each time, or on a socket beside QEMU's.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pommel import loopback
from pommel.app.machine import displays
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, DeadlineError, MissingProgram, StateError, UsageError
from pommel.machine import ports, state
from pommel.paths import MachinePaths, write_atomic
from pommel.process import watched
from pommel.tasks import start_task

FIRST_PORT = 5900  # VNC's port for display 0 (RFC 6143)
SOCKET = "vnc-door"
_HOST = "127.0.0.1"
# Without letters and digits that look alike. Eight of them have 46 bits; VNC uses at most eight, and each wrong try
# takes two seconds.
_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LOOK_S = 0.5
VIEWERS = ("remote-viewer", "vncviewer", "remmina")


@dataclass(frozen=True, slots=True)
class VncAddress:
    """The address for a viewer: `host`, `port` and `password`, or `socket`."""

    name: str
    host: str | None
    port: int | None
    password: str | None
    socket: str | None
    view_only: bool

    def as_dict(self) -> dict[str, Any]:
        """The address as one JSON object."""
        return asdict(self)


async def serve(
    name: str,
    *,
    opened: Callable[[VncAddress], None],
    port: int | None = None,
    by_socket: bool = False,
    view_only: bool = False,
    display: int = 1,
    told: Callable[[str], None] = lambda _: None,
    workspace: Workspace | None = None,
) -> str:
    """Serve VNC viewers of machine `name` until it ends; return the reason. `opened` gets the address when it listens.

    Raises:
        StateError: it is not running, or has no such display.
        UsageError, NotPermitted: `port` cannot be used.
        BusyError: with `by_socket`: another process serves there.
    """
    from pommel.screen.vnc_door import VncDoor

    paths = running(name, workspace or Workspace.current())
    password = None if by_socket else "".join(secrets.choice(_LETTERS) for _ in range(8))
    door = VncDoor(displays.socket(paths, display), view_only=view_only, told=told)
    with _listening(paths, port, by_socket) as at:
        server = await door.listen(at, password.encode() if password else None)
        number = None if by_socket else at.getsockname()[1]
        place = str(paths.runtime / SOCKET) if by_socket else None
        try:
            opened(VncAddress(name, None if by_socket else _HOST, number, password, place, view_only))
            while state.observe(paths).alive:  # noqa: ASYNC110 -- the end of a QEMU is no event here
                await asyncio.sleep(_LOOK_S)
            return f"{name} has ended"
        finally:
            server.close()


def running(name: str, workspace: Workspace) -> MachinePaths:
    """The paths of a machine, after a check that it runs and has its VNC socket.

    Raises:
        StateError: it does not run, or its sockets are gone.
    """
    paths = workspace.made(name)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running", hint=f"pommel start {name}")
    if not paths.vnc.exists():
        raise StateError(f"{name} runs, but {state.sockets_gone(paths)}", hint=f"pommel doctor {name}")
    return paths


def choose_viewer(wanted: str | None, workspace: Workspace) -> str:
    """The viewer to open: `wanted`, or else the first that is installed.

    Raises:
        StateError: there is no desktop here.
        MissingProgram: it is not installed, or none is.
    """
    env = workspace.env
    if not (env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")):
        raise StateError(
            "there is no desktop session here: neither DISPLAY nor WAYLAND_DISPLAY is set",
            hint="pommel vnc, pommel console",
        )
    known = [viewer for viewer in VIEWERS if wanted in (None, viewer)]
    found = next((viewer for viewer in known if shutil.which(viewer, path=env.get("PATH"))), None)
    if found is None:
        raise MissingProgram(
            f"{wanted or 'no VNC viewer'} is {'not ' if wanted else ''}installed",
            hint="install virt-viewer, TigerVNC's viewer (tigervnc-viewer) or remmina; or: pommel console",
        )
    return found


async def view(
    name: str,
    viewer: str,
    *,
    view_only: bool = False,
    display: int = 1,
    opened: Callable[[VncAddress], None] = lambda _: None,
    told: Callable[[str], None] = lambda _: None,
    workspace: Workspace | None = None,
) -> str:
    """Open `viewer` on the screen of machine `name`, until it is closed or the machine ends; return which.

    The password is in a file that only this user can read, never in the viewer's arguments. Remmina asks for it.

    Raises:
        StateError: it is not running.
        DeadlineError: the viewer ended at once.
    """
    workspace = workspace or Workspace.current()
    paths = running(name, workspace)
    known: asyncio.Future[VncAddress] = asyncio.get_running_loop().create_future()
    serving = start_task(
        serve(name, opened=known.set_result, view_only=view_only, display=display, told=told, workspace=workspace)
    )
    folder = Path(tempfile.mkdtemp(prefix="view.", dir=paths.runtime))
    try:
        serving.add_done_callback(lambda _: known.done() or known.cancel())
        try:
            offered = await known
        except asyncio.CancelledError:
            if not serving.done():
                raise  # this call was cancelled, not the server
            return await serving
        opened(offered)
        words = viewer_words(viewer, offered, folder)
        with watched(words, stdin=asyncio.subprocess.DEVNULL, env=dict(workspace.env)) as child:
            # Polled, because the end of the child is no event here either.
            while (status := child.exit_status()) is None and not serving.done():  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
        if status:
            raise DeadlineError(
                f"{viewer} ended with status {status}", hint=f"pommel vnc {name}, and start a viewer by hand"
            )
        return f"{name} has ended" if status is None else f"{viewer} was closed"
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        shutil.rmtree(folder, ignore_errors=True)


def viewer_words(viewer: str, offered: VncAddress, folder: Path) -> list[str]:
    """The viewer's command line; the files that it reads are made in `folder`."""
    from pommel.screen.rfb_door import as_file

    password = offered.password or ""
    title = f"{offered.name} (Pommel)"
    if viewer == "remote-viewer":
        lines = ("type=vnc", f"host={offered.host}", f"port={offered.port}", f"password={password}", f"title={title}")
        text = "\n".join(("[virt-viewer]", *lines, "delete-this-file=1", ""))
        return ["remote-viewer", str(_file(folder / "screen.vv", text.encode()))]
    if viewer == "vncviewer":
        file = _file(folder / "password", as_file(password.encode()))
        only = ["-ViewOnly=1"] if offered.view_only else []
        return ["vncviewer", "-Shared=1", *only, "-passwd", str(file), f"{offered.host}::{offered.port}"]
    lines = ("protocol=VNC", f"name={title}", f"server={offered.host}:{offered.port}", "quality=9", "colordepth=32")
    only_line = f"viewonly={int(offered.view_only)}"
    text = "\n".join(("[remmina]", *lines, only_line, "disablepasswordstoring=1", ""))
    return ["remmina", "-c", str(_file(folder / "screen.remmina", text.encode()))]


def _file(path: Path, data: bytes) -> Path:
    write_atomic(path, data)
    return path


@contextlib.contextmanager
def _listening(paths: MachinePaths, port: int | None, by_socket: bool) -> Iterator[socket.socket]:
    """A listening socket during the block, on 127.0.0.1 or beside the machine's own sockets."""
    if not by_socket:
        number = port or ports.next_free(FIRST_PORT)
        with socket.socket() as at:
            at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                at.bind((_HOST, number))
            except OSError as refusal:
                other = loopback.missing(refusal, _HOST)
                raise other or UsageError(f"port {number} cannot be used: {refusal.strerror}") from refusal
            yield at
        return
    place = paths.runtime / SOCKET
    with socket.socket(socket.AF_UNIX) as trial, contextlib.suppress(OSError):
        trial.connect(str(place))
        raise BusyError(f"another `pommel vnc` already serves {paths.name} at {place}")
    place.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as at:
        at.bind(str(place))  # in a folder that only this user can enter
        try:
            yield at
        finally:
            place.unlink(missing_ok=True)
