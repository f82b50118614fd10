"""Connects the console's viewers with the machine's present QEMU. Band: app.

QEMU may end and start again while the console stays. Each run of QEMU has an endpoint of its own. A viewer that comes
in between waits `VIEWER_WAIT_S`, and then gets a close message.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping

from pommel.console.turnstile import OUT_OF_RESOURCES
from pommel.errors import MachineError, PommelError
from pommel.machine import qmp, state
from pommel.machine.mouse import MonitorMouse
from pommel.machine.permission import sleeps
from pommel.machine.runstate import standing
from pommel.paths import MachinePaths
from pommel.screen.endpoint import Endpoint
from pommel.screen.sinks.vnc import VncSink
from pommel.screen.sources.vnc import connect_vnc
from pommel.tasks import first_of
from pommel.wire.mouse import NOTCH
from pommel.wire.viewer import ViewerStream

TRY_AGAIN_LATER = 1013  # WebSocket close code (IANA registry)
VIEWER_WAIT_S = 5.0
POLL_S = 0.25
ASK_S = 0.5
LOOK_S = 1.0
_HEARS = ("running", "suspended")  # QMP's words


def seems_alive(paths: MachinePaths) -> bool:
    """Whether the machine runs. If the host has no file descriptors or memory left for a moment, the answer is yes: the
    error says nothing about the machine."""
    try:
        return state.observe(paths).alive
    except OSError as failure:
        if failure.errno not in OUT_OF_RESOURCES:
            raise
        return True


def shown_state(paths: MachinePaths) -> str:
    """The machine's state, as one of the words for which the page has a text (`console.telling`)."""
    if not paths.directory.exists():
        return "absent"
    seen = state.observe(paths)
    return "asleep" if seen.state is state.MachineState.STOPPED and sleeps(paths) else str(seen.state)


class MachineObserver:
    """Observes a machine's state, and whether the vCPUs of a running one are paused (`runstate.standing`)."""

    def __init__(self, paths: MachinePaths) -> None:
        self._paths = paths
        self._stands: str | None = None
        self.hears = True  # whether keys reach the guest: QEMU drops input for a paused guest, however short the pause

    async def state(self) -> str:
        """The state, as a word for which the page has a text. If QEMU does not answer in time, the last one is kept."""
        seen = await asyncio.to_thread(shown_state, self._paths)
        if seen != state.MachineState.RUNNING:
            self._stands = None
            return seen
        for socket in (self._paths.qmp_watch, self._paths.qmp):  # a QMP socket serves only one client at a time
            with contextlib.suppress(PommelError, OSError):
                status = await qmp.query_status(socket, timeout_s=ASK_S)
                self._stands, self.hears = standing(status), status in _HEARS
                break
        return self._stands or seen


def farewell(paths: MachinePaths) -> str:
    """A sentence on the end of a stopped machine.

    Raises:
        MachineError: it crashed.
    """
    seen, name = state.observe(paths), paths.name
    if seen.state == "crashed":
        raise MachineError(
            f"{name} has crashed: {seen.detail}", hint=f"pommel log {name}; to start it again: pommel up {name}"
        )
    return f"{name} has stopped"


class MachineRelay:
    """Follows one machine's QEMU, and serves viewers with its present endpoint."""

    def __init__(self, paths: MachinePaths, *, linger_s: float) -> None:
        self._paths = paths
        self._linger_s = linger_s
        self._endpoint: Endpoint | None = None
        self._sink: VncSink | None = None
        self._stood, self._looked_at = False, float("-inf")
        self._live = asyncio.Event()
        self._look = MachineObserver(paths)

    @property
    def viewers(self) -> int:
        """The number of viewers now."""
        return self._endpoint.viewers if self._endpoint else 0

    async def run(self) -> str:
        """Follow QEMU until it has been gone for the linger time; return a sentence on the end.

        Raises:
            MachineError: it crashed.
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

    async def serve(self, stream: ViewerStream, *, wheel_notch: int = NOTCH) -> None:
        """Serve one viewer until it leaves or the machine stops; see `Endpoint.serve`."""
        try:
            await asyncio.wait_for(self._live.wait(), VIEWER_WAIT_S)
        except TimeoutError:
            await stream.close(TRY_AGAIN_LATER, f"{self._paths.name} is not running")
            return
        if self._endpoint is not None:
            await self._endpoint.serve(stream, wheel_notch=wheel_notch)

    async def status(self) -> Mapping[str, object]:
        """The status for the page's status line."""
        seen = await self._seen()
        return {"name": self._paths.name, "state": seen, "viewers": self.viewers}

    async def _seen(self) -> str:
        """Observe the state. If a paused guest runs again, first release the keys that were let go during the pause."""
        self._looked_at = time.monotonic()
        seen = await self._look.state()
        sink, stood, self._stood = self._sink, self._stood, not self._look.hears
        if sink is not None and not self._stood:
            sink.runs() if not stood else await sink.goes_on()
        return seen

    def _alive(self) -> bool:
        return seems_alive(self._paths)

    async def _watch_once(self) -> bool:
        """Serve one run of QEMU to its end; False: QEMU cannot be reached now."""
        try:
            connection = await connect_vnc(self._paths.vnc, monitor=MonitorMouse(self._paths.qmp))
        except (PommelError, OSError):
            return False
        self._endpoint, self._sink = Endpoint(connection.source, connection.sink), connection.sink
        self._live.set()
        try:
            await self._pump(self._endpoint)
        finally:
            self._live.clear()
            self._endpoint = self._sink = None
            await connection.close()
        return True

    async def _pump(self, endpoint: Endpoint) -> None:
        """Run the endpoint until its source ends or QEMU is gone: without viewers, a source may not notice that."""
        ended, _ = (await first_of(endpoint.run(), self._until_gone())).ended
        # The end of QEMU or an error in its protocol: `run` waits for the next QEMU. Any other error is a bug in
        # Pommel.
        if isinstance(ended, Exception) and not isinstance(ended, PommelError | OSError):
            raise ended

    async def _until_gone(self) -> None:
        while await asyncio.to_thread(self._alive):
            if self.viewers and time.monotonic() - self._looked_at >= LOOK_S:  # the page's own requests count too
                with contextlib.suppress(PommelError, OSError):
                    await self._seen()
            await asyncio.sleep(LOOK_S)
