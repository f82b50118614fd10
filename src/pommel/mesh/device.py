"""The interface that a connection uses for the device behind it. Band: core, no I/O.

`app` implements it for a machine and for a session. If a method raises a PommelError, its text is shown to the person
who asked. Every method must end within a limited time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pommel.mesh.mesh_agent import DeviceFacts
from pommel.mesh.orders import Person, Power
from pommel.sftp.service import FileService
from pommel.wire.viewer import ViewerStream

WHEEL_NOTCH = 360  # the value that MeshCentral's page sends for one notch of a wheel


@dataclass(frozen=True, slots=True)
class Question:
    """A question for consent. `text` is the whole question; no answer within `timeout_s` means no."""

    person: Person
    title: str
    text: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for the person at the machine; with `must_close` it stays until somebody has closed it."""

    person: Person
    title: str
    text: str
    must_close: bool = False


class MeshDevice(Protocol):
    """A device: its facts, its desktop, and its other functions."""

    def facts(self) -> DeviceFacts:
        """The present facts. After a change: `DeviceConnection.refresh`."""

    async def serve(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        """Serve one viewer of the desktop until it disconnects, first its Screen; at the end release all its keys.

        The stream of a view-only viewer is in a `wire.looking.Looking`.
        """

    async def power(self, action: Power) -> None:
        """Shut the machine down in an orderly way, reset it, or put it to sleep."""

    async def wake(self, macs: Sequence[str]) -> None:
        """Start the machine with one of these network cards, if it is ours; other cards are no error."""

    async def ask(self, question: Question) -> bool | None:
        """Ask the person at the machine; None: nobody is there to answer. Cancelled after the timeout."""

    async def notify(self, notice: Notice) -> None:
        """Show it to the person at the machine."""

    def watched_by(self, people: Sequence[Person], bar: str | None) -> None:
        """Note the present viewers, after each change; `bar` is the text of the privacy bar, None without one."""

    def files(self) -> FileService | None:
        """Its files; None: it has none that can be reached."""

    def noticed(self, person: Person, text: str) -> None:
        """Note what this person did with the files, for the device's own log and the people at the machine."""

    async def get_clipboard(self) -> str:
        """The text on the machine's clipboard."""

    async def set_clipboard(self, text: str) -> None:
        """Put the text on the machine's clipboard."""

    async def console(self, line: str) -> str:
        """Run a line from the Console tab; return the output."""
