"""Tells the open pages when the machine is paused, and when it continues. Band: shell.

A paused machine shows its last picture and answers nothing, but its console still answers, so the page cannot see the
pause in its connection. While a page is open, this module asks for the state. `telling` has the texts for it.
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


class StandingWatcher:
    """Calls `status` each second (it also answers the page's requests), and sends pages each change."""

    def __init__(self, status: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
        self._status = status
        self._pages: set[ViewerStream] = set()
        self._told: str | None = None
        self._looking: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def with_page(self, page: ViewerStream) -> AsyncIterator[None]:
        """Send a page the changes during the block, and first the present state if the machine is paused."""
        self._pages.add(page)
        try:
            if self._told is not None:
                await tell(page, _message(self._told))
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
            except (PommelError, OSError) as failure:  # the state is unknown for now, so the pages keep the last one
                log.debug("its state is unknown: %s", failure)
            else:
                if found != self._told:
                    self._told = found
                    await asyncio.gather(*(tell(page, _message(found)) for page in tuple(self._pages)))
            await asyncio.sleep(LOOK_S)

    async def _found(self) -> str | None:
        state = (await self._status()).get("state")
        return str(state) if state in STANDING else None


def _message(state: str | None) -> dict[str, object]:
    return {"type": "standing", "state": state}
