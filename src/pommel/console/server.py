"""The web server of one console: the page, its files, status, clipboard, audience and the KVM WebSocket. Band: shell.

`guard` and `passes` decide who is admitted, `looking` what a view-only viewer can do, and the caller what a viewer gets
(`serve_viewer`). The server listens on the loopback address unless it is given another, and every answer needs the
token or a pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from pommel import loopback
from pommel.console import door, guard, installing, pages, turnstile
from pommel.console.audience import Audience
from pommel.console.audience_api import AudienceApi
from pommel.console.clipboard import ConsoleClipboard
from pommel.console.clipboard_api import ClipboardApi
from pommel.console.door import Admission, ConsoleDoor, notice
from pommel.console.files import static_files
from pommel.console.files_api import FilesApi, SharedFiles
from pommel.console.guard import new_token
from pommel.console.passes import PLACE, Secrets
from pommel.console.quiet import Quiet
from pommel.console.standing import StandingWatcher
from pommel.console.stream import ENDED, WebSocketStream
from pommel.console.telling import Telling, of_machine
from pommel.console.terminal import ServeTerminal, TerminalApi
from pommel.console.turnstile import Turnstile
from pommel.console.visitors import Visitor, name_of
from pommel.errors import BusyError, PommelError, UsageError, WireError
from pommel.tasks import start_task
from pommel.wire.looking import Looking
from pommel.wire.viewer import ViewerStream

if TYPE_CHECKING:
    # only for types: it imports cryptography, which a console without TLS never needs
    from pommel.console.tls import Tls

__all__ = ["Admission", "ConsoleInfo", "ConsoleServer", "Secrets", "ViewerStream", "Visitor", "new_token"]

DEFAULT_PORT = 8600
_PORTS_TRIED = 100
_MAX_MESSAGE = 128 * 1024  # a viewer's commands are a few bytes each; a MultiTouch of 64 KiB is the longest
_LINE_MAX = 32 << 10  # two paths of 4 KiB, each byte as three characters
_GOODBYE_S = 2.0
_HEARTBEAT_S = 30.0
CERTIFICATE_LOOKED_AT_S = 3600.0
_OVER = "the console has a new link; this link no longer works"
NORMAL, PROTOCOL_ERROR, POLICY_VIOLATION, INTERNAL_ERROR = 1000, 1002, 1008, 1011  # RFC 6455, 7.4.1

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)
_web_log = logging.getLogger(f"{__name__}.web")  # aiohttp's messages
_LOGS = (log, _web_log, *map(logging.getLogger, (door.__name__, turnstile.__name__)))


@dataclass(frozen=True, slots=True)
class ConsoleInfo:
    """The page's texts: a name, a title for people, and the texts about its state (default: those of a machine)."""

    name: str
    title: str = ""
    told: Telling | None = None

    @property
    def telling(self) -> Telling:
        """The texts about its state."""
        return self.told or of_machine(self.name)


class ConsoleServer:
    """One console's server, from `start` to `stop`. `port` and all addresses are valid after `start`.

    `token` is the token of the full link, or an `Admission`. `audience` are the people who have the page open.
    """

    def __init__(
        self,
        *,
        info: ConsoleInfo,
        token: str | Admission,
        serve_viewer: Callable[[ViewerStream], Awaitable[None]],
        status: Callable[[], Awaitable[Mapping[str, object]]],
        host: str = "127.0.0.1",
        port: int | None = None,
        allowed_hosts: Iterable[str] = (),
        clipboard: ConsoleClipboard | None = None,
    ) -> None:
        self._info = info
        entry = Admission(Secrets(token)) if isinstance(token, str) else token
        self._door = ConsoleDoor(
            entry, info.name, info.telling, (*allowed_hosts, *(() if guard.is_address(host) else (host,)))
        )
        self._watched = entry.watched
        self._numbers = itertools.count(1)
        self._serve_viewer = serve_viewer
        self._status = status
        self._host = host
        self._wanted_port = DEFAULT_PORT if port is None else port
        self._clipboard = ClipboardApi(clipboard) if clipboard is not None else None
        self.audience = Audience()
        self._files_api: FilesApi | None = None
        self._terminals: TerminalApi | None = None
        self._standing = StandingWatcher(status)
        self._files = static_files()
        self._viewers: dict[WebSocketStream, Visitor] = {}
        self._runner: web.AppRunner | None = None
        self._turnstile: Turnstile | None = None
        self._quiet = Quiet()
        self._tls: Tls | None = None
        self._refreshing: asyncio.Task[None] | None = None

    def use_tls(self, tls: Tls | None) -> None:
        """Serve only over TLS, if a certificate is given. Call this before `start`."""
        self._tls, self._door.tls = tls, tls is not None

    def share_files(self, files: SharedFiles | None) -> None:
        """Give the page a panel for these files. Call this before `start`."""
        self._files_api = FilesApi(files, self.audience) if files is not None else None

    def offer_terminals(self, serve: ServeTerminal) -> None:
        """Offer terminals to viewers with full access. Call this before `start`."""
        self._terminals = TerminalApi(serve, self.audience, self._info.telling.noun, self._accept_full)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate; empty without TLS."""
        return self._tls.certificate.fingerprint if self._tls is not None else ""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._door.port

    @property
    def secrets(self) -> Secrets:
        """The present tokens and passes."""
        return self._door.secrets

    @property
    def token(self) -> str:
        """The token of the full link."""
        return self.secrets.token

    @property
    def url(self) -> str:
        """The page's address with the token."""
        return self._address("http", "/", self.secrets.token)

    @property
    def ws(self) -> str:
        """The WebSocket's address with the token, for any viewer."""
        return self._address("ws", "/kvm", self.secrets.token)

    @property
    def look_url(self) -> str:
        """The view-only address of the page."""
        return self._address("http", "/", self.secrets.look_token)

    @property
    def look_ws(self) -> str:
        """The view-only address of the WebSocket."""
        return self._address("ws", "/kvm", self.secrets.look_token)

    def _address(self, scheme: str, path: str, token: str) -> str:
        secure = "s" if self._tls is not None else ""
        return f"{scheme}{secure}://{guard.authority(self._host, self.port)}{path}?token={token}"

    async def start(self) -> None:
        """Bind and serve. If the wanted port is busy, the next free one is used; 0 means any port.

        Raises:
            BusyError: a hundred ports from there on are all in use.
            UsageError: the host or port cannot be bound at all.
        """
        app = web.Application()
        for under in ("", PLACE):
            self._add_routes(app.router, under)
        app.on_response_prepare.append(self._add_headers)
        for logger in _LOGS:
            logger.addFilter(self._quiet)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_GOODBYE_S,
            logger=_web_log,
            lingering_time=0,  # do not wait for the body of a refused request
            max_line_size=_LINE_MAX,
        )
        await runner.setup()
        if runner.server is None:
            raise RuntimeError("aiohttp has made no server")
        # It runs before aiohttp's routes and aiohttp's own answers to malformed headers, so that a stranger gets only
        # this module's refusals.
        runner.server.request_handler = self._behind_the_door(runner.server.request_handler)
        turnstile = Turnstile(runner.server, tls=self._tls.context if self._tls is not None else None)
        try:
            self._door.port = await self._bind(turnstile)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._turnstile = runner, turnstile
        if self._tls is not None:
            self._refreshing = start_task(self._keep_fresh(self._tls))

    async def _keep_fresh(self, tls: Tls) -> None:
        """Load a renewed certificate, checked each hour: a console may run longer than its certificate is valid."""
        while True:
            await asyncio.sleep(CERTIFICATE_LOOKED_AT_S)
            try:
                if not await asyncio.to_thread(tls.refresh):
                    continue
            except (PommelError, OSError) as failure:
                log.warning("the old certificate is still used: %s", failure)
                continue
            log.warning("a new certificate is used from now on; its SHA-256 fingerprint: %s", self.fingerprint)
            await self._door.write_down()

    def _add_routes(self, router: web.UrlDispatcher, under: str) -> None:
        router.add_get(f"{under}/", self._page)
        router.add_get(f"{under}/static/{{name}}", self._static)
        router.add_get(f"{under}/manifest.webmanifest", self._manifest)
        router.add_get(f"{under}/kvm", self._kvm)
        router.add_get(f"{under}/api/status", self._answer_status)
        router.add_post(f"{under}/api/new-token", self._renew)
        AudienceApi(self.audience).add_to(router, under)
        if self._files_api is not None:
            self._files_api.add_to(router, under)
        if self._terminals is not None:
            self._terminals.add_to(router, under)
        if self._clipboard is not None:
            router.add_get(f"{under}/api/clipboard", self._clipboard.get, allow_head=False)
            router.add_put(f"{under}/api/clipboard", self._clipboard.put)
            file = f"{under}/api/clipboard/files/{{copies:[0-9]{{1,15}}}}/{{index:[0-9]{{1,6}}}}"
            router.add_get(file, self._clipboard.get_file, allow_head=False)

    async def stop(self, reason: str = "the console has been closed") -> None:
        """Send the reason to all viewers, and stop. It can be called twice."""
        runner, self._runner = self._runner, None
        if runner is None or self._turnstile is None:
            return
        self._turnstile.close()
        if self._refreshing is not None:
            self._refreshing.cancel()
        if self._files_api is not None:
            await self._files_api.close()
        await self.audience.close()
        await self._part_from_all(ENDED, reason)
        await runner.cleanup()
        for logger in _LOGS:
            logger.removeFilter(self._quiet)

    async def _bind(self, turnstile: Turnstile) -> int:
        for port in range(self._wanted_port, min(self._wanted_port + _PORTS_TRIED, 65536)):
            try:
                return await turnstile.bind(self._host, port)
            except OSError as failure:
                if failure.errno == errno.EADDRINUSE:
                    continue
                if (gone := loopback.missing(failure, self._host)) is not None:
                    raise gone from failure
                raise UsageError(
                    f"the console cannot listen on {guard.authority(self._host, port)}: {failure}",
                    hint="choose another address with --port or --host",
                ) from failure
        raise BusyError(
            f"{self._host} has no free port from {self._wanted_port} on",
            hint="choose another port with --port",
        )

    def _behind_the_door(self, handler: _Handler) -> _Handler:
        async def admit(request: web.BaseRequest) -> web.StreamResponse:
            if (refusal := self._door.refusal(request)) is not None:
                return refusal
            turnstile = self._turnstile
            with turnstile.admitting(request.transport) if turnstile else contextlib.nullcontext(True) as has_place:
                if not has_place:
                    return notice(503, pages.full())
                await self._door.note_use(request)
                return await handler(request)

        return admit

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.status == 101:
            return
        response.headers.update(pages.HEADERS)
        # A refusal has its own policy. For all other answers the Host header was checked, so it can be used here.
        if "Content-Security-Policy" not in response.headers:
            response.headers["Content-Security-Policy"] = pages.page_csp(request.headers["Host"])

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if "token" in request.query:
            return await self._door.let_in(request)
        info, view_only = self._info, bool(self._door.views_only(request))
        words = {"name": info.name, "title": info.title or info.name, "may": "look" if view_only else "act"}
        words["files"] = "yes" if self._files_api is not None and not view_only else "no"
        words["terminal"] = "yes" if self._terminals is not None and not view_only else "no"
        html = pages.filled(self._files["index.html"][0].decode(), words | info.telling.for_page(view_only=view_only))
        response = web.Response(text=html, content_type="text/html")
        self._door.keep_in(request, response)
        return response

    async def _manifest(self, _: web.Request) -> web.Response:
        made = installing.manifest(self._info.name, self._info.title)
        return web.json_response(made, content_type=installing.TYPE)

    async def _renew(self, request: web.Request) -> web.Response:
        """Make new links, for a client that has the present token and not only a pass. All viewers are disconnected."""
        if self.secrets.by_token(request.query.get("token")) is not False:
            return notice(403, pages.no_token(self._info.name, self._info.telling.door))
        try:
            await self._door.renew()
        except OSError as failure:
            return web.json_response({"error": f"a new link cannot be stored: {failure}"}, status=503)
        await self._part_from_all(POLICY_VIOLATION, _OVER)
        return web.json_response({"url": self.url, "ws": self.ws})

    async def _part_from_all(self, code: int, reason: str) -> None:
        goodbyes = [viewer.close(code, reason) for viewer in tuple(self._viewers)]
        if self._terminals is not None:
            goodbyes.append(self._terminals.part_from_all(code, reason))
        await asyncio.gather(*goodbyes, return_exceptions=True)

    async def _static(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        if file is None or request.match_info["name"] == "index.html":
            raise web.HTTPNotFound
        return web.Response(body=file[0], headers={"Content-Type": file[1]})

    async def _answer_status(self, _: web.Request) -> web.Response:
        try:
            return web.json_response(dict(await self._status()))
        except PommelError as failure:
            return web.json_response({"error": failure.message, "hint": failure.hint}, status=503)

    async def _accept(self, request: web.Request) -> tuple[web.WebSocketResponse, WebSocketStream]:
        """Make the WebSocket of a request."""
        socket = web.WebSocketResponse(
            compress=False, max_msg_size=_MAX_MESSAGE, heartbeat=_HEARTBEAT_S, timeout=_GOODBYE_S / 2
        )
        await socket.prepare(request)
        below = self._turnstile.below(request.transport) if self._turnstile is not None else None
        return socket, WebSocketStream(socket, request, goodbye_s=_GOODBYE_S, below=below)

    async def _accept_full(self, request: web.Request) -> tuple[web.WebSocketResponse, WebSocketStream | None]:
        """As `_accept`, for viewers who may act; None: the link was renewed meanwhile."""
        socket, viewer = await self._accept(request)
        if self._door.views_only(request) is not False:
            await viewer.close(POLICY_VIOLATION, _OVER)
            return socket, None
        return socket, viewer

    async def _kvm(self, request: web.Request) -> web.StreamResponse:
        socket, viewer = await self._accept(request)
        view_only = self._door.views_only(request)
        if view_only is None:  # the link was renewed between the check of the request and this line
            await viewer.close(POLICY_VIOLATION, _OVER)
            return socket
        with self._visiting(viewer, request, view_only=view_only):
            # Only Pommel's page asks for it. Other viewers get only what MeshCentral's viewers know.
            async with (
                self._standing.with_page(viewer) if "audience" in request.query else contextlib.nullcontext(),
                self._attending(viewer, wanted="audience" in request.query and not view_only),
                self._telling(viewer, wanted="clipboard" in request.query and not view_only),
            ):
                goodbye = await self._serve(Looking(viewer) if view_only else viewer)
            await viewer.close(*goodbye)
        return socket

    @contextlib.contextmanager
    def _visiting(self, viewer: WebSocketStream, request: web.Request, *, view_only: bool) -> Iterator[None]:
        """List the viewer among the present viewers during the block."""
        name, address = name_of(request.headers.get("User-Agent")), request.remote or ""
        self._viewers[viewer] = Visitor(next(self._numbers), name, address, time.time(), view_only)
        self._watched(tuple(self._viewers.values()))
        try:
            yield
        finally:
            del self._viewers[viewer]
            self._watched(tuple(self._viewers.values()))

    @contextlib.asynccontextmanager
    async def _telling(self, viewer: WebSocketStream, *, wanted: bool) -> AsyncIterator[None]:
        """Send the viewer the state of the clipboard during the block."""
        if self._clipboard is None or not wanted:
            yield
            return
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._clipboard.tell(viewer))
            yield
            telling.cancel()

    @contextlib.asynccontextmanager
    async def _attending(self, viewer: WebSocketStream, *, wanted: bool) -> AsyncIterator[None]:
        """Add the viewer to the audience, which can be asked questions, during the block."""
        if not wanted:
            yield
            return
        async with self.audience.with_page(viewer):
            yield

    async def _serve(self, viewer: ViewerStream) -> tuple[int, str]:
        """Serve one viewer until it ends; return the close code and reason."""
        try:
            await self._serve_viewer(viewer)
        except ConnectionError:
            return NORMAL, ""  # it left while something was sent to it
        except WireError as garbage:
            log.warning("a viewer sent an invalid KVM command: %s", garbage.message)
            return PROTOCOL_ERROR, garbage.message
        except PommelError as failure:
            log.warning("a viewer could not be served: %s", failure.message)
            return INTERNAL_ERROR, failure.message
        except Exception:
            log.exception("serving a viewer failed")
            return INTERNAL_ERROR, "the console failed; for the reason, see its log"
        return NORMAL, ""
