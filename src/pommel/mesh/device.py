"""What a connection needs of the device behind it. Band: core, no I/O.

`app` fills this seam with a machine or a session. What a method raises as a PommelError is told to the person who
asked, in its own words; none of them may wait for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pommel.mesh.agent import Facts
from pommel.mesh.orders import Person, Power
from pommel.wire.viewer import ViewerStream

WHEEL_NOTCH = 360  # what MeshCentral's page sends for one notch of a wheel


@dataclass(frozen=True, slots=True)
class Question:
    """May this person have the screen? `text` is the whole question; unanswered after `timeout_s` it means no."""

    person: Person
    title: str
    text: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Notice:
    """Words for whoever is at the machine; one that `must_close` stays until somebody has closed it."""

    person: Person
    title: str
    text: str
    must_close: bool = False


class Device(Protocol):
    """A device: what it is, its desktop, and what else can be done with it."""

    def facts(self) -> Facts:
        """Say what it is now. After a change: `Connection.refresh`."""

    async def serve(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        """Serve one viewer of the desktop until it leaves, Screen first; then nothing it held is down any more.

        One that may only look comes with its stream in a `wire.looking.Looking`.
        """

    async def power(self, action: Power) -> None:
        """Switch the machine off in good order, reset it, or have it sleep."""

    async def wake(self, macs: Sequence[str]) -> None:
        """Start what has one of these network cards, if that is ours to start; others are no error."""

    async def ask(self, question: Question) -> bool | None:
        """Ask whoever is at the machine; None: nobody is there who could answer. Cancelled when it is too late."""

    async def notify(self, notice: Notice) -> None:
        """Show it to whoever is at the machine."""

    def watched_by(self, people: Sequence[Person], bar: str | None) -> None:
        """Take note who looks on now, after each change; `bar` is what a privacy bar is to say, None without one."""

    async def get_clipboard(self) -> str:
        """Fetch the text on the machine's clipboard."""

    async def set_clipboard(self, text: str) -> None:
        """Put it there."""

    async def console(self, line: str) -> str:
        """Carry out a line typed on the Console tab; return what is to be seen there."""
