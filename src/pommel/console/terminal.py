"""The page's terminals: a WebSocket for each, with a shell at the other end. Band: shell.

A terminal ends with its WebSocket, and its shell with it. View-only viewers have none (`looking`). All open pages are
told when a terminal is opened, if there is another page than the one that opened it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from pommel.console.audience import Audience
from pommel.console.stream import WebSocketStream
from pommel.console.telling import Noun
from pommel.console.visitors import name_of
from pommel.errors import PommelError
from pommel.wire.viewer import ViewerStream

ServeTerminal = Callable[[ViewerStream, str], Awaitable[None]]
"""Serves one terminal (wire.terminal) until it ends; the text is the viewer, for people."""

_INTERNAL_ERROR = 1011  # RFC 6455, 7.4.1

log = logging.getLogger(__name__)


class TerminalApi:
    """The terminals of one console.

    `accept` makes the WebSocket of a request with full access, or None after it was refused.
    """

    def __init__(
        self,
        serve: ServeTerminal,
        audience: Audience,
        noun: Noun,
        accept: Callable[[web.Request], Awaitable[tuple[web.WebSocketResponse, WebSocketStream | None]]],
    ) -> None:
        self._serve, self._audience, self._noun, self._accept = serve, audience, noun, accept
        self._open: set[WebSocketStream] = set()

    def add_to(self, router: web.UrlDispatcher, under: str) -> None:
        """Add the route below the path `under`."""
        router.add_get(f"{under}/terminal", self._terminal, allow_head=False)

    async def part_from_all(self, code: int, reason: str) -> None:
        """Disconnect all terminals."""
        await asyncio.gather(*(one.close(code, reason) for one in tuple(self._open)), return_exceptions=True)

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        socket, viewer = await self._accept(request)
        if viewer is None:
            return socket
        who = f"{name_of(request.headers.get('User-Agent'))} ({request.remote or 'no address'})"
        self._open.add(viewer)
        try:
            if self._audience.present > 1:
                await self._audience.notify("", f"{who} has opened a terminal in the {self._noun}", must_close=False)
            await self._serve(viewer, who)
        except ConnectionError:
            pass  # it left while something was sent to it
        except PommelError as failure:
            log.warning("a terminal: %s", failure.message)
        except Exception:
            log.exception("serving a terminal failed")
            await viewer.close(_INTERNAL_ERROR, "the console failed; for the reason, see its log")
        finally:
            self._open.discard(viewer)
        return socket
