"""The web server of one console: the page, its files, status, clipboard, audience and the KVM WebSocket. Band: shell.

Who may come in is `guard`'s business, what a viewer is served is the caller's (`serve_viewer`). The server binds
the loopback address unless told otherwise, and everything it answers needs the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources

from aiohttp import web

from pommel.console import guard, pages
from pommel.console.audience import Audience
from pommel.console.audience_api import AudienceApi
from pommel.console.clipboard import ConsoleClipboard
from pommel.console.clipboard_api import ClipboardApi
from pommel.console.guard import new_token
from pommel.console.stream import ViewerStream, WebSocketStream
from pommel.errors import BusyError, PommelError, UsageError, WireError

__all__ = ["ConsoleInfo", "ConsoleServer", "ViewerStream", "new_token"]

DEFAULT_PORT = 8600
_PORTS_TRIED = 100
_MAX_MESSAGE = 128 * 1024  # a viewer's commands are a few bytes each; a MultiTouch of 64 KiB is the longest
_GOODBYE_S = 2.0
_HEARTBEAT_S = 30.0
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
NORMAL, GOING_AWAY, PROTOCOL_ERROR, INTERNAL_ERROR = 1000, 1001, 1002, 1011  # RFC 6455, 7.4.1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConsoleInfo:
    """What the page says it shows: the machine's name, as `pommel` knows it, and a title for people."""

    name: str
    title: str = ""


class ConsoleServer:
    """Serve one console until `stop`. `port`, `url` and `ws` hold after `start`; `audience` has the page open."""

    def __init__(
        self,
        *,
        info: ConsoleInfo,
        token: str,
        serve_viewer: Callable[[ViewerStream], Awaitable[None]],
        status: Callable[[], Awaitable[Mapping[str, object]]],
        host: str = "127.0.0.1",
        port: int | None = None,
        allowed_hosts: Iterable[str] = (),
        clipboard: ConsoleClipboard | None = None,
    ) -> None:
        self._info = info
        self.token = token
        self._serve_viewer = serve_viewer
        self._status = status
        self._host = host
        self._wanted_port = DEFAULT_PORT if port is None else port
        self._allowed = (*allowed_hosts, *(() if guard.is_address(host) else (host,)))
        self._clipboard = ClipboardApi(clipboard) if clipboard is not None else None
        self.audience = Audience()
        self._files = _static_files()
        self._viewers: set[WebSocketStream] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The page's address, token included."""
        return f"http://{guard.authority(self._host, self.port)}/?token={self.token}"

    @property
    def ws(self) -> str:
        """The WebSocket's address, token included, for any viewer."""
        return f"ws://{guard.authority(self._host, self.port)}/kvm?token={self.token}"

    async def start(self) -> None:
        """Bind and serve. A wanted port that is busy makes way for the next free one; 0 takes any.

        Raises:
            BusyError: a hundred ports from there on are all in use.
            UsageError: the host or port cannot be bound at all.
        """
        app = web.Application(middlewares=[self._admit])
        app.router.add_get("/", self._page)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/kvm", self._kvm)
        app.router.add_get("/api/status", self._answer_status)
        AudienceApi(self.audience).add_to(app.router)
        if self._clipboard is not None:
            app.router.add_get("/api/clipboard", self._clipboard.get, allow_head=False)
            app.router.add_put("/api/clipboard", self._clipboard.put)
        app.on_response_prepare.append(self._add_headers)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_GOODBYE_S)
        await runner.setup()
        try:
            self.port = await self._bind(runner)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Tell every viewer that the console goes, and end. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        goodbyes = (viewer.close(GOING_AWAY, "the console is closing") for viewer in tuple(self._viewers))
        await self.audience.close()
        await asyncio.gather(*goodbyes, return_exceptions=True)
        await runner.cleanup()

    async def _bind(self, runner: web.AppRunner) -> int:
        for port in range(self._wanted_port, min(self._wanted_port + _PORTS_TRIED, 65536)):
            site = web.TCPSite(runner, self._host, port)
            try:
                await site.start()
            except (OSError, OverflowError) as failure:
                await _discard(runner, site)
                if isinstance(failure, OSError) and failure.errno == errno.EADDRINUSE:
                    continue
                raise UsageError(
                    f"the console cannot listen on {guard.authority(self._host, port)}: {failure}",
                    hint="choose another with --port or --host",
                ) from failure
            return int(runner.addresses[0][1])
        raise BusyError(
            f"{self._host} has no free port from {self._wanted_port} on",
            hint="name another with --port",
        )

    @web.middleware
    async def _admit(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        host = request.headers.get("Host")
        if not guard.is_our_host(host, self.port, self._allowed):
            return _notice(421, pages.wrong_host(host or "no name", self.port))
        if not guard.is_our_origin(request.headers.get("Origin"), host):
            return _notice(403, pages.wrong_origin())
        given = request.query.get("token") or request.cookies.get(self._cookie)
        if not guard.is_token(given, self.token):
            return _notice(403, pages.no_token(self._info.name))
        return await handler(request)

    @property
    def _cookie(self) -> str:
        # Cookies know no ports: two consoles on one address must not overwrite each other's.
        return f"pommel_{self.port}"

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.status == 101:
            return
        response.headers.update(pages.HEADERS)
        # A notice brought a policy of its own; whatever else is answered had its Host checked.
        if "Content-Security-Policy" not in response.headers:
            response.headers["Content-Security-Policy"] = pages.page_csp(request.headers["Host"])

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if "token" in request.query:
            return self._let_in(request)
        html = self._files["index.html"][0].decode()
        html = html.replace("{{title}}", escape(self._info.title or self._info.name))
        return web.Response(text=html.replace("{{name}}", escape(self._info.name)), content_type="text/html")

    def _let_in(self, request: web.Request) -> web.Response:
        """Trade the token in the address for a cookie, and clean the address."""
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            response = _notice(200, pages.onward())
        else:
            response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict", path="/")
        return response

    async def _static(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        if file is None or request.match_info["name"] == "index.html":
            raise web.HTTPNotFound
        return web.Response(body=file[0], content_type=file[1], charset="utf-8")

    async def _answer_status(self, _: web.Request) -> web.Response:
        try:
            return web.json_response(dict(await self._status()))
        except PommelError as failure:
            return web.json_response({"error": failure.message, "hint": failure.hint}, status=503)

    async def _kvm(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            compress=False, max_msg_size=_MAX_MESSAGE, heartbeat=_HEARTBEAT_S, timeout=_GOODBYE_S / 2
        )
        await socket.prepare(request)
        viewer = WebSocketStream(socket, request, goodbye_s=_GOODBYE_S)
        self._viewers.add(viewer)
        try:
            # Our own page asks for it; other viewers get what MeshCentral's know and nothing else.
            async with (
                self._attending(viewer, wanted="audience" in request.query),
                self._telling(viewer, wanted="clipboard" in request.query),
            ):
                goodbye = await self._serve(viewer)
            await viewer.close(*goodbye)
        finally:
            self._viewers.discard(viewer)
        return socket

    @contextlib.asynccontextmanager
    async def _telling(self, viewer: WebSocketStream, *, wanted: bool) -> AsyncIterator[None]:
        """Tell the viewer of the clipboard meanwhile."""
        if self._clipboard is None or not wanted:
            yield
            return
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._clipboard.tell(viewer))
            yield
            telling.cancel()

    @contextlib.asynccontextmanager
    async def _attending(self, viewer: WebSocketStream, *, wanted: bool) -> AsyncIterator[None]:
        """Count the viewer meanwhile among those who can be asked."""
        if not wanted:
            yield
            return
        async with self.audience.with_page(viewer):
            yield

    async def _serve(self, viewer: WebSocketStream) -> tuple[int, str]:
        """Serve one viewer to its end; return how to say goodbye."""
        try:
            await self._serve_viewer(viewer)
        except ConnectionError:
            return NORMAL, ""  # it left while something was sent to it
        except WireError as garbage:
            log.warning("a viewer sent what is no KVM command: %s", garbage.message)
            return PROTOCOL_ERROR, garbage.message
        except PommelError as failure:
            log.warning("a viewer could not be served: %s", failure.message)
            return INTERNAL_ERROR, failure.message
        except Exception:
            log.exception("serving a viewer failed")
            return INTERNAL_ERROR, "the console failed; its log says why"
        return NORMAL, ""


async def _discard(runner: web.AppRunner, site: web.TCPSite) -> None:
    # A site registers itself before it binds; one that could not must not be stopped later.
    if site in runner.sites:
        await site.stop()


def _notice(status: int, html: str) -> web.Response:
    policy = {"Content-Security-Policy": pages.REFUSAL_CSP}
    return web.Response(status=status, text=html, content_type="text/html", headers=policy)


def _static_files() -> dict[str, tuple[bytes, str]]:
    folder = resources.files("pommel.console") / "static"
    return {
        file.name: (file.read_bytes(), _TYPES[suffix])
        for file in folder.iterdir()
        if (suffix := "." + file.name.rpartition(".")[2]) in _TYPES
    }
