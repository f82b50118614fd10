"""A machine of this home as a device of a MeshCentral server. Band: app.

Its screen is QEMU's display, so it works from the boot picker on. For the server, the person at the machine is the
person who has its console page open here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import aiohttp

from pommel import __version__, locks
from pommel.app.clip.target import find_guest
from pommel.app.machine import power
from pommel.app.mesh.lines import Lines
from pommel.app.mesh.page import ConsolePage
from pommel.app.mesh.screen import MeshScreen
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import MachineError, PommelError, StateError
from pommel.machine import qmp, record
from pommel.machine.events import Word, note_event
from pommel.machine.record import MachineRecord
from pommel.mesh.device import Notice, Question
from pommel.mesh.mesh_agent import DeviceFacts
from pommel.mesh.orders import Person, Power
from pommel.paths import MachinePaths
from pommel.recovery import catalog
from pommel.wire.viewer import ViewerStream

if TYPE_CHECKING:
    from pommel.console.clipboard import ConsoleClipboard
    from pommel.sftp.service import FileService

_QMP_S = 5.0
# How long an order of the server's waits for the guest's SSH: an emulated guest takes more than ten seconds to let
# anybody in, the server sets no limit, and the order is lost if it is refused.
_CLIPBOARD_S = 60.0
log = logging.getLogger(__name__)
Wake = Callable[[Sequence[str]], Awaitable[None]]


def described(kept: MachineRecord) -> str:
    """The operating system of a machine, as the server shows it."""
    if kept.upstream == TRIAL:
        system = "Debian, the trial machine"
    elif kept.macos is not None:
        system = f"macOS {catalog.find(kept.macos).title} {kept.macos}"
    else:
        system = "a virtual machine"
    return f"{system} (Pommel {__version__})"


class MachineDevice:
    """Machine `name`, for `mesh.connection`. `machine_device` makes it and runs its parts."""

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        screen: MeshScreen,
        page: ConsolePage,
        clipboard: ConsoleClipboard,
        files: FileService,
        *,
        wake: Wake,
        watched: Callable[[], None],
    ) -> None:
        self._workspace, self._name, self._paths = workspace, name, workspace.paths(name)
        self._screen, self._page, self._clipboard, self._files = screen, page, clipboard, files
        self._wake, self._watched = wake, watched
        self._lines = Lines(workspace, name)

    def facts(self) -> DeviceFacts:
        """See Device. MachineError: the machine's record cannot be read."""
        kept = record.load(self._paths.record)
        facts = DeviceFacts(self._name, described(kept), __version__, has_console=True, macs=(kept.mac.lower(),))
        return replace(facts, has_files=True)

    def files(self) -> FileService:
        """See Device."""
        return self._files

    def noticed(self, person: Person, text: str) -> None:
        """See Device."""
        note_event(self._paths, Word.FILES, f"{person.name} (MeshCentral): {text}")

    async def serve(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        """See Device. A bug in Pommel ends only this session, not the connection with all other sessions."""
        try:
            await self._screen.serve(stream, wheel_notch=wheel_notch)
        except (PommelError, ConnectionError):
            raise
        except Exception:
            log.exception("showing the screen of %s failed", self._name)
            raise MachineError(
                f"showing the screen failed; for the reason, see {self._workspace.home.mesh.log}"
            ) from None

    async def power(self, action: Power) -> None:
        """See Device. The work runs in a thread and continues without the connection, which ends with the machine."""
        match action:
            case Power.OFF:
                await asyncio.to_thread(power.stop, self._name, workspace=self._workspace)
            case Power.RESET:
                await asyncio.to_thread(_reset, self._paths)
            case Power.SLEEP:
                await asyncio.to_thread(power.sleep, self._name, workspace=self._workspace)

    async def wake(self, macs: Sequence[str]) -> None:
        """See Device."""
        await self._wake(macs)

    async def ask(self, question: Question) -> bool | None:
        """See Device."""
        return await self._page.ask(question)

    async def notify(self, notice: Notice) -> None:
        """See Device."""
        await self._page.notify(notice)

    def watched_by(self, people: Sequence[Person], bar: str | None) -> None:
        """See Device."""
        del people  # the connection counts them
        self._page.show_bar(bar)
        self._watched()

    async def get_clipboard(self) -> str:
        """See Device."""
        return (await self._clipboard.get()).text or ""

    async def set_clipboard(self, text: str) -> None:
        """See Device."""
        from pommel.console.clipboard import Clip

        await self._clipboard.set(Clip(text=text))

    async def console(self, line: str) -> str:
        """See Device."""
        return await self._lines.answer(line)


@contextlib.asynccontextmanager
async def machine_device(
    workspace: Workspace, name: str, http: aiohttp.ClientSession, *, wake: Wake, watched: Callable[[], None]
) -> AsyncIterator[MachineDevice]:
    """Provide machine `name` as a device during the block. `watched` is called when the viewers change."""
    from pommel.app.console.clipboard import machine_clipboard
    from pommel.app.console.files import guest_files

    paths, whose = workspace.paths(name), find_guest(workspace, name)
    screen, page, argv = MeshScreen(paths), ConsolePage(paths, http), partial(whose.argv, workspace)
    async with (
        machine_clipboard(argv, key_hint=whose.key_hint, ready_s=_CLIPBOARD_S) as clipboard,
        guest_files(argv, key_hint=whose.key_hint) as files,
        _running(screen.run(), page.run()),
    ):
        device = MachineDevice(workspace, name, screen, page, clipboard, files.service, wake=wake, watched=watched)
        yield device


@contextlib.asynccontextmanager
async def _running(*works: Coroutine[object, None, None]) -> AsyncIterator[None]:
    """Run the coroutines during the block; an error in one of them ends it."""
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(work) for work in works]
        yield
        for task in made:
            task.cancel()


def _reset(paths: MachinePaths) -> None:
    if locks.holder(paths.pidfile) is None:
        raise StateError(f"{paths.name} is not running", hint=f"pommel start {paths.name}")

    async def press(monitor: qmp.Qmp) -> None:
        await monitor.execute("system_reset")

    qmp.run(qmp.within(paths.qmp, _QMP_S, press))
    note_event(paths, "reset", "by its MeshCentral server")
