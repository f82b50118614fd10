"""GitHub's API for self-hosted runners, as far as its documentation says what it answers; by TLS, on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from pommel.console.self_signed import own_certificate

TOKEN = "github_pat_stand_in"


class Server:
    """Answers in a thread. `asked` is what came; `answers` are statuses to give before it works; `busy`: its runners
    have jobs; `elsewhere`: where it sends who asks."""

    def __init__(self, folder: Path) -> None:
        self.certificate = own_certificate(folder, [])
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.body: bytes | None = None
        self.busy = False
        self.api = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    @property
    def configs(self) -> int:
        return sum(method == "POST" for method, _, _ in self.asked)

    def __enter__(self) -> Server:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(20)
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/api/v3/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate.cert, self.certificate.key)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.api = f"https://127.0.0.1:{self._runner.addresses[0][1]}/api/v3"

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((request.method, request.path, json.loads(body) if body else None))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "Bad credentials"}, status=401)
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.json_response({"message": "said so"}, status=status, headers=headers)
        if request.method == "DELETE":
            return web.json_response({"message": "busy"}, status=422) if self.busy else web.Response(status=204)
        if self.body is not None:
            return web.Response(status=201, body=self.body)
        number = self.configs
        config = base64.b64encode(f"config {number}".encode()).decode()
        return web.json_response({"runner": {"id": number}, "encoded_jit_config": config}, status=201)
