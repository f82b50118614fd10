"""Receives the reports of the scripts in Recovery, by HTTP on this host's loopback. Band: shell.

QEMU's user-mode network forwards 10.0.2.2 to it. A request without the secret in its path is refused; a report is one
of a few words with a short text, and only a limited number of them is kept.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from pommel.errors import StateError

_HOST = "127.0.0.1"
_BODY_MAX = 16 << 10
_KEPT = 500
_START_S = 10.0
_REQUEST_S = 15.0


@dataclass(frozen=True, slots=True)
class InboxReport:
    """One report; `at_s` is the time of the monotonic clock."""

    word: str
    text: str
    at_s: float


class Inbox:
    """The listener, in its own thread, from `open` to `close`."""

    def __init__(self, token: str, words: Collection[str], port: int = 0) -> None:
        """`port` 0: any free one; use the earlier port if a guest already knows it."""
        self.port = port
        self._token, self._words = token, frozenset(words)
        self._heard: deque[InboxReport] = deque(maxlen=_KEPT)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._failed: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="unattended-inbox", daemon=True)

    def open(self) -> None:
        """Begin to listen.

        Raises:
            StateError: the port is in use.
        """
        self._thread.start()
        self._ready.wait(_START_S)
        if self._failed is not None:
            raise StateError(f"port {self.port} of this host cannot be used: {self._failed.strerror}")

    def close(self) -> None:
        """Stop listening; it may be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)  # the loop runs in the other thread
            self._thread.join(_START_S)

    def take(self) -> list[InboxReport]:
        """The reports since the last call."""
        found = []
        while self._heard:
            found.append(self._heard.popleft())
        return found

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=_BODY_MAX)
        app.router.add_post("/{token}/{word}", self._take)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=_REQUEST_S)
        try:
            self._loop.run_until_complete(self._listen(runner))
        except OSError as failure:
            self._failed = failure
            self._ready.set()  # `open` waits for this, and then raises the error
        else:
            self._ready.set()
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        site = web.TCPSite(runner, _HOST, self.port)
        await site.start()
        self.port = runner.addresses[0][1]  # the real one, if 0 was given

    async def _take(self, request: web.Request) -> web.Response:
        given, word = request.match_info["token"], request.match_info["word"]
        if not hmac.compare_digest(given.encode(), self._token.encode()) or word not in self._words:
            raise web.HTTPNotFound
        async with asyncio.timeout(_REQUEST_S):
            text = (await request.read()).decode(errors="replace")
        self._heard.append(InboxReport(word, text, time.monotonic()))
        return web.Response(text="ok\n")
