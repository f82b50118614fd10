"""What the console asks of the machine's clipboard, and what a clip is. Band: core, no I/O.

The seam between the page and whoever reaches into the machine (`app` fills it): it knows of no HTTP and of no SSH.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pommel.console.telling import MACHINE, Noun
from pommel.errors import StateError

LIMIT_BYTES = 64 << 20  # as the clipboard room's: beyond it a clip is refused, never cut


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A file that was copied in the machine: its name without folders, its size in bytes, or why it cannot be had.

    Of a folder the size is that of its archive, once it is opened; what is opened has the archive's name.
    """

    name: str
    size: int = 0
    why: str = ""
    folder: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Clip:
    """One copy in the forms a browser can read and write, or files; None is a form it has not.

    All None and no files: an empty clipboard. `copies` is which copy it is (see ClipState), for who asks for its files.
    """

    text: str | None = None
    html: str | None = None
    png: bytes | None = None
    files: tuple[ClipFile, ...] = ()
    copies: int = field(default=0, compare=False)

    @property
    def forms(self) -> tuple[tuple[str, bytes], ...]:
        """The forms there are, `text`, `html`, `png` in this order, as bytes (UTF-8)."""
        texts = (("text", self.text), ("html", self.html))
        found = tuple((name, text.encode()) for name, text in texts if text is not None)
        return (*found, ("png", self.png)) if self.png is not None else found

    def __repr__(self) -> str:
        """Tell sizes only: what is on a clipboard has no place in a log."""
        told = [f"{name}: {len(data)} bytes" for name, data in self.forms]
        return f"Clip({', '.join([*told, *([f'{len(self.files)} files'] if self.files else [])])})"


class ClipState(NamedTuple):
    """Whether the machine's clipboard can be had, why not, and how many copies there have been.

    `why` is a line for people that says what to do. `copies` only grows: by each copy made in the machine, as soon as
    it is noticed, and by each that a page put there. The first state of a connection may count from anything.
    """

    available: bool
    why: str = ""
    copies: int = 0


class Overtaken(StateError):
    """Something was copied in the machine, or pasted into it by another page, that whoever sets a clip has not seen."""

    def __init__(self, noun: Noun = MACHINE) -> None:
        super().__init__(f"something newer was copied in the {noun}, so it is kept there")


class ConsoleClipboard(Protocol):
    """The machine's clipboard, as the page uses it. Several pages may, at once.

    `get`, `set` and `open_file` raise a PommelError with words for people; they end in time by themselves.
    """

    async def get(self) -> Clip:
        """Fetch what the machine's clipboard has now: the newest copy that was noticed, or why that cannot be had."""

    async def set(self, clip: Clip, seen: int | None = None) -> int:
        """Put `clip` there; return its number (ClipState.copies) when the machine has it, so that a paste finds it.

        Raises:
            Overtaken: there have been more copies than the `seen` ones.
        """

    def open_file(self, copies: int, index: int) -> AbstractAsyncContextManager[tuple[ClipFile, AsyncIterator[bytes]]]:
        """Read one of the files of the copy `copies`, which must be the present one: what it is, and its bytes."""

    def state(self) -> ClipState:
        """Tell how it is now, at once."""

    def changes(self) -> AsyncGenerator[ClipState, None]:
        """Yield the state now, and again whenever it has changed, until closed.

        States in between may be left out; the newest never is. While one is iterated somebody looks on.
        """
