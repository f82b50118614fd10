"""A machine's log on its own screen, with new lines. Band: face.

It reads the end of the log at intervals and adds new lines: a call that waits for the next line could not be ended
when the user goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import RichLog

from pommel.menu import layout
from pommel.menu.jobs import attempt
from pommel.menu.widgets import StatusLine, TextLine, keys

LINES = 2000
_EVERY_S = 0.5
_KEYS = ((("↑↓", "scroll"), ("end", "newest"), ("q", "back")),)


class LogScreen(Screen[None]):
    """The last lines of machine `name`'s log, and new ones. A scrolled-up view keeps its position."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,l", "close", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("end,G", "newest", show=False, priority=True),
    ]

    def __init__(self, name: str, lines: Sequence[str], read: Callable[[], list[str]]) -> None:
        super().__init__()
        self._machine = name
        self._lines = list(lines)
        self._read = read
        # Stored, not looked up: an answer may arrive after the user has gone back.
        self._log = RichLog(max_lines=LINES, wrap=True, highlight=False, markup=False, min_width=1)
        self._words = StatusLine(id="said")

    def compose(self) -> ComposeResult:
        """Title, lines, errors, keys."""
        yield TextLine(Content.assemble(("log", "dim"), "  ", (self._machine, "bold")), id="title")
        yield self._log
        yield self._words
        yield TextLine(keys(_KEYS), id="keys")

    def on_mount(self) -> None:
        """Begin to follow the log."""
        self._log.focus()
        self._follow()

    def on_resize(self) -> None:
        """Wrap the lines again, once the log itself has its new width."""
        self.call_after_refresh(self._rewrap)

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self._log.scroll_relative(y=lines, animate=False)

    def action_newest(self) -> None:
        """Go to the end, and follow it."""
        self._log.scroll_end(animate=False)

    def action_close(self) -> None:
        """Go back to the list."""
        self.dismiss()

    def _rewrap(self) -> None:
        self._log.clear()
        self._write(self._lines, to_end=True)

    def _write(self, lines: Sequence[str], *, to_end: bool) -> None:
        if lines:
            self._log.write("\n".join(layout.plain(line) for line in lines), scroll_end=to_end)

    @work
    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            outcome = await asyncio.to_thread(attempt, self._read)
            self._words.tell_lasting(outcome.error)
            if outcome.value is not None:
                new = added(self._lines, outcome.value)
                self._lines = outcome.value
                self._write(new, to_end=self._log.is_vertical_scroll_end)


def added(before: Sequence[str], after: Sequence[str]) -> Sequence[str]:
    """The new lines at the end of `after`; both are the last lines of the same growing log.

    If they have nothing in common, all of `after`.
    """
    for start in range(max(0, len(before) - len(after)), len(before)):
        if before[start] == after[0] and list(before[start:]) == list(after[: len(before) - start]):
            return after[len(before) - start :]
    return after
