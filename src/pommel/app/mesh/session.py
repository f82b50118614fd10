"""A login session's screen as a device of a MeshCentral server, in addition to its page. Band: app.

For the server, the person at the session is the person who has the page open. The device has the session's screen and
input, and its clipboard if the page has it. It cannot control the computer's power.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pommel import __version__, locks
from pommel.app.mesh.ticket import Ticket
from pommel.errors import PommelError, StateError, UsageError
from pommel.mesh.connection import DeviceConnection, ServerStanding
from pommel.mesh.device import Notice, Question
from pommel.mesh.membership import join
from pommel.mesh.mesh_agent import DeviceFacts
from pommel.mesh.network import network
from pommel.mesh.orders import Person, Power
from pommel.tasks import background
from pommel.wire.viewer import ViewerStream

if TYPE_CHECKING:
    from pommel.console.audience import Audience
    from pommel.console.clipboard import ConsoleClipboard
    from pommel.console.files_api import SharedFiles
    from pommel.sftp.service import FileService

HELP = """\
help    show this help
status  show the viewers"""

log = logging.getLogger(__name__)


class Serve(Protocol):
    """Serves one viewer of a session, as `Endpoint.serve`."""

    def __call__(self, stream: ViewerStream, *, wheel_notch: int) -> Awaitable[None]:
        """Serve it until it leaves."""


@dataclass(frozen=True, slots=True)
class SharedSession:
    """The session: its name, a function that serves viewers, the people with its page open, and its clipboard."""

    name: str
    serve: Serve
    audience: Audience | None = None
    clipboard: ConsoleClipboard | None = None
    files: SharedFiles | None = None


def described() -> str:
    """The operating system of this computer."""
    if sys.platform == "darwin":
        system = f"macOS {platform.mac_ver()[0]}"
    else:
        try:
            system = platform.freedesktop_os_release()["PRETTY_NAME"]
        except (OSError, KeyError):
            system = platform.system()
    return f"{system} (Pommel {__version__})"


class SessionDevice:
    """A session, for `mesh.connection`. `run` must run, because it shows the bar."""

    def __init__(self, session: SharedSession) -> None:
        self._session = session
        self._facts = DeviceFacts(
            session.name, described(), __version__, has_console=True, has_files=session.files is not None
        )
        self._people: tuple[Person, ...] = ()
        self._bar: str | None = None
        self._changed = asyncio.Event()

    def facts(self) -> DeviceFacts:
        """See Device."""
        return self._facts

    async def serve(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        """See Device. A bug in Pommel ends only this viewer's session, not the connection with all others."""
        try:
            await self._session.serve(stream, wheel_notch=wheel_notch)
        except (PommelError, ConnectionError):
            raise
        except Exception:
            log.exception("showing %s failed", self._session.name)
            raise PommelError("showing the screen failed; for the reason, see the log of its process") from None

    async def power(self, action: Power) -> None:
        """See Device. It always refuses: a session has no power."""
        del action
        raise StateError(f"{self._session.name} is a login session: Pommel cannot control the power of its computer")

    async def wake(self, macs: Sequence[str]) -> None:
        """See Device. Nothing is done: there is no machine to start."""

    async def ask(self, question: Question) -> bool | None:
        """See Device."""
        if self._session.audience is None:
            return None
        return await self._session.audience.ask(question.title, question.text, question.timeout_s)

    async def notify(self, notice: Notice) -> None:
        """See Device."""
        audience = self._session.audience
        said = {"title": notice.title, "text": notice.text, "must_close": notice.must_close}
        if audience is None or not await audience.notify(**said):  # type: ignore[arg-type]
            raise StateError(f"the page of {self._session.name} is not open anywhere")

    def watched_by(self, people: Sequence[Person], bar: str | None) -> None:
        """See Device."""
        self._people, self._bar = tuple(people), bar
        self._changed.set()

    def files(self) -> FileService | None:
        """See Device."""
        return self._session.files.service if self._session.files is not None else None

    def noticed(self, person: Person, text: str) -> None:
        """See Device."""
        log.info("%s (MeshCentral): %s", person.name, text)

    async def get_clipboard(self) -> str:
        """See Device."""
        return (await self._clipboard().get()).text or ""

    async def set_clipboard(self, text: str) -> None:
        """See Device."""
        from pommel.console.clipboard import Clip

        await self._clipboard().set(Clip(text=text))

    async def console(self, line: str) -> str:
        """See Device."""
        match line.split():
            case [] | ["help"]:
                return HELP
            case ["status"]:
                names = ", ".join(person.name for person in self._people)
                return f"{self._session.name}: {names or 'no one'} viewing"
        raise UsageError(f"there is no command {line.split()[0]!r} here", hint="to list the commands: help")

    async def run(self) -> None:
        """Keep the bar on the page up to date, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._session.audience is not None:
                await self._session.audience.show_bar(self._bar)

    def _clipboard(self) -> ConsoleClipboard:
        if self._session.clipboard is None:
            raise StateError(f"{self._session.name} has no clipboard that can be reached here")
        return self._session.clipboard


@contextlib.asynccontextmanager
async def on_server(
    folder: Path, ticket: Ticket, session: SharedSession, told: Callable[[str], None] = lambda _: None
) -> AsyncIterator[None]:
    """Keep a session online on its server during the block; its identity is stored in `folder`.

    `told` gets each change of its state, as a line for people.

    Raises:
        BusyError: another process keeps it online.
        ProtocolError: the ticket is not valid.
        StateError, NotPermitted: the earlier identity cannot be used.
    """
    with locks.hold(folder / "lock", busy=f"another process has {session.name} on its MeshCentral server"):
        member = await asyncio.to_thread(join, folder, ticket.data)
        device = SessionDevice(session)
        async with network() as http:
            works = [
                _logged(DeviceConnection(member, device, http, lambda standing: told(_standing_text(standing))).run()),
                _logged(device.run()),
            ]
            async with background(*works):
                yield


def _standing_text(standing: ServerStanding) -> str:
    why = f": {standing.why}" if standing.why else ""
    hint = f" ({standing.hint})" if standing.hint else ""
    return f"MeshCentral: {standing.phase.value}{why}{hint}"


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:  # the session's own page must keep working
        log.exception("keeping the session online failed")
