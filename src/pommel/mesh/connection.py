"""A device's connection to its server: connects, stays online, and connects again after an end. Band: shell.

Any number of devices share one event loop. The reason for a refused connection is kept, so that people can see it. If
the server is the wrong one, it is tried again, but rarely: perhaps a proxy answered, and it may be gone later.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import aiohttp
from aiohttp import WSMsgType

from pommel.errors import PommelError, ProtocolError
from pommel.mesh.backoff import REFUSED_S, Backoff
from pommel.mesh.device import MeshDevice
from pommel.mesh.handshake import DEADLINE_S, NONCE_BYTES, Handshake, ServerRefused, held_in_silence
from pommel.mesh.link import MeshLink
from pommel.mesh.membership import Membership
from pommel.mesh.mesh_agent import introduction
from pommel.mesh.msh import Server
from pommel.mesh.network import OpenWebSocket, opened


class Phase(Enum):
    """The phase of a device's connection."""

    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"  # to connect again
    REFUSED = "refused"  # refused by this device: the server could not prove its identity


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """The state of a device's connection, for people; `pause_s` is the time of the wait before the next attempt."""

    phase: Phase
    server: str
    why: str = ""
    hint: str | None = None
    pause_s: float = 0.0


class DeviceConnection:
    """One device on its server. `http` is `network()`'s, shared by all; `told` is called with each new state."""

    def __init__(
        self,
        membership: Membership,
        device: MeshDevice,
        http: aiohttp.ClientSession,
        told: Callable[[ServerStanding], None] = lambda _: None,
    ) -> None:
        self._membership = membership
        self._device = device
        self._http = http
        self._told = told
        self._link: MeshLink | None = None
        self._backoff = Backoff()
        self._known = False  # has the server got this device's identity on this connection?
        self._online_s: float | None = None
        self.standing = ServerStanding(Phase.CONNECTING, membership.msh.servers[0].url)

    @property
    def viewers(self) -> int:
        """The number of desktop sessions."""
        return len(self._link.seats.now().people) if self._link is not None else 0

    def refresh(self) -> None:
        """Tell the server that the device's facts have changed."""
        if self._link is not None:
            self._link.refresh()

    async def run(self) -> None:
        """Keep the device on its server until cancelled, whatever happens to the connection."""
        for server in itertools.cycle(self._membership.msh.servers):
            self._stand(ServerStanding(Phase.CONNECTING, server.url))
            standing = await self._attempt(server)
            self._stand(standing)
            await asyncio.sleep(standing.pause_s)

    async def _attempt(self, server: Server) -> ServerStanding:
        self._known, self._online_s = False, None
        try:
            why = PommelError(await self._connect(server))
        except ServerRefused as refusal:
            return ServerStanding(Phase.REFUSED, server.url, refusal.message, refusal.hint, REFUSED_S)
        except PommelError as failure:
            why = failure
        finally:
            now_s = asyncio.get_running_loop().time()
            online_for_s = now_s - self._online_s if self._online_s is not None else 0.0
            self._backoff.lost(now_s, known=self._known, online_for_s=online_for_s)
        pause_s = self._backoff.pause_s(now_s, random.random())  # noqa: S311 - only spreads the load
        return ServerStanding(Phase.WAITING, server.url, why.message, why.hint, pause_s)

    async def _connect(self, server: Server) -> str:
        async with opened(self._http, server.url) as line:
            await self._shake_hands(server, line)
            self._online_s = asyncio.get_running_loop().time()
            link = self._link = MeshLink(self._http, server, line, self._device)
            self._stand(ServerStanding(Phase.ONLINE, server.url))
            try:
                return await link.run(rename=self._is_renamed())
            finally:
                self._link = None

    async def _shake_hands(self, server: Server, line: OpenWebSocket) -> None:
        member = self._membership
        handshake = Handshake(
            server.server_id,
            line.certificate,
            member.identity,
            introduction(self._device.facts(), member.msh.mesh_id, member.agent_id),
            secrets.token_bytes(NONCE_BYTES),
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._send(line, handshake.opening)
                while not handshake.welcome:
                    await self._send(line, handshake.receive(await _binary(line)))
                    self._known = self._known or handshake.proved
        except TimeoutError:
            raise held_in_silence(proved=self._known) from None
        except ConnectionError:
            raise ProtocolError("the server closed the connection before it accepted this device") from None

    async def _send(self, line: OpenWebSocket, messages: tuple[bytes, ...]) -> None:
        for message in messages:
            await line.socket.send_bytes(message)

    def _is_renamed(self) -> bool:
        """Whether the machine's name differs from the one that the server has; the new name is then stored."""
        before, now = self._membership.name, self._device.facts().name
        with contextlib.suppress(OSError):  # on a full disk the server gets the name once more, next time
            self._membership = self._membership.store_name(now)
        return before is not None and before != now

    def _stand(self, standing: ServerStanding) -> None:
        self.standing = standing
        self._told(standing)


async def _binary(line: OpenWebSocket) -> bytes:
    while True:
        message = await line.socket.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is not WSMsgType.TEXT:
            raise ConnectionResetError
