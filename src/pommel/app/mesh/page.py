"""Questions, notices and a bar on a machine's console page, from another process. Band: app.

It uses the console's API for this (console.audience_api), with the token from the console's record. Without a console,
or without an open page, there is nobody to ask.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from pommel.app.console import page as console
from pommel.errors import StateError
from pommel.mesh.device import Notice, Question
from pommel.paths import MachinePaths

BAR_S = 15.0  # the bar disappears after this time if it is not renewed: this process may be killed
_AGAIN_S = BAR_S / 3
_PATIENCE_S = 5.0


class ConsolePage:
    """The people who have the console page of machine `paths.name` open. `run` must run, because it shows the bar."""

    def __init__(self, paths: MachinePaths, http: aiohttp.ClientSession) -> None:
        self._paths, self._http = paths, http
        self._bar: str | None = None
        self._changed = asyncio.Event()

    async def ask(self, question: Question) -> bool | None:
        """Ask them; None: no page is open, or nobody answered. If this is cancelled, the question is withdrawn."""
        said = {"title": question.title, "text": question.text, "timeout_s": question.timeout_s}
        answer = await self._call_console("POST", "question", question.timeout_s + _PATIENCE_S, said)
        allowed = answer.get("allowed")
        return allowed if isinstance(allowed, bool) else None

    async def notify(self, notice: Notice) -> None:
        """Show them a notice.

        Raises:
            StateError: no page is open.
        """
        said = {"title": notice.title, "text": notice.text, "must_close": notice.must_close}
        if not (await self._call_console("POST", "notice", _PATIENCE_S, said)).get("pages"):
            raise StateError(f"the console page of {self._paths.name} is not open anywhere")

    def show_bar(self, text: str | None) -> None:
        """Show a bar with this text over the screen from now on; None removes it."""
        self._bar = text
        self._changed.set()

    async def run(self) -> None:
        """Keep the bar up to date, also on consoles that start later, until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                while (shown := self._bar) is not None:
                    await self._put_bar(shown)
                    await self._changes()
                await self._put_bar(None)
        finally:
            if self._bar is not None:
                self._bar = None
                await self._put_bar(None)

    async def _changes(self) -> None:
        try:
            async with asyncio.timeout(_AGAIN_S):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _put_bar(self, text: str | None) -> None:
        await self._call_console("PUT", "bar", _PATIENCE_S, {"text": text, "for_s": BAR_S})

    async def _call_console(self, method: str, what: str, patience_s: float, said: dict[str, Any]) -> dict[str, Any]:
        """Call the console's API; {} if there is no console, or it does not answer."""
        found = await asyncio.to_thread(console.find, self._paths)
        if found is None:
            return {}
        url = found.url.replace("/?", f"/api/{what}?", 1)
        # The fingerprint in the console's record is checked, so the certificate's issuer does not matter.
        tls = aiohttp.Fingerprint(bytes.fromhex(found.fingerprint.replace(":", ""))) if found.fingerprint else True
        try:
            async with asyncio.timeout(patience_s), self._http.request(method, url, json=said, ssl=tls) as answer:
                told = await answer.json() if answer.status == 200 else {}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}
