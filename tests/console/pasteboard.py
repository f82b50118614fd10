"""A machine's clipboard in memory: a stand-in for the one behind SSH that `app` fills the seam with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from isolation import patient
from pommel.console.clipboard import Clip, ClipFile, ClipState, Overtaken
from pommel.errors import PommelError, StateError


class Pasteboard:
    """`holds` is what is on it; `sets` is every clip that was put there. `gate` holds `set` up while it is clear, and
    `asked` counts those that have come, held up or not."""

    def __init__(self) -> None:
        self.holds = Clip()
        self.sets: list[Clip] = []
        self.contents: list[bytes] = []  # of the files that it holds
        self.failure: PommelError | Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0
        self.watchers = 0
        self._state = ClipState(True)
        self._changed = asyncio.Condition()

    async def get(self) -> Clip:
        if self.failure:
            raise self.failure
        return replace(self.holds, copies=self._state.copies)

    async def set(self, clip: Clip, seen: int | None = None) -> int:
        async with self._changed:
            self.asked += 1
            self._changed.notify_all()
        await self.gate.wait()
        if self.failure:
            raise self.failure
        if seen is not None and self._state.copies > seen:
            raise Overtaken
        self.sets.append(clip)
        await self.copy(clip)
        return self._state.copies

    @contextlib.asynccontextmanager
    async def open_file(self, copies: int, index: int) -> AsyncIterator[tuple[ClipFile, AsyncIterator[bytes]]]:
        if copies != self._state.copies or index >= len(self.holds.files):
            raise StateError("the machine's clipboard no longer has this file")
        file = self.holds.files[index]

        async def pieces() -> AsyncIterator[bytes]:
            data = self.contents[index]
            for at in range(0, len(data), 1 << 16):
                yield data[at : at + (1 << 16)]

        yield file, pieces()

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
        """Somebody copies in the machine, or another page pastes into it."""
        self.holds = clip
        await self.become(ClipState(self._state.available, self._state.why, self._state.copies + 1))

    def quietly(self, clip: Clip) -> None:
        """The same, and nobody has heard of it yet."""
        self.holds = clip
        self._state = self._state._replace(copies=self._state.copies + 1)

    async def become(self, state: ClipState) -> None:
        async with self._changed:
            self._state = state
            self._changed.notify_all()

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(patient(20)), self._changed:
            await self._changed.wait_for(lambda: self.asked >= count)

    async def until_set(self, count: int) -> list[Clip]:
        async with asyncio.timeout(patient(20)), self._changed:
            await self._changed.wait_for(lambda: len(self.sets) >= count)
        return self.sets
