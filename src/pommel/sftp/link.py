"""One SFTP session for all who need it, opened when needed, closed when unused for a while. Band: shell."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from pommel.errors import DeadlineError, PommelError
from pommel.sftp.channel import SessionLost
from pommel.sftp.session import SftpSession

IDLE_S = 60.0
READY_S = 60.0  # an emulated guest takes more than ten seconds to let anybody in

T = TypeVar("T")


class SftpLink:
    """The session that `connect` opens; `run` must run. `explain` puts the reason of a failure in words for people."""

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[SftpSession]],
        *,
        explain: Callable[[PommelError], PommelError] = lambda failure: failure,
        idle_s: float = IDLE_S,
        ready_s: float = READY_S,
    ) -> None:
        self._connect, self._explain = connect, explain
        self._idle_s, self._ready_s = idle_s, ready_s
        self._session: SftpSession | None = None
        self._users, self._used_at = 0, 0.0
        self._wanted, self._changed = asyncio.Event(), asyncio.Condition()
        self._failure: PommelError | None = None
        self._failures = 0

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[SftpSession]:
        """Use the session during the block. Several blocks may use it at once.

        Raises:
            PommelError: there is no connection; the message says why.
        """
        self._users += 1
        try:
            session = await self._ready()
            try:
                yield session
            except SessionLost:
                await self._forget(session)
                raise
        finally:
            self._users -= 1
            self._used_at = time.monotonic()

    async def ask(self, work: Callable[[SftpSession], Awaitable[T]]) -> T:
        """Do what may be done twice: if the session turns out to have ended, once more with a new one."""
        for last in (False, True):
            try:
                async with self.session() as session:
                    return await work(session)
            except SessionLost:
                if last:
                    raise
        raise AssertionError("unreachable")

    async def run(self) -> None:
        """Keep the session while somebody needs it, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not self._users:
                continue
            try:
                async with self._connect() as session:
                    await self._set(session)
                    await self._unused(session)
            except (PommelError, OSError) as failure:
                why = (
                    failure if isinstance(failure, PommelError) else PommelError(f"no connection for files: {failure}")
                )
                self._failure, self._failures = self._explain(why), self._failures + 1
            finally:
                await self._set(None)

    async def _ready(self) -> SftpSession:
        failures = self._failures
        self._wanted.set()
        try:
            async with asyncio.timeout(self._ready_s), self._changed:
                await self._changed.wait_for(lambda: self._session is not None or self._failures != failures)
        except TimeoutError:
            raise DeadlineError(f"there was no answer by SSH within {self._ready_s:g} s") from None
        if self._session is None:
            raise self._failure or PommelError("no connection for files")
        return self._session

    async def _unused(self, session: SftpSession) -> None:
        """Wait until nobody has used the session for the idle time, or it has ended."""
        async with self._changed:
            while self._session is session and session.alive:
                if not self._users and time.monotonic() - self._used_at >= self._idle_s:
                    self._session = None  # at once: closing it takes a moment, in which nobody must get it
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(1.0, self._idle_s)):
                        await self._changed.wait()

    async def _forget(self, session: SftpSession) -> None:
        if self._session is session:
            await self._set(None)

    async def _set(self, session: SftpSession | None) -> None:
        async with self._changed:
            self._session = session
            self._changed.notify_all()
