"""The newest write for one side: it replaces an older one that is waiting or not finished. Band: shell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

from pommel.clipboard.engine import Write
from pommel.tasks import first_of

_T = TypeVar("_T")


@dataclass(slots=True)
class Slot:
    """The next write for one side: one coroutine puts it here, another takes it and does it."""

    _write: Write | None = None
    _since: float = 0.0
    _begun: dict[int, float] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, write: Write) -> None:
        """Put a write; it replaces an earlier one."""
        self._write, self._since = write, time.monotonic()
        self._news.set()

    async def take(self) -> tuple[Write, float]:
        """Wait for a write; return it and the time (monotonic) of its `put`."""
        while self._write is None:
            self._news.clear()
            await self._news.wait()
        write, self._write = self._write, None
        self._begun = {token: since for token, since in self._begun.items() if token > write.token - 16}
        self._begun[write.token] = self._since
        return write, self._since

    async def unless_newer(self, work: Coroutine[object, object, _T]) -> _T | None:
        """Do the work for the taken write; None if a newer write came before the work was done."""
        came, _ = (await first_of(work, self._newer())).ended
        if isinstance(came, asyncio.CancelledError):
            return None
        if isinstance(came, BaseException):
            raise came
        return came  # type: ignore[no-any-return]

    async def _newer(self) -> None:
        while self._write is None:
            self._news.clear()
            await self._news.wait()

    def since(self, token: int) -> float | None:
        """The time of the `put` of a taken write; only the first call returns it."""
        return self._begun.pop(token, None)
