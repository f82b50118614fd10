"""Between the console's viewers and the QEMU that runs now. Band: app.

QEMU may go and come back (a restart) while the console stays: each run of QEMU gets an endpoint of its own, and a
viewer that asks in between waits a little, then is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from pommel.errors import MachineError, PommelError
from pommel.machine import state
from pommel.paths import MachinePaths
from pommel.screen.endpoint import Endpoint
from pommel.screen.intake import NOTCH
from pommel.screen.seams import ViewerStream
from pommel.screen.sources.vnc import connect_vnc

TRY_AGAIN_LATER = 1013  # WebSocket close code (IANA registry)
VIEWER_WAIT_S = 5.0
POLL_S = 0.25


def farewell(paths: MachinePaths) -> str:
    """Say how a machine that is gone has ended.

    Raises:
        MachineError: it did not end by itself.
    """
    seen, name = state.observe(paths), paths.name
    if seen.state == "crashed":
        raise MachineError(f"{name} has crashed: {seen.detail}", hint=f"pommel log {name}; again: pommel up {name}")
    return f"{name} has stopped"


class Relay:
    """Follow one machine's QEMU, and hand viewers to the endpoint of the moment."""

    def __init__(self, paths: MachinePaths, *, linger_s: float) -> None:
        self._paths = paths
        self._linger_s = linger_s
        self._endpoint: Endpoint | None = None
        self._live = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many look on now."""
        return self._endpoint.viewers if self._endpoint else 0

    async def run(self) -> str:
        """Follow QEMU until it has been gone for the linger time; return why that is the end.

        Raises:
            MachineError: it did not end by itself.
        """
        gone_since: float | None = None
        while True:
            if await self._watch_once():
                gone_since = None
            elif not await asyncio.to_thread(self._alive):
                gone_since = gone_since if gone_since is not None else time.monotonic()
                if time.monotonic() - gone_since >= self._linger_s:
                    return farewell(self._paths)
            await asyncio.sleep(POLL_S)

    async def serve(self, stream: ViewerStream, *, view_only: bool = False, wheel_notch: int = NOTCH) -> None:
        """Serve one viewer until it leaves or the machine goes; the rest is as `Endpoint.serve` has it."""
        try:
            await asyncio.wait_for(self._live.wait(), VIEWER_WAIT_S)
        except TimeoutError:
            await stream.close(TRY_AGAIN_LATER, f"{self._paths.name} is not running")
            return
        if self._endpoint is not None:
            await self._endpoint.serve(stream, view_only=view_only, wheel_notch=wheel_notch)

    async def status(self) -> Mapping[str, object]:
        """What the page's status line may know."""
        seen = await asyncio.to_thread(state.observe, self._paths)
        return {"name": self._paths.name, "state": seen.state, "viewers": self.viewers}

    def _alive(self) -> bool:
        return state.observe(self._paths).alive

    async def _watch_once(self) -> bool:
        """Serve one run of QEMU to its end; False when there is none to be had now."""
        try:
            connection = await connect_vnc(self._paths.vnc)
        except (PommelError, OSError):
            return False
        self._endpoint = Endpoint(connection.source, connection.sink)
        self._live.set()
        try:
            await self._pump(self._endpoint)
        finally:
            self._live.clear()
            self._endpoint = None
            await connection.close()
        return True

    async def _pump(self, endpoint: Endpoint) -> None:
        """Run the endpoint until its source ends or QEMU is gone: while nobody looks on, a source need not notice."""
        pumping = asyncio.ensure_future(endpoint.run())
        watching = asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait((pumping, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            pumping.cancel()
            ended, _ = await asyncio.gather(pumping, watching, return_exceptions=True)
        # QEMU's going, or its nonsense: the question is only whether it is coming back. All else is a fault of ours.
        if isinstance(ended, Exception) and not isinstance(ended, PommelError | OSError):
            raise ended

    async def _until_gone(self) -> None:
        while await asyncio.to_thread(self._alive):  # noqa: ASYNC110 - a lock gives no event when it goes
            await asyncio.sleep(1.0)
