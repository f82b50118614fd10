"""A machine's screen for MeshCentral's desktop sessions: one capture for all, while there are viewers. Band: app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from pommel.app.console.relay import MachineRelay
from pommel.errors import MachineError
from pommel.paths import MachinePaths
from pommel.tasks import first_of
from pommel.wire.viewer import ViewerStream

LINGER_S = 5.0  # the capture continues for this time after the last viewer, who may come back at once


class MeshScreen:
    """The screen of machine `paths.name`; `run` must run."""

    def __init__(self, paths: MachinePaths, *, linger_s: float = LINGER_S) -> None:
        self._relay = MachineRelay(paths, linger_s=0.0)
        self._linger_s = linger_s
        self._viewers = 0
        self._changed = asyncio.Event()

    async def serve(self, stream: ViewerStream, *, wheel_notch: int) -> None:
        """Serve one viewer until it leaves or the machine stops."""
        self._viewers += 1
        self._changed.set()
        try:
            await self._relay.serve(stream, wheel_notch=wheel_notch)
        finally:
            self._viewers -= 1
            self._changed.set()

    async def run(self) -> None:
        """Capture while there are viewers, until cancelled."""
        while True:
            await self._until(lambda: self._viewers > 0)
            ended, _ = (await first_of(self._capture(), self._unwanted())).ended
            if isinstance(ended, Exception):
                raise ended

    async def _capture(self) -> None:
        """Capture also across restarts of the machine. The relay sends viewers a message meanwhile."""
        while True:
            with contextlib.suppress(MachineError):  # it crashed, which the console reports
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
