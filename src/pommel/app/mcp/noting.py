"""Log the actions of MCP clients in the machine's log, and show them on its page. Band: app.

Each action is one line. Looking is logged only once for each client and machine, because a client that looks every
second would push everything else out of the log. Typed text, commands and clipboard content are only logged if the user
wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import aiohttp

from pommel.app.mesh.page import ConsolePage
from pommel.app.workspace import Workspace
from pommel.machine.events import Word, note_event
from pommel.tasks import start_task, stop_tasks

SHOWN_S = 4.0
_NAME_MAX, _TEXT_MAX = 40, 200
_ODD = re.compile(r"[^\w .:/@+-]")


def called(name: str | None) -> str:
    """A client's name for a line of the log. The client chooses it, so it is shortened and cleaned."""
    return _ODD.sub("?", (name or "").strip())[:_NAME_MAX] or "without a name"


class Noting:
    """The log and the page of each machine, for one server."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._pages: dict[str, tuple[ConsolePage, asyncio.Task[None]]] = {}
        self._hides: dict[str, asyncio.TimerHandle] = {}
        self._looked: set[tuple[str, str]] = set()
        self._http: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """During the block, actions are shown on pages."""
        async with aiohttp.ClientSession() as self._http:
            try:
                yield
            finally:
                for hide in self._hides.values():
                    hide.cancel()
                await stop_tasks(*(task for _, task in self._pages.values()))
                self._pages.clear()

    def acted(self, machine: str, client: str, what: str) -> None:
        """Log and show an action; `what` is a sentence without its subject, such as "types 5 characters"."""
        note_event(self._workspace.paths(machine), Word.MCP, f"client {client} {what[:_TEXT_MAX]}")
        self._show(machine, f"MCP client {client} {what.partition(':')[0]}")

    def looked(self, machine: str, client: str) -> None:
        """Show that a client looks at the screen, and log it the first time."""
        if (machine, client) not in self._looked:
            self._looked.add((machine, client))
            note_event(self._workspace.paths(machine), Word.MCP, f"client {client} looks at the screen")
        self._show(machine, f"MCP client {client} looks at the screen")

    def _show(self, machine: str, text: str) -> None:
        if self._http is None:
            return
        if machine not in self._pages:
            page = ConsolePage(self._workspace.paths(machine), self._http)
            self._pages[machine] = page, start_task(page.run())
        page, _ = self._pages[machine]
        page.show_bar(text)
        if (hide := self._hides.get(machine)) is not None:
            hide.cancel()
        self._hides[machine] = asyncio.get_running_loop().call_later(SHOWN_S, page.show_bar, None)
