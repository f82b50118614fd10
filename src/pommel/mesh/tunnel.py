"""One person's session with the desktop, from the server's order to its end. Band: shell.

The steps: connect to the relay, check its certificate, wait for the viewer, check its rights, ask the person at the
machine for consent. Then the device serves it. If a session is refused, the viewer sees the reason over an empty
picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from pommel.errors import PommelError, ProtocolError, WireError
from pommel.mesh import control, orders
from pommel.mesh.device import WHEEL_NOTCH, MeshDevice, Notice, Question
from pommel.mesh.file_orders import wanted_file
from pommel.mesh.file_session import FileSession, send_one_file
from pommel.mesh.keys import sha384
from pommel.mesh.msh import Server
from pommel.mesh.network import opened
from pommel.mesh.relay import ViewerRelay
from pommel.mesh.rights import (
    CONSENT_BAR,
    CONSENT_NOTIFY,
    CONSENT_NOTIFY_FILES,
    CONSENT_PROMPT,
    CONSENT_PROMPT_FILES,
)
from pommel.mesh.seats import Seats, filled
from pommel.tasks import start_task, stop_tasks
from pommel.wire.looking import Looking

_TITLE = "MeshCentral"
_BAR = "This screen is shared with {0}"
_DONE = 1000  # RFC 6455, 7.4.1: normal
_UNWANTED = 1008  # RFC 6455, 7.4.1: policy
_NONSENSE = 1002
_RELAY = re.compile(r"\*/([\w.~%$@/?&=*+,:;!'()-]+)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of session: its words, and its bits of consent. `logged`: the server's page has texts for its consent."""

    name: str
    ask: str
    tell: str
    prompt: int
    notify: int
    logged: bool


_DESKTOP = _Kind(
    "Remote desktop",
    "{0} ({1}) would like to see and use this machine's screen. Allow it?",
    "{0} is viewing this machine's screen",
    CONSENT_PROMPT,
    CONSENT_NOTIFY,
    logged=True,
)
_FILES = _Kind(
    "Remote files",
    "{0} ({1}) would like to read and change this machine's files. Allow it?",
    "{0} is using this machine's files",
    CONSENT_PROMPT_FILES,
    CONSENT_NOTIFY_FILES,
    logged=False,
)


class TunnelRefused(PommelError):
    """The session is refused; `shown` is the text for the viewer's page."""

    def __init__(self, message: str, shown: str | None = None) -> None:
        super().__init__(message)
        self.shown = shown if shown is not None else control.message(message)


@dataclass(frozen=True, slots=True)
class TunnelContext:
    """The environment of a session. `send` sends a text to the server."""

    http: aiohttp.ClientSession
    server: Server
    certificate: bytes  # of the control connection, DER
    device: MeshDevice
    seats: Seats
    send: Callable[[str], Awaitable[None]]


def relay_url(server: Server, where: str) -> str:
    """The address of the relay in an order.

    Raises:
        ProtocolError: it is not on this server.
    """
    match = _RELAY.match(where)
    if match is None or ".." in match[1]:
        raise ProtocolError(f"a session at {where[:80]!r} does not belong to this server")
    return server.base + match[1].replace("$", "%24").replace("@", "%40")


class DesktopSession:
    """One session. `people` see it in `Seats` once it is let in."""

    def __init__(self, order: orders.Tunnel, place: TunnelContext) -> None:
        self._order = order
        self._place = place
        self._relay: ViewerRelay | None = None
        self.person = order.person
        self.bar: str | None = None

    def is_of(self, whose: str, guest: str | None) -> bool:
        """Whether it belongs to this user, or to this guest of the user."""
        return self.person.key in ((whose, orders.guest_key(whose, guest)) if guest else (whose,)) and (
            self.person.guest == guest
        )

    async def run(self) -> None:
        """Run the session from beginning to end.

        Raises:
            PommelError: it did not begin; the viewer, if there is one, got the reason.
        """
        order, place = self._order, self._place
        known = {sha384(place.certificate)} | ({order.tls_hash} if order.tls_hash else set())
        async with opened(place.http, relay_url(place.server, order.where), known) as line:
            relay = ViewerRelay(line)
            try:
                await self._meet(relay)
            except ConnectionError:
                return  # the viewer disconnected
            except WireError as nonsense:
                await relay.close(_NONSENSE, nonsense.message)
                raise
            except TunnelRefused as refusal:
                await relay.tell(refusal.shown)
                await relay.close(_UNWANTED, refusal.message)
                raise
            except PommelError as failure:
                await relay.tell(control.message(failure.message))
                raise

    async def tell(self, text: str) -> None:
        """Send the viewer a control text, if it is there."""
        if self._relay is not None:
            await self._relay.tell(text)

    async def end(self, why: str) -> None:
        """Disconnect the viewer."""
        if self._relay is not None:
            await self._relay.tell(control.message(why))
            await self._relay.close(_UNWANTED, why)

    async def _meet(self, relay: ViewerRelay) -> None:
        await relay.joined()
        protocol = await relay.chosen()
        kind = _check(protocol, self._order)
        consent = self._order.consent | relay.consent
        await self._ask(relay, consent, kind)
        if kind is _FILES:
            self._relay = relay
            await self._serve_files(relay, protocol)
            return
        rights = self._order.rights
        relay.limited = rights.limited
        self._relay = relay
        self.bar = (self._order.manners.bar_text or _BAR) if consent & CONSENT_BAR else None
        view_only = not rights.control or self._order.view_only
        with self._place.seats.taken(self):
            await self._place.device.serve(Looking(relay) if view_only else relay, wheel_notch=WHEEL_NOTCH)

    async def _serve_files(self, relay: ViewerRelay, protocol: int) -> None:
        if (files := self._place.device.files()) is None:
            raise TunnelRefused("this device has no files that can be reached")
        if protocol == control.FILE:
            await send_one_file(relay, files, wanted_file(relay.file), self._note_deed)
            await relay.close(_DONE, "")
        else:
            await FileSession(relay, files, self._note_deed).run()

    async def _note_deed(self, number: int, text: str, *details: str | int) -> None:
        """Note what was done with the files, in the server's log and the device's own."""
        self._place.device.noticed(self.person, text)
        await self._place.send(orders.log(self._order, number, text, *details))

    # --- consent ---

    async def _ask(self, relay: ViewerRelay, consent: int, kind: _Kind) -> None:
        if consent & kind.prompt:
            await relay.send_text(control.WAITING)
            granted = await self._answer(relay, kind)
            await self._note(kind, *((30, "accepted") if granted else (34, "rejected")))
            if not granted:
                raise TunnelRefused("access was denied at the machine", control.DENIED)
            await relay.send_text(control.GRANTED)
        else:
            informed = (35, "was informed of") if consent & kind.notify else (36, "was not informed of")
            await self._note(kind, *informed)
        if consent & kind.notify:
            manners = self._order.manners
            text = filled((kind is _DESKTOP and manners.tell_text) or kind.tell, self.person)
            with contextlib.suppress(PommelError):  # a notice must not prevent the session
                await self._place.device.notify(Notice(self.person, manners.title or _TITLE, text))

    async def _answer(self, relay: ViewerRelay, kind: _Kind) -> bool:
        """Ask the person at the machine, as long as the viewer waits."""
        manners, device = self._order.manners, self._place.device
        text = filled((kind is _DESKTOP and manners.ask_text) or kind.ask, self.person)
        question = Question(self.person, manners.title or _TITLE, text, manners.timeout_s)
        asking, leaving = start_task(device.ask(question)), start_task(relay.until_gone())
        try:
            both = (asking, leaving)
            await asyncio.wait(both, timeout=manners.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                raise ConnectionResetError("the viewer has left")
            answer = asking.result() if asking.done() else manners.if_late
        finally:
            await _stopped(asking, leaving)
        if answer is None and not (manners.if_nobody if kind is _DESKTOP else manners.if_nobody_files):
            await self._note(kind, 34, "rejected")
            raise TunnelRefused("there is no user at the machine's console to grant access")
        return answer is not False

    async def _note(self, kind: _Kind, number: int, how: str) -> None:
        text = f"{kind.name}: the user at the machine {how} it ({self.person.address or self.person.name})"
        await self._place.send(orders.log(self._order, number if kind.logged else 0, text))


def _check(protocol: int, order: orders.Tunnel) -> _Kind:
    if protocol not in (control.DESKTOP, control.FILES, control.FILE):
        wanted = control.PROTOCOLS.get(protocol, f"protocol {protocol}")
        raise TunnelRefused(f"this device supports only Desktop and Files, not {wanted}")
    kind = _DESKTOP if protocol == control.DESKTOP else _FILES
    if order.only is not None and protocol not in order.only:
        raise TunnelRefused(f"your invitation does not include {control.PROTOCOLS[protocol]}")
    if kind is _DESKTOP and not order.rights.desktop:
        raise TunnelRefused("you have no right to view this device's desktop")
    if kind is _FILES and not order.rights.files:
        raise TunnelRefused("you have no right to use this device's files")
    return kind


async def _stopped(*tasks: asyncio.Task[Any]) -> None:
    for outcome in await stop_tasks(*tasks):
        if isinstance(outcome, Exception) and not isinstance(outcome, PommelError):
            raise outcome
