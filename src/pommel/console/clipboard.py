"""What the console asks of the machine's clipboard, and what a clip is. Band: core, no I/O.

The seam between the page and whoever reaches into the machine (`app` fills it): it knows of no HTTP and of no SSH.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

LIMIT_BYTES = 64 << 20  # as the clipboard room's: beyond it a clip is refused, never cut


@dataclass(frozen=True, slots=True, repr=False)
class Clip:
    """One copy in the forms a browser can read and write; None is a form it has not. All None: an empty clipboard."""

    text: str | None = None
    html: str | None = None
    png: bytes | None = None

    @property
    def forms(self) -> tuple[tuple[str, bytes], ...]:
        """The forms there are, `text`, `html`, `png` in this order, as bytes (UTF-8)."""
        texts = (("text", self.text), ("html", self.html))
        found = tuple((name, text.encode()) for name, text in texts if text is not None)
        return (*found, ("png", self.png)) if self.png is not None else found

    def __repr__(self) -> str:
        """Tell sizes only: what is on a clipboard has no place in a log."""
        return f"Clip({', '.join(f'{name}: {len(data)} bytes' for name, data in self.forms)})"


class ClipState(NamedTuple):
    """Whether the machine's clipboard can be had, why not, and how many copies were made inside the machine.

    `why` is a line for people that says what to do. `copies` only grows, and only by copies made in the machine: what
    `set` puts there is none. The first state of a connection may count from anything.
    """

    available: bool
    why: str = ""
    copies: int = 0


class ConsoleClipboard(Protocol):
    """The machine's clipboard, as the page uses it. Several pages may, at once.

    `get` and `set` raise a PommelError with words for people; they end in time by themselves.
    """

    async def get(self) -> Clip:
        """Fetch what the machine's clipboard has now."""

    async def set(self, clip: Clip) -> None:
        """Put `clip` there; return when the machine has it, so that a paste typed next finds it."""

    def state(self) -> ClipState:
        """Tell how it is now, at once."""

    def changes(self) -> AsyncGenerator[ClipState, None]:
        """Yield the state now, and again whenever it has changed, until closed.

        States in between may be left out; the newest never is. While one is iterated somebody looks on.
        """
