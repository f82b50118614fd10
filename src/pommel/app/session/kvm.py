"""Show a login session of this host on a local page. Band: app.

The serving process runs in that session itself, so it can see only what the session's user sees. To show a session
without a command in it, use the daemon (`kvm_daemon`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pommel.app.console.tls import TlsWish, tls_of
from pommel.config import environment
from pommel.errors import StateError, UsageError
from pommel.paths import Home
from pommel.tasks import background

if TYPE_CHECKING:
    from pommel.app.mesh.ticket import Ticket
    from pommel.console.clipboard import ConsoleClipboard
    from pommel.console.files_api import SharedFiles
    from pommel.console.server import ConsoleInfo, ConsoleServer
    from pommel.console.tls import Tls
    from pommel.screen.endpoint import Endpoint
    from pommel.screen.seams import FrameSource, InputSink
    from pommel.wire.viewer import ViewerStream

SOURCES = ("x11", "wayland", "macos")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Served:
    """A served session: its source, its page's addresses, its process, and the command that serves it again."""

    source: str
    display: str
    url: str
    ws: str
    pid: int
    again: str = ""
    tls_fingerprint: str = ""  # SHA-256 of the certificate; empty without TLS


@dataclass(frozen=True, slots=True)
class Listen:
    """Where and how to listen. None: the console chooses the loopback address and a free port."""

    host: str | None = None
    port: int | None = None
    typed: tuple[str, ...] = ()  # the command's arguments, so that the page can show the command to repeat
    tls: TlsWish = field(default_factory=TlsWish)


class SessionConnection(Protocol):
    """A session's screen and input."""

    @property
    def source(self) -> FrameSource:
        """The source of its pictures."""

    @property
    def sink(self) -> InputSink:
        """The sink for keyboard and mouse."""

    async def until_ended(self) -> str:
        """Wait until the session has ended; return the reason."""

    async def close(self) -> None:
        """Release all pressed keys and buttons, and disconnect."""


_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]]+))?(?::(?P<port>\d{1,5}))?", re.ASCII)


def default_source(display: str | None) -> str:
    """The kind of `display`, or if it is None, of this session's display."""
    if sys.platform == "darwin":
        return "macos"
    if display is not None:
        return "x11" if ":" in display else "wayland"
    from pommel.clipboard.host import find_desktop
    from pommel.session.display import wayland_sockets

    try:
        return find_desktop(environment()).kind
    except StateError:  # as over SSH: neither variable is set, but the session's compositor can be found
        return "wayland" if next(wayland_sockets(environment()), None) else "x11"


def parse_listen(text: str) -> Listen:
    """Read `HOST:PORT`, `HOST`, `:PORT` or `PORT`; an IPv6 address is in brackets, as in a URL.

    Raises:
        UsageError: it has another form.
    """
    found = _LISTEN.fullmatch(f":{text}" if text.isdecimal() else text)
    port = int(found["port"]) if found and found["port"] else None
    if not text or found is None or (port or 0) > _MAX_PORT:
        hint = "write it as 127.0.0.1:8600, [::1]:8600, or just the port"
        raise UsageError(f"{text!r} is not an address to listen on", hint=hint)
    return Listen(found["v6"] or found["host"], port)


async def serve(
    source: str,
    *,
    display: str | None = None,
    listen: Listen | None = None,
    view_only: bool = False,
    allowed_hosts: Iterable[str] = (),
    ticket: Ticket | None = None,
    on_mesh: Callable[[str], None] = lambda _: None,
    on_ready: Callable[[Served], None],
) -> str:
    """Serve a session of this host in this process until it ends; return the reason.

    `display` is the X server or Wayland display (default: this session's). With a `ticket`, it is also a device of a
    MeshCentral server; `on_mesh` gets the changes of its state there. It can be cancelled: viewers get a message, and
    no key or button stays pressed.

    Raises:
        UsageError: there is no such source, the address cannot be used, or the certificate cannot be used.
        StateError: there is no such session, or its screen cannot be read.
        NotPermitted: the X server refuses the connection.
        BusyError: a hundred ports from the wanted one on are all in use; or another process has it on its server.
    """
    from pommel.console.server import Admission, ConsoleServer

    where, allowed = listen or Listen(), tuple(allowed_hosts)
    encrypted = _tls(where, allowed)
    async with contextlib.AsyncExitStack() as stack:
        connection, shown = await _connect(source, display, stack)
        endpoint, info = _endpoint(connection), _info(source, shown, where)
        clipboard = await _clipboard(stack, source, shown) if not view_only else None
        server = ConsoleServer(
            info=info,
            token=Admission(view_only=view_only),
            serve_viewer=endpoint.serve,
            status=_status(shown, endpoint),
            host=where.host or "127.0.0.1",
            port=where.port,
            allowed_hosts=allowed,
            clipboard=clipboard,
        )
        server.use_tls(encrypted)
        server.share_files(files := None if view_only else await _files(stack))
        await stack.enter_async_context(_started(server))
        if ticket is not None:
            far = (info.title, partial(_serve_far, endpoint, view_only=view_only), server.audience, clipboard, files)
            await stack.enter_async_context(_on_mesh(_mesh_folder(source, shown), ticket, far, on_mesh))
        told = (info.telling.again[0][1], server.fingerprint)
        on_ready(Served(source, shown, server.url, server.ws, os.getpid(), *told))
        return await _serve_out(endpoint, connection, server)


def _endpoint(connection: SessionConnection) -> Endpoint:
    from pommel.console.stream import ENDED
    from pommel.screen.endpoint import Endpoint

    return Endpoint(connection.source, connection.sink, goodbye=ENDED)


def _on_mesh(
    folder: Path, ticket: Ticket, far: tuple[Any, ...], on_mesh: Callable[[str], None]
) -> contextlib.AbstractAsyncContextManager[None]:
    from pommel.app.mesh.session import SharedSession, on_server

    return on_server(folder, ticket, SharedSession(*far), on_mesh)


@contextlib.asynccontextmanager
async def _started(server: ConsoleServer) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.stop()


def _tls(where: Listen, allowed: tuple[str, ...]) -> Tls | None:
    return tls_of(where.tls, Home.find(environment()).tls, where.host, allowed) if where.tls.is_on else None


async def _serve_far(endpoint: Endpoint, stream: ViewerStream, *, wheel_notch: int, view_only: bool) -> None:
    from pommel.wire.looking import Looking

    await endpoint.serve(Looking(stream) if view_only else stream, wheel_notch=wheel_notch)


def _mesh_folder(source: str, shown: str) -> Path:
    """The folder with the session's identity on a server, so that it is the same device each time."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", shown).strip("-.")
    return Home.find(environment()).mesh.directory / "sessions" / f"{source}-{name}"


async def _connect(source: str, display: str | None, until: contextlib.AsyncExitStack) -> tuple[SessionConnection, str]:
    connection, shown = await _connected(source, display)
    until.push_async_callback(connection.close)
    return connection, shown


async def _connected(source: str, display: str | None) -> tuple[SessionConnection, str]:
    if source == "x11":
        from pommel.screen.sources.x11 import connect_x11

        named = display if display is not None else environment().get("DISPLAY")
        return await connect_x11(named), named or ""
    if source == "wayland":
        from pommel.screen.sources.wlroots import connect_wlroots
        from pommel.session.display import wayland_sockets

        named = display or next(wayland_sockets(environment()), "wayland-0")
        return await connect_wlroots(named, environment().get("XDG_RUNTIME_DIR", "")), named
    if source == "macos":
        from pommel.screen.sources.macos import connect_macos

        return await connect_macos(), "this Mac"
    raise UsageError(f"there is no source {source!r}", hint=f"the sources are: {', '.join(SOURCES)}")


async def _clipboard(stack: contextlib.AsyncExitStack, source: str, shown: str) -> ConsoleClipboard | None:
    if source != "x11":
        return None
    from pommel.app.console.desktop_clipboard import desktop_clipboard

    return await stack.enter_async_context(desktop_clipboard(shown))


async def _files(stack: contextlib.AsyncExitStack) -> SharedFiles | None:
    # Root may serve another user's session; whoever has its screen must not get all files of this host.
    if os.geteuid() == 0:
        return None
    from pommel.app.console.files import session_files

    return await stack.enter_async_context(session_files())


async def _serve_out(endpoint: Endpoint, connection: SessionConnection, server: ConsoleServer) -> str:
    """Run the endpoint until its session ends; send the reason to the viewers, and return it."""
    reason = "the session is no longer served"
    async with background(endpoint.run(), connection.until_ended()) as (pumping, watching):
        try:
            await asyncio.wait((pumping, watching), return_when=asyncio.FIRST_COMPLETED)
            if pumping.done():
                pumping.result()  # raises its error
            reason = str(await watching)
            return reason
        finally:
            await server.stop(reason)  # before the endpoint is cancelled: that one would not send the reason


def _info(source: str, shown: str, where: Listen) -> ConsoleInfo:
    """The texts of its page: they contain the command as it was typed, with the display from the environment."""
    from pommel.console.server import ConsoleInfo
    from pommel.console.telling import of_display

    typed = list(where.typed)
    if source in ("x11", "wayland") and "--display" not in typed:
        typed = ["--display", shown, *typed]
    told = of_display(typed, guest="mac" if source == "macos" else "linux")
    return ConsoleInfo(shown, f"{socket.gethostname()} {shown}", told)


def _status(name: str, endpoint: Endpoint) -> Callable[[], Awaitable[Mapping[str, object]]]:
    async def status() -> Mapping[str, object]:
        return {"name": name, "state": "running", "viewers": endpoint.viewers}

    return status
