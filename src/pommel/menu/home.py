"""The screen with all machines: the actions of its keys. Band: face.

Every call of the app runs in a thread (`work`); this module only has the keys' questions and the messages afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList

from pommel.app.machine.machines import Status
from pommel.app.workspace import RECOMMENDED
from pommel.menu import layout, log
from pommel.menu.calls import Calls
from pommel.menu.dialogs import Ask, Choose, Confirm, Proceed, Tell
from pommel.menu.jobs import attempt
from pommel.menu.widgets import MachineList, StatusLine, TextLine, keys
from pommel.menu.work import WAITING, Workbench
from pommel.progress import Report

if TYPE_CHECKING:
    from pommel.app.disk.snapshots import Snapshot

_EVERY_S = 1.0
_DRAW_S = 0.2
_KEYS = (
    (("s", "start"), ("x", "stop"), ("r", "restart"), ("c", "console"), ("l", "log"), ("i", "info")),
    (("n", "new"), ("S", "snapshot"), ("L", "load"), ("d", "delete"), ("q", "quit")),
)
_WANT_ALIVE = ("x", "r", "c")
_WANT_MADE = ("S", "L", "d", "l")


class HomeScreen(Screen[None]):
    """The list, the pane of the chosen machine, the running work, and the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,enter", "start", show=False),
        Binding("x", "stop", show=False),
        Binding("r", "restart", show=False),
        Binding("c", "console", show=False),
        Binding("l", "log", show=False),
        Binding("i", "info", show=False),
        Binding("n", "new", show=False),
        Binding("S", "save", show=False),
        Binding("L", "load", show=False),
        Binding("d", "delete", show=False),
        Binding("q", "leave", show=False),
    ]

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls
        # Stored, not looked up: a call that ends while the menu closes would not find its widgets on the screen any
        # more.
        self._rows = MachineList()
        self._head, self._titles, self._pane = (
            TextLine("", id="title"),
            TextLine("", id="header"),
            TextLine("", id="details"),
        )
        self._words, self._keys = StatusLine(id="said"), TextLine("", id="keys")
        self.work = Workbench(self._words)
        self._looking = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """The widgets from top to bottom."""
        yield from (self._head, self._titles, self._rows, self._pane, self._words, self._keys)

    def on_mount(self) -> None:
        """Begin to watch the machines."""
        self._watch()
        self.set_interval(_DRAW_S, self._draw_work)

    def on_resize(self) -> None:
        """Adapt the titles to the columns."""
        self.call_after_refresh(self._draw)

    def clear_said(self) -> None:
        """Clear the messages after a key."""
        self._words.clear()

    # The keys' actions. Each is for the machine that is chosen when the key is pressed, whatever happens to the list.

    @work
    async def action_start(self) -> None:
        """Create it if needed, and start it."""
        seen = self._chosen()
        if seen is None or self._is_busy(seen):
            return
        if seen.state == "paused":
            await self._do(seen.name, "resuming", lambda _: self._calls.resume(seen.name), "goes on")
        elif seen.state in layout.ALIVE:
            self._show_text(f"{seen.name} is already {seen.state}; press c to open its screen")
        else:
            await self._up(seen.name, "making" if seen.state == "absent" else "starting")

    @work
    async def action_stop(self) -> None:
        """Press its power button; if this is already in progress, offer a stop by force."""
        seen = self._chosen()
        if seen is None:
            return
        if any(job.doing == "stopping" for job in self.work.at(seen.name)):
            lines = ["The guest is not shut down first: this is like a power cut.", "Unwritten data is lost."]
            if await self.app.push_screen_wait(Confirm(f"Stop {seen.name} by force?", lines)):
                await self._stop(seen.name, force=True)
        elif not self._is_busy(seen):
            await self._stop(seen.name)

    @work
    async def action_restart(self) -> None:
        """Stop it, and start it again."""
        seen = self._chosen()
        if seen is None or self._is_busy(seen):
            return
        if seen.state not in layout.ALIVE:
            self._show_text(f"{seen.name} is not running; press s to start it")
            return
        lines = ["Pommel presses its power button, then starts it again.", "Save open documents in the guest first."]
        if await self.app.push_screen_wait(Confirm(f"Restart {seen.name}?", lines)):
            await self._do(seen.name, "restarting", partial(self._calls.restart, seen.name), "has been restarted")

    @work
    async def action_console(self) -> None:
        """Serve its screen, and open it in a browser if there is one."""
        seen = self._chosen()
        if seen is None:
            return
        found = await self.work.do(seen.name, "opening", lambda _: self._calls.console(seen.name))
        await self._look()
        if found is None:
            return
        if self._calls.browse(found.url):
            self._show_text(f"{seen.name}: its screen opens in your browser, {found.url}")
            return
        lines = ["Open this in a browser:", "", found.url]
        if self._calls.env.get("SSH_CONNECTION"):
            port = layout.port(found.url)
            lines += ["", f"From your own computer, type first: ssh -L {port}:127.0.0.1:{port} THIS-HOST"]
        await self.app.push_screen_wait(Tell(f"The screen of {seen.name}", lines, found.url))

    @work
    async def action_log(self) -> None:
        """Follow its log."""
        if (seen := self._chosen()) is not None:
            read = partial(self._calls.log, seen.name, log.LINES)
            outcome = await asyncio.to_thread(attempt, read)
            if outcome.error is not None:
                self.work.tell_error(outcome.error)
            else:
                self.app.push_screen(log.LogScreen(seen.name, outcome.value or [], read))

    def action_info(self) -> None:
        """Show the pane, or hide it."""
        self._pane.display = not self._pane.display
        self._draw()

    @work
    async def action_new(self) -> None:
        """Make a machine with a macOS of one's choice."""
        known = {seen.name: seen.state for seen in self._rows.machines}
        there = {name for name, state in known.items() if state != "absent"}
        options = [(name, name + (" (recommended)" if name == RECOMMENDED else "")) for name in self._calls.versions()]
        free = [(name, text) for name, text in options if name not in there]
        if not free:
            self._show_text("there is already a machine for each macOS")
            return
        name = await self.app.push_screen_wait(Choose("Which macOS?", free, first=RECOMMENDED))
        if name is None or self.work.at(name):
            return
        steps = await self.work.do(name, "looking", lambda _: self._calls.steps(name))
        if steps is not None and await self.app.push_screen_wait(Proceed(f"To create {name}:", steps)):
            await self._up(name, "making")

    @work
    async def action_save(self) -> None:
        """Save a snapshot."""
        if (seen := self._chosen_existing()) is None:
            return
        lines = ["Its name: letters, digits and . _ -"]
        tag = await self.app.push_screen_wait(Ask(f"Save a snapshot of {seen.name}", lines))
        if tag is None:
            return
        saved = await self.work.do(seen.name, "saving", partial(self._calls.save, seen.name, tag))
        if saved is not None:
            self._show_text(f"{seen.name} is saved as {tag}" + (f"; {saved.note}" if saved.note else ""))

    @work
    async def action_load(self) -> None:
        """Go back to a snapshot."""
        if (seen := self._chosen_existing()) is None:
            return
        found = await self.work.do(seen.name, "looking", lambda _: self._calls.snapshots(seen.name))
        if not found:
            if found is not None:
                self._show_text(f"{seen.name} has no snapshots; press S to save one")
            return
        options = [(snapshot.tag, _snapshot_text(snapshot)) for snapshot in reversed(found)]
        tag = await self.app.push_screen_wait(Choose(f"Snapshots of {seen.name}", options))
        if tag is None:
            return
        lines = [f"{seen.name} is restored to its state at {tag}.", "All changes since then are lost."]
        if await self.app.push_screen_wait(Confirm(f"Load {tag}?", lines)):
            await self._do(seen.name, "loading", partial(self._calls.load, seen.name, tag), f"is restored to {tag}")

    @work
    async def action_delete(self) -> None:
        """Delete it, once its name has been typed."""
        if (seen := self._chosen_existing()) is None:
            return
        if seen.state in layout.ALIVE:
            self._show_text(f"{seen.name} is {seen.state}; press x to stop it")
            return
        lines = [f"This deletes {seen.name} and its disk. This cannot be undone.", "Type its name to continue:"]
        if await self.app.push_screen_wait(Ask(f"Delete {seen.name}?", lines, wanted=seen.name)) is not None:
            await self._do(seen.name, "deleting", lambda _: self._calls.delete(seen.name), "is deleted")

    @work
    async def action_leave(self) -> None:
        """Leave the menu; machines continue to run, and unfinished work needs a confirmation."""
        if jobs := [job.text for job in self.work.jobs if job.doing != WAITING]:
            lines = [*jobs, "", "Running machines keep running; this work would be aborted."]
            if not await self.app.push_screen_wait(Confirm("Quit anyway?", lines)):
                return
        await self.leave()

    async def leave(self, status: int = 0) -> None:
        """Cancel the running work, and end once it has cleaned up."""
        self.work.leave_off()
        while self.work.jobs:
            self.work.draw()
            await asyncio.sleep(0.05)
        self.app.exit(return_code=status)

    async def _up(self, name: str, doing: str) -> None:
        if await self._do(name, doing, partial(self._calls.up, name), "is running; press c to open its screen"):
            await self._await_desktop(name)

    async def _await_desktop(self, name: str) -> None:
        """Report when its desktop is there. The next key for the machine ends this wait."""
        waited = await self.work.do(name, WAITING, partial(self._calls.await_desktop, name))
        if waited is not None:
            self._show_text(f"{name}: {waited.seen}; press c to open its screen")

    async def _stop(self, name: str, *, force: bool = False) -> None:
        if force:  # the gentle stop would wait for a machine that does not run any more
            for job in self.work.at(name):
                job.leave_off()
        doing = "forcing" if force else "stopping"
        how = await self.work.do(name, doing, partial(self._calls.stop, name, force=force))
        if how is not None:
            self._show_text(f"{name} has stopped ({how})")
        await self._look()

    async def _do(self, name: str, doing: str, call: Callable[[Report], object], done: str) -> bool:
        """Run the call and report it; return whether it succeeded."""
        ended = await self.work.do(name, doing, lambda report: (call(report),))  # a tuple: None means a failure
        if ended is not None:
            self._show_text(f"{name} {done}")
        await self._look()
        return ended is not None

    def _chosen(self) -> Status | None:
        return self._rows.chosen

    def _chosen_existing(self) -> Status | None:
        """The chosen machine, if it exists and no work on it is running."""
        seen = self._chosen()
        if seen is None or self._is_busy(seen):
            return None
        if seen.state == "absent":
            self._show_text(f"{seen.name} has not been created yet; press s to create it")
            return None
        return seen

    def _is_busy(self, seen: Status) -> bool:
        jobs = self.work.at(seen.name)
        waits, jobs = [job for job in jobs if job.doing == WAITING], [job for job in jobs if job.doing != WAITING]
        if jobs:
            self._show_text(f"{seen.name}: {jobs[-1].doing}; when that is done, press the key again")
        else:
            for job in waits:
                job.leave_off()
        return bool(jobs)

    def _show_text(self, text: str) -> None:
        self._words.tell(text)

    @work
    async def _watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_EVERY_S)

    async def _look(self) -> None:
        async with self._looking:  # an older look must not overwrite a newer one
            outcome = await asyncio.to_thread(attempt, self._calls.machines)
            self._words.tell_lasting(outcome.error)
            if outcome.value is not None:
                self._rows.show(outcome.value, self.work.doing)
            self._draw()

    def _draw_work(self) -> None:
        if self.work.jobs:
            self.work.draw()
            self._rows.show(self._rows.machines, self.work.doing)
            self._draw()

    @on(OptionList.OptionHighlighted)
    def _draw(self) -> None:
        told = layout.summary(self._rows.machines) if self._rows.machines else "looking …"
        self._head.show(Content.assemble(("pommel", "bold $primary"), "  ", (told, "dim")))
        self._titles.show(self._rows.header())
        seen, off = self._rows.chosen, ""
        if seen is not None:
            self._pane.border_title = Content(seen.name)
            self._pane.show(layout.details(seen, self.size.width - 2, doing=self.work.doing.get(seen.name, "")))
            off = off_keys(seen.state)
        self._keys.show(keys(_KEYS, off))


def off_keys(state: str) -> str:
    """The keys without an action for a machine in `state`."""
    alive, made = state in layout.ALIVE, state != "absent"
    return "".join(
        [
            *(() if alive else _WANT_ALIVE),
            *(() if made else _WANT_MADE),
            *("d" if alive else ""),
            *("s" if alive and state != "paused" else ""),
        ]
    )


def _snapshot_text(snapshot: Snapshot) -> str:
    when = snapshot.created[:16].replace("T", " ")
    return f"{snapshot.tag}   {when}" + ("   with memory" if snapshot.ram else "")
