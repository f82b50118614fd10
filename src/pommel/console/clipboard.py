"""The machine's clipboard for the console, and the form of a clip. Band: core, no I/O.

`app` implements it with a connection to the machine. This module knows neither HTTP nor SSH.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pommel.console.telling import MACHINE, Noun
from pommel.errors import StateError

LIMIT_BYTES = 64 << 20  # as in `clipboard`; a larger clip is refused, because a part of it would be wrong


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A file that was copied in the machine: its name without folders, and its size in bytes, or why it is unreadable.

    The size of a folder is that of its archive, which is known after it is opened; then its name is the archive's.
    """

    name: str
    size: int = 0
    why: str = ""
    folder: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Clip:
    """One copy in the forms a browser can read and write, or files; None is a form that it does not have.

    All None and no files: an empty clipboard. `copies` is the number of the copy (see ClipState), to ask for its files.
    """

    text: str | None = None
    html: str | None = None
    png: bytes | None = None
    files: tuple[ClipFile, ...] = ()
    copies: int = field(default=0, compare=False)

    @property
    def forms(self) -> tuple[tuple[str, bytes], ...]:
        """The forms that it has, in the order `text`, `html`, `png`, as bytes (UTF-8)."""
        texts = (("text", self.text), ("html", self.html))
        found = tuple((name, text.encode()) for name, text in texts if text is not None)
        return (*found, ("png", self.png)) if self.png is not None else found

    def __repr__(self) -> str:
        """Sizes only, because clipboard content must never be in a log."""
        told = [f"{name}: {len(data)} bytes" for name, data in self.forms]
        return f"Clip({', '.join([*told, *([f'{len(self.files)} files'] if self.files else [])])})"


class ClipState(NamedTuple):
    """Whether the machine's clipboard can be reached, why not, and how many copies there have been.

    `why` is a line for people that says what to do. `copies` only grows: by one for each copy in the machine, as soon
    as it is noticed, and for each copy that a page puts there. The first value of a connection may be any number.
    """

    available: bool
    why: str = ""
    copies: int = 0


class Overtaken(StateError):
    """The machine has a newer copy, by a user there or by another page, than the page that sets a clip knows."""

    def __init__(self, noun: Noun = MACHINE) -> None:
        super().__init__(f"something newer was copied in the {noun}, so it is kept there")


class ConsoleClipboard(Protocol):
    """The machine's clipboard for the page. Several pages may use it at once.

    `get`, `set` and `open_file` raise a PommelError with a text for people. They have their own time limits.
    """

    async def get(self) -> Clip:
        """The newest copy that was noticed in the machine. An error says why it cannot be read."""

    async def set(self, clip: Clip, seen: int | None = None) -> int:
        """Put `clip` on the machine's clipboard; return its number (ClipState.copies) when a paste can use it.

        Raises:
            Overtaken: there have been more copies than the `seen` ones.
        """

    def open_file(self, copies: int, index: int) -> AbstractAsyncContextManager[tuple[ClipFile, AsyncIterator[bytes]]]:
        """Read file `index` of the copy `copies`, which must be the present one: its facts, and its bytes."""

    def state(self) -> ClipState:
        """The present state, without waiting."""

    def changes(self) -> AsyncGenerator[ClipState, None]:
        """Yield the present state, and each new state, until closed.

        States in between may be left out, but not the newest. While this is iterated, the connection is kept.
        """
