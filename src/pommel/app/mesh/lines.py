"""The commands on a machine's Console tab in MeshCentral. Band: app.

There is no shell behind it, only these few commands for the machine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pommel.app.machine import hands, machines, power
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, UsageError
from pommel.machine import state
from pommel.tasks import start_task

HELP = """\
help        show this help
status      show the state of the machine
screenshot  save its screen as a PNG file on the host; the last one is replaced
start       start it
stop        shut it down"""

log = logging.getLogger(__name__)


class Lines:
    """The Console tab of machine `name`. Long work continues after the answer."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._workspace, self._name, self._paths = workspace, name, workspace.paths(name)
        self._at_work: asyncio.Future[None] | None = None

    async def answer(self, line: str) -> str:
        """Do the command in `line`; return the text to show.

        Raises:
            UsageError: the command is unknown.
            PommelError: the command failed.
        """
        words = line.split()
        match words:
            case [] | ["help"]:
                return HELP
            case ["status"]:
                return await asyncio.to_thread(self._status)
            case ["screenshot"]:
                return await asyncio.to_thread(self._screenshot)
            case ["start"]:
                return await self._begin("is already running", "starts", running=True)
            case ["stop"]:
                return await self._begin("is not running", "powers down", running=False)
        raise UsageError(f"there is no command {words[0]!r} here", hint="to list the commands: help")

    def _status(self) -> str:
        seen = machines.status(self._name, workspace=self._workspace)
        facts = {
            "state": seen.state + (f": {seen.detail}" if seen.detail else ""),
            "up": machines.spell_duration(seen.uptime_s) if seen.uptime_s is not None else "",
            "accel": seen.accel or "",
            "cpu": f"{seen.cpu_percent:g} % of a core" if seen.cpu_percent is not None else "",
            "console": f"{seen.viewers} looking" if seen.viewers else "",
        }
        return "\n".join([self._name, *(f"  {key:<8} {value}" for key, value in facts.items() if value)])

    def _screenshot(self) -> str:
        file = self._paths.mesh / "screenshot.png"
        width, height = hands.screenshot(self._name, file, workspace=self._workspace)
        return f"{width}x{height} pixels, saved as {file}"

    async def _begin(self, already: str, begun: str, *, running: bool) -> str:
        """Start or stop the machine in the background, unless that is done already or under way."""
        if (await asyncio.to_thread(state.observe, self._paths)).alive == running:
            return f"{self._name} {already}"
        if self._at_work is not None and not self._at_work.done():
            return f"{self._name} is already being started or stopped"
        work: Callable[..., object] = power.start if running else power.stop
        # A task of its own: the connection ends when the machine stops, and must not end this work.
        self._at_work = start_task(self._do(work))
        return f"{self._name} {begun}"

    async def _do(self, work: Callable[..., object]) -> None:
        try:
            await asyncio.to_thread(work, self._name, workspace=self._workspace)
        except PommelError as failure:
            log.warning("%s: %s", self._name, failure.message)
