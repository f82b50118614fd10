"""A machine's screen for the desktop sessions of its device: one capture for all, while there are any. Band: app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from pommel.app.relay import Relay
from pommel.errors import MachineError
from pommel.paths import MachinePaths
from pommel.tasks import first_of
from pommel.wire.viewer import ViewerStream

LINGER_S = 5.0  # after the last has left: a page that is opened again finds it warm


class MeshScreen:
    """The screen of machine `paths.name`; somebody has to `run` it."""

    def __init__(self, paths: MachinePaths, *, linger_s: float = LINGER_S) -> None:
        self._relay = Relay(paths, linger_s=0.0)
        self._linger_s = linger_s
        self._viewers = 0
        self._changed = asyncio.Event()

    async def serve(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        """Serve one viewer until it leaves, or the machine goes."""
        self._viewers += 1
        self._changed.set()
        try:
            await self._relay.serve(stream, wheel_notch=wheel_notch)
        finally:
            self._viewers -= 1
            self._changed.set()

    async def run(self) -> None:
        """Capture while somebody looks, until cancelled."""
        while True:
            await self._until(lambda: self._viewers > 0)
            ended, _ = (await first_of(self._capture(), self._unwanted())).ended
            if isinstance(ended, Exception):
                raise ended

    async def _capture(self) -> None:
        """Capture, whether the machine goes and comes or not: who looks is told by the relay itself."""
        while True:
            with contextlib.suppress(MachineError):  # it crashed; the console says so
                await self._relay.run()
            await asyncio.sleep(1.0)

    async def _unwanted(self) -> None:
        while True:
            await self._until(lambda: self._viewers == 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._linger_s):
                    await self._until(lambda: self._viewers > 0)
                    continue
            return

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._changed.clear()
            await self._changed.wait()
