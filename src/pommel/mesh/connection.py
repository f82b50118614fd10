"""A device's life on its server: connect, be online, and once that ends connect again. Band: shell.

Any number of them share one event loop. A connection is refused for good reason only, and the reason is kept where
people can see it; a server that is the wrong one is asked again, rarely, for a proxy that showed it may go away.
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
from pommel.mesh.agent import introduction
from pommel.mesh.backoff import REFUSED_S, Backoff
from pommel.mesh.device import Device
from pommel.mesh.handshake import DEADLINE_S, NONCE_BYTES, Handshake, ServerRefused, held_in_silence
from pommel.mesh.link import Link
from pommel.mesh.membership import Membership
from pommel.mesh.msh import Server
from pommel.mesh.network import Line, opened


class Phase(Enum):
    """How a device stands with its server."""

    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"  # to connect again
    REFUSED = "refused"  # by us: the server is not who it says


@dataclass(frozen=True, slots=True)
class Standing:
    """How a device stands with its server, for people; while it waits, `pause_s` is for how long."""

    phase: Phase
    server: str
    why: str = ""
    hint: str | None = None
    pause_s: float = 0.0


class Connection:
    """One device on its server. `http` is `network()`'s, shared by all; `told` hears of each new standing."""

    def __init__(
        self,
        membership: Membership,
        device: Device,
        http: aiohttp.ClientSession,
        told: Callable[[Standing], None] = lambda _: None,
    ) -> None:
        self._membership = membership
        self._device = device
        self._http = http
        self._told = told
        self._link: Link | None = None
        self._backoff = Backoff()
        self._known = False  # has the server been told who we are, on this connection?
        self._online_s: float | None = None
        self.standing = Standing(Phase.CONNECTING, membership.msh.servers[0].url)

    @property
    def viewers(self) -> int:
        """How many desktop sessions there are now."""
        return len(self._link.seats.now().people) if self._link is not None else 0

    def refresh(self) -> None:
        """Tell the server that the device's facts have changed."""
        if self._link is not None:
            self._link.refresh()

    async def run(self) -> None:
        """Keep the device on its server until cancelled, whatever happens to the connection."""
        for server in itertools.cycle(self._membership.msh.servers):
            self._stand(Standing(Phase.CONNECTING, server.url))
            standing = await self._attempt(server)
            self._stand(standing)
            await asyncio.sleep(standing.pause_s)

    async def _attempt(self, server: Server) -> Standing:
        self._known, self._online_s = False, None
        try:
            why = PommelError(await self._connect(server))
        except ServerRefused as refusal:
            return Standing(Phase.REFUSED, server.url, refusal.message, refusal.hint, REFUSED_S)
        except PommelError as failure:
            why = failure
        finally:
            now_s = asyncio.get_running_loop().time()
            online_for_s = now_s - self._online_s if self._online_s is not None else 0.0
            self._backoff.lost(now_s, known=self._known, online_for_s=online_for_s)
        pause_s = self._backoff.pause_s(now_s, random.random())  # noqa: S311 - only spreads the load
        return Standing(Phase.WAITING, server.url, why.message, why.hint, pause_s)

    async def _connect(self, server: Server) -> str:
        async with opened(self._http, server.url) as line:
            await self._shake_hands(server, line)
            self._online_s = asyncio.get_running_loop().time()
            link = self._link = Link(self._http, server, line, self._device)
            self._stand(Standing(Phase.ONLINE, server.url))
            try:
                return await link.run(rename=self._is_renamed())
            finally:
                self._link = None

    async def _shake_hands(self, server: Server, line: Line) -> None:
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

    async def _send(self, line: Line, messages: tuple[bytes, ...]) -> None:
        for message in messages:
            await line.socket.send_bytes(message)

    def _is_renamed(self) -> bool:
        """Tell whether the machine has another name now than the server was told, and keep the new one."""
        before, now = self._membership.name, self._device.facts().name
        with contextlib.suppress(OSError):  # a full disk; the server is then told its name once more, next time
            self._membership = self._membership.told(now)
        return before is not None and before != now

    def _stand(self, standing: Standing) -> None:
        self.standing = standing
        self._told(standing)


async def _binary(line: Line) -> bytes:
    while True:
        message = await line.socket.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is not WSMsgType.TEXT:
            raise ConnectionResetError
