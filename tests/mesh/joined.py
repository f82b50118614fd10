"""A device that is kept on a server for the time of a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from mesh.doubles import Desk
from pommel.mesh.connection import DeviceConnection, Phase, ServerStanding
from pommel.mesh.membership import Membership
from pommel.mesh.network import network
from waits import until

PATIENCE_S = 60.0


class Joined:
    """The device's connection, and how it has stood since it began."""

    def __init__(
        self, connection: DeviceConnection, desk: Desk, member: Membership, stood: list[ServerStanding]
    ) -> None:
        self.connection, self.desk, self.member, self.stood = connection, desk, member, stood

    async def until(self, phase: Phase, since: int = 0) -> ServerStanding:
        """The newest standing of this phase, once there is one."""
        return (await until(lambda: [one for one in self.stood[since:] if one.phase is phase]))[-1]


@contextlib.asynccontextmanager
async def on_server(member: Membership, desk: Desk) -> AsyncIterator[Joined]:
    async with network() as http:
        stood: list[ServerStanding] = []
        connection = DeviceConnection(member, desk, http, stood.append)
        living = asyncio.ensure_future(connection.run())
        try:
            yield Joined(connection, desk, member, stood)
        finally:
            living.cancel()
            await asyncio.wait([living])
            if not living.cancelled():
                living.result()
