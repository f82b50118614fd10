"""The menu as a program on a terminal: its look, its signals, its end. Band: face.

However it ends, the terminal is as before and machines run on: Textual puts the terminal back, also after an error,
and the signals that would end us without that are made into an orderly end.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from textual import events, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.theme import Theme

from pommel.app.workspace import Workspace
from pommel.menu.calls import Calls
from pommel.menu.home import HomeScreen
from pommel.menu.jobs import MenuJob
from pommel.menu.work import THREADS

INTERRUPTED = 130
_CALM = Theme(
    "pommel",
    primary="#8fb8e8",
    secondary="#7a8699",
    accent="#c6a7f0",
    success="#84c98b",
    warning="#e0b96a",
    error="#e57f84",
    foreground="#d3d7de",
    background="#15171b",
    surface="#15171b",
    panel="#242932",
)


class Menu(App[None]):
    """The menu of one workspace's machines."""

    CSS_PATH = "menu.tcss"
    ENABLE_COMMAND_PALETTE = False
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (14, "-short"), (28, "-tall")]  # noqa: RUF012 - as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", show=False, priority=True, system=True),
        Binding("ctrl+q", "interrupt", show=False, priority=True, system=True),
        Binding("ctrl+z", "suspend_process", show=False),
    ]

    def __init__(self, workspace: Workspace, calls: Calls | None = None) -> None:
        # With few colours, or none, the terminal's own: what we would mix comes out as something else there.
        plain = "NO_COLOR" in workspace.env or not _has_many_colours(workspace.env)
        super().__init__(ansi_color=plain)
        self.register_theme(_CALM)
        self.theme = "ansi-dark" if plain else _CALM.name
        self._home = HomeScreen(calls or Calls(workspace))
        self._ending = False

    @property
    def unfinished(self) -> list[MenuJob]:
        """Work that has not ended yet; its threads outlast the screen."""
        return self._home.work.jobs

    def on_mount(self) -> None:
        """Show the list, and end in good order on the signals that ask for an end."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, "menu"))
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(sign, self.action_interrupt)
        self.push_screen(self._home)

    async def on_event(self, event: events.Event) -> None:
        """Let a key first clear away what was said: it has been read."""
        if isinstance(event, events.Key) and not event.is_forwarded and self._home.is_mounted:
            self._home.clear_said()
        await super().on_event(event)

    def action_interrupt(self) -> None:
        """Leave off all work and end; a second time, end at once."""
        if self._ending:
            self.exit(return_code=INTERRUPTED)
        else:
            self._ending = True
            self._end()

    @work
    async def _end(self) -> None:
        await self._home.leave(INTERRUPTED)


def _has_many_colours(env: Mapping[str, str]) -> bool:
    if env.get("COLORTERM") in ("truecolor", "24bit"):
        return True
    return any(word in env.get("TERM", "") for word in ("256color", "direct", "kitty", "alacritty"))
