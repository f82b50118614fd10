"""What viewers did to the machine's files, in sentences for the other viewers and the log. Band: shell.

Many deeds of one kind in one folder, by one viewer, are one sentence: a folder with a thousand files is dropped as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pommel.settings import format_size

QUIET_S = 2.0  # after the last deed of a kind
LONGEST_S = 30.0  # after the first
_NAMED = 3
_KINDS_MAX = 64
_PREPOSITIONS = {"uploaded": "to", "downloaded": "from", "deleted": "from", "made": "in", "renamed": "in"}


@dataclass(slots=True)
class _Sum:
    """The deeds of one kind: the first names, how many, their bytes, and when the sentence must be said."""

    names: list[str] = field(default_factory=list)
    count: int = 0
    size: int = 0
    latest_s: float = 0.0
    timer: asyncio.TimerHandle | None = None


class Deeds:
    """Gathers deeds, and says each sentence to `say`. `close` says the rest."""

    def __init__(self, say: Callable[[str], None], *, quiet_s: float = QUIET_S, longest_s: float = LONGEST_S) -> None:
        self._say, self._quiet_s, self._longest_s = say, quiet_s, longest_s
        self._sums: dict[tuple[str, str, str], _Sum] = {}

    def note(self, who: str, verb: str, name: str, folder: str, size: int = 0) -> None:
        """Note a deed: a verb of `_PREPOSITIONS`, the name of a file and its folder, for people, and its bytes."""
        now, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        key = (who, verb, folder)
        if key not in self._sums and len(self._sums) >= _KINDS_MAX:
            self._tell(next(iter(self._sums)))
        told = self._sums.setdefault(key, _Sum(latest_s=now + self._longest_s))
        told.count, told.size = told.count + 1, told.size + size
        told.names += [name] if len(told.names) < _NAMED else []
        if told.timer is not None:
            told.timer.cancel()
        told.timer = loop.call_at(min(now + self._quiet_s, told.latest_s), self._tell, key)

    def close(self) -> None:
        """Say what has not been said yet."""
        for key in tuple(self._sums):
            self._tell(key)

    def _tell(self, key: tuple[str, str, str]) -> None:
        told = self._sums.pop(key)
        if told.timer is not None:
            told.timer.cancel()
        who, verb, folder = key
        what = ", ".join(told.names) + (" …" if told.count > len(told.names) else "")
        if told.count > 1:
            what = f"{told.count} entries ({what})"
        size = f", {format_size(told.size)}," if told.size else ""
        self._say(f"{who} {verb} {what}{size} {_PREPOSITIONS[verb]} {folder}")
