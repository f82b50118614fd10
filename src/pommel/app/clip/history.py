"""The copies that lost against a simultaneous copy on the other side, for `pommel clip history`. Band: app.

They are only in the memory of the sync's process. This module makes its answer, and reads the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pommel.clipboard.engine import Lost
from pommel.errors import UsageError

_BEGINNING = 80


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One copy: `number` from 1 up, the oldest first; `side` is host or guest; `at` seconds since 1970, 0 unknown."""

    number: int
    side: str
    at: float
    forms: tuple[str, ...]
    size_bytes: int
    beginning: str  # of its text

    def as_dict(self) -> dict[str, Any]:
        """The entry as one JSON object."""
        return asdict(self)


def answer(history: Sequence[Lost], entry: object) -> Mapping[str, Any]:
    """All entries, or the whole text of one.

    Raises:
        UsageError: there is no such entry, or it has no text.
    """
    if entry is None:
        return {"entries": [_as_dict(number, lost) for number, lost in enumerate(history, 1)]}
    if not isinstance(entry, int) or not 1 <= entry <= len(history):
        raise UsageError(f"there is no copy {entry} in the history", hint="to list them: pommel clip history")
    text = history[entry - 1].content.text
    if text is None:
        raise UsageError(f"copy {entry} has no text", hint="to see what each copy has: pommel clip history")
    return {"text": text.decode()}


def _as_dict(number: int, lost: Lost) -> dict[str, Any]:
    text = (lost.content.text or b"").decode()
    return {
        "number": number,
        "side": lost.side.value,
        "at": lost.at,
        "forms": list(lost.content.names),
        "size_bytes": lost.content.size,
        "beginning": " ".join(text[: 4 * _BEGINNING].split())[:_BEGINNING],
    }


def entries_of(told: Mapping[str, Any]) -> list[HistoryEntry]:
    """The entries of an answer."""
    return [HistoryEntry(**{**each, "forms": tuple(each["forms"])}) for each in told["entries"]]
