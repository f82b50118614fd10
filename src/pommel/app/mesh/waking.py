"""Wake-on-LAN for machines, by the MAC addresses of their network cards. Band: app.

A server sends a wake request to every device that is online, so one request comes many times. Only machines that have
joined the same server are started: the users of one server must not control machines of another server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

from pommel import locks
from pommel.app.machine import power
from pommel.app.mesh import status
from pommel.app.workspace import Workspace
from pommel.errors import PommelError
from pommel.machine import record
from pommel.mesh.membership import Membership, load

log = logging.getLogger(__name__)


class Waker:
    """Starts machines of one home; several requests for one machine start it once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._starting: set[str] = set()

    async def wake(self, macs: Sequence[str], asker: Membership) -> None:
        """Start the machines with one of these MAC addresses that have joined the asker's server.

        Raises:
            PommelError: a machine could not be started.
        """
        for name in await asyncio.to_thread(self._sleepers, macs, asker):
            if name in self._starting:
                continue
            self._starting.add(name)
            try:
                log.warning("%s is woken by its server", name)
                # A new workspace: pommel.toml may have changed since this process began.
                now = Workspace(self._workspace.home, self._workspace.cwd, self._workspace.env)
                await asyncio.to_thread(power.start, name, workspace=now)
            finally:
                self._starting.discard(name)

    def _sleepers(self, macs: Iterable[str], asker: Membership) -> list[str]:
        wanted, found = {mac.lower() for mac in macs}, []
        home = self._workspace.home
        for paths in map(home.machine, home.names()):
            if not status.has_joined(paths) or locks.holder(paths.pidfile) is not None:
                continue
            with contextlib.suppress(PommelError):  # a machine whose record cannot be read is not started
                if record.load(paths.record).mac.lower() in wanted and _same_server(load(paths.mesh), asker):
                    found.append(paths.name)
        return found


def _same_server(one: Membership, other: Membership) -> bool:
    return bool({server.server_id for server in one.msh.servers} & {server.server_id for server in other.msh.servers})
