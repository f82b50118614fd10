"""A device that is online: one connection, from the server's welcome to its end. Band: shell.

Each order runs in its own task, so that a slow clipboard delays no session. If an order fails, the person who gave it
is told, and the server's log of the device gets a line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine

import aiohttp
from aiohttp import WSMsgType

from pommel.errors import NotPermitted, PommelError
from pommel.mesh import control, mesh_agent, orders
from pommel.mesh.device import MeshDevice, Notice
from pommel.mesh.msh import Server
from pommel.mesh.network import OpenWebSocket
from pommel.mesh.seats import Seats
from pommel.mesh.tunnel import DesktopSession, TunnelContext
from pommel.tasks import together

_MOST_ORDERS = 64  # orders at the same time: a person who may give one may send very many
_ALIKE = 20  # after 31 equal console lines in a row, the server treats the agent as broken
_POWER = {orders.Power.OFF: "power off", orders.Power.RESET: "reset", orders.Power.SLEEP: "sleep"}


class MeshLink:
    """One connection's orders and sessions."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, line: OpenWebSocket, device: MeshDevice) -> None:
        self._socket = line.socket
        self._device = device
        self._seats_changed = asyncio.Event()
        self._facts_changed = asyncio.Event()
        self.seats = Seats(self._seats_changed.set)
        self._place = TunnelContext(http, server, line.certificate, device, self.seats, self._send)
        self._sessions: set[DesktopSession] = set()
        self._at_work: set[asyncio.Task[None]] = set()
        self._last_line, self._alike = "", 0
        self._flooded = False

    async def run(self, *, rename: bool) -> str:
        """Be online until the connection ends; return the reason. With `rename`, the server takes the device's name.

        Raises:
            ProtocolError: the server's messages are invalid.
        """
        try:
            async with together() as tasks:
                self._start(tasks, self._announce(tasks))
                self._start(tasks, self._keep_facts(rename=rename))
                await self._read(tasks)
                for task in self._at_work:
                    task.cancel()
        finally:
            self._device.watched_by((), None)
        return "the server has closed the connection"

    def refresh(self) -> None:
        """Send the device's facts to the server again, with a new name if it has changed."""
        self._facts_changed.set()

    # --- what comes ---

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY and message.data[:1] != b"{":
                if (reply := mesh_agent.answer_request(message.data)) is not None:
                    await self._send_bytes(reply)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._take(tasks, orders.parse_order(message.data))
            else:
                return

    async def _take(self, tasks: asyncio.TaskGroup, order: orders.AnyOrder | None) -> None:
        if isinstance(order, orders.Ping):
            await self._send(orders.PONG)
        elif order is None:
            return
        elif len(self._at_work) < _MOST_ORDERS:
            self._flooded = False
            self._start(tasks, self._see_to(order))
        elif not self._flooded and isinstance(order, orders.Order):
            self._flooded = True  # said only once, because many answers would be a flood too
            await self._send(
                orders.log(order, 0, "this device got too many requests at once: some of them are not done")
            )

    def _start(self, tasks: asyncio.TaskGroup, work: Coroutine[object, None, None]) -> None:
        task = tasks.create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _see_to(self, order: orders.AnyOrder) -> None:
        try:
            await self._obey(order)
        except PommelError as failure:
            if isinstance(order, orders.Order):
                await self._answer_failure(order, failure)

    async def _obey(self, order: orders.AnyOrder) -> None:
        match order:
            case orders.Tunnel():
                await self._hold_session(order)
            case orders.EndTunnel():
                await self._end_sessions(order)
            case orders.ConsoleLine():
                await self._console(order)
            case orders.Notify():
                await self._notify(order)
            case orders.GetClipboard():
                await self._get_clipboard(order)
            case orders.SetClipboard():
                await self._set_clipboard(order)
            case orders.PowerAction(action=action):
                await self._send(orders.log(order, 25, f"Performing {_POWER[action]}", int(action), 0))
                await self._device.power(action)
            case orders.Wake(macs):
                await self._device.wake(macs)
            case orders.UserSessions():
                await self._send(orders.answer(order, "userSessions", data={}))

    async def _answer_failure(self, order: orders.Order, failure: PommelError) -> None:
        hint = f" ({failure.hint})" if failure.hint else ""
        match order:
            case orders.ConsoleLine():
                await self._print_to_console(order, failure.message + hint)
            case orders.SetClipboard():
                await self._send(orders.answer(order, "setclip", success=False))
                await self._send(orders.log(order, 0, failure.message))
            case _:
                await self._send(orders.log(order, 0, failure.message))

    # --- sessions ---

    async def _hold_session(self, order: orders.Tunnel) -> None:
        session = DesktopSession(order, self._place)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    async def _end_sessions(self, order: orders.EndTunnel) -> None:
        if not order.rights.others and order.whose != order.person.key:
            raise NotPermitted("only a user with all rights can end sessions of other users")
        for session in [one for one in self._sessions if one.is_of(order.whose, order.guest)]:
            await session.end("Another user ended this session")

    async def _announce(self, tasks: asyncio.TaskGroup) -> None:
        """Tell every viewer after each change; a viewer that does not read delays no other."""
        while True:
            await self._seats_changed.wait()
            self._seats_changed.clear()
            seated = self.seats.now()
            self._device.watched_by(seated.people, seated.bar)
            await self._send(orders.sessions(seated.counts))
            for session in tuple(self._sessions):
                self._start(tasks, session.tell(control.metadata(seated.counts)))

    # --- the rest ---

    async def _keep_facts(self, *, rename: bool) -> None:
        facts = self._device.facts()
        while True:
            await self._send(mesh_agent.coreinfo(facts, rename=rename))
            if (cards := mesh_agent.netinfo(facts.macs)) is not None:
                await self._send(cards)
            await self._facts_changed.wait()
            self._facts_changed.clear()
            before, facts = facts, self._device.facts()
            rename = facts.name != before.name

    async def _console(self, order: orders.ConsoleLine) -> None:
        if not order.rights.console:
            raise NotPermitted("you have no right to use this device's console")
        await self._send(orders.log(order, 17, f"Processing console command: {order.line}", order.line[:200]))
        await self._print_to_console(order, await self._device.console(order.line))

    async def _print_to_console(self, order: orders.Order, text: str) -> None:
        self._alike = self._alike + 1 if text == self._last_line else 0
        self._last_line = text
        # The same line must not be sent that often: the server would disconnect.
        shown = f"{text} [{self._alike}]" if self._alike >= _ALIKE else text
        await self._send(orders.answer(order, "console", value=shown))

    async def _notify(self, order: orders.Notify) -> None:
        # A toast comes without rights: the server has checked them itself.
        if order.must_close and not order.rights.notify:
            raise NotPermitted("you have no right to send messages to the user of this device")
        kind, number = ("message box", 18) if order.must_close else ("toast message", 26)
        said = f"Displaying {kind}, title={order.title}, message={order.text}"
        await self._send(orders.log(order, number, said, order.title[:200], order.text[:1000]))
        await self._device.notify(Notice(order.person, order.title, order.text, order.must_close))

    async def _get_clipboard(self, order: orders.GetClipboard) -> None:
        _need_control(order)
        text = await self._device.get_clipboard()
        await self._send(orders.log(order, 21, f"Getting clipboard content, {len(text)} byte(s)", len(text)))
        await self._send(orders.answer(order, "getclip", data=text))

    async def _set_clipboard(self, order: orders.SetClipboard) -> None:
        _need_control(order)
        length = len(order.text)
        await self._send(orders.log(order, 22, f"Setting clipboard content, {length} byte(s)", length))
        await self._device.set_clipboard(order.text)
        await self._send(orders.answer(order, "setclip", success=True))

    async def _send(self, text: str) -> None:
        with contextlib.suppress(ConnectionError):  # the reading task notices it too
            await self._socket.send_str(text)

    async def _send_bytes(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await self._socket.send_bytes(data)


def _need_control(order: orders.Order) -> None:
    if not order.rights.control:
        raise NotPermitted("view-only users have no right to use this device's clipboard")
