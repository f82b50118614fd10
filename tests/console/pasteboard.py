"""A machine's clipboard in memory: a stand-in for the one behind SSH that `app` fills the seam with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from pommel.console.clipboard import Clip, ClipState
from pommel.errors import PommelError


class Pasteboard:
    """`holds` is what is on it; `sets` is every clip that was put there. `gate` holds `set` up while it is clear."""

    def __init__(self) -> None:
        self.holds = Clip()
        self.sets: list[Clip] = []
        self.failure: PommelError | Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.watchers = 0
        self._state = ClipState(True)
        self._changed = asyncio.Condition()

    async def get(self) -> Clip:
        if self.failure:
            raise self.failure
        return self.holds

    async def set(self, clip: Clip) -> None:
        await self.gate.wait()
        if self.failure:
            raise self.failure
        self.holds = clip
        self.sets.append(clip)
        async with self._changed:
            self._changed.notify_all()

    def state(self) -> ClipState:
        return self._state

    async def changes(self) -> AsyncGenerator[ClipState, None]:
        self.watchers += 1
        try:
            told = None
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda told=told: self._state != told)  # type: ignore[misc]
                    told = self._state
                yield told
        finally:
            self.watchers -= 1

    async def copy(self, clip: Clip) -> None:
        """Somebody copies in the machine."""
        self.holds = clip
        await self.become(ClipState(self._state.available, self._state.why, self._state.copies + 1))

    async def become(self, state: ClipState) -> None:
        async with self._changed:
            self._state = state
            self._changed.notify_all()

    async def until_set(self, count: int) -> list[Clip]:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.sets) >= count)
        return self.sets
