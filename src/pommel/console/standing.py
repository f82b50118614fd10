"""Tells the open pages when what they show stands still, and when it goes on. Band: shell.

A machine that is paused shows its last picture for ever and answers nothing, but its console does: so nothing of the
connection tells it. It is asked for while somebody looks on; what the words mean, and what to type, `telling` has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from pommel.console.stream import tell
from pommel.console.telling import STANDING
from pommel.errors import PommelError
from pommel.tasks import start_task, stop_tasks
from pommel.wire.viewer import ViewerStream

LOOK_S = 1.0

log = logging.getLogger(__name__)


class Standing:
    """Looks each second by `status`, which is what the page's own question gets, and tells pages of changes."""

    def __init__(self, status: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
        self._status = status
        self._pages: set[ViewerStream] = set()
        self._told: str | None = None
        self._looking: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def with_page(self, page: ViewerStream) -> AsyncIterator[None]:
        """Tell a page for the time of the block; one that comes later is told at once."""
        self._pages.add(page)
        try:
            if self._told is not None:
                await tell(page, _said(self._told))
            if self._looking is None:
                self._looking = start_task(self._look())
            yield
        finally:
            self._pages.discard(page)
            if not self._pages:
                await self._stop()

    async def _stop(self) -> None:
        looking, self._looking, self._told = self._looking, None, None
        if looking is not None:
            await stop_tasks(looking)

    async def _look(self) -> None:
        while True:
            try:
                found = await self._found()
            except (PommelError, OSError) as failure:  # no news of it; what was told stands
                log.debug("its state is unknown: %s", failure)
            else:
                if found != self._told:
                    self._told = found
                    await asyncio.gather(*(tell(page, _said(found)) for page in tuple(self._pages)))
            await asyncio.sleep(LOOK_S)

    async def _found(self) -> str | None:
        state = (await self._status()).get("state")
        return str(state) if state in STANDING else None


def _said(state: str | None) -> dict[str, object]:
    return {"type": "standing", "state": state}
