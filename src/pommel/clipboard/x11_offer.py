"""Owns an X11 selection and answers requests for it (ICCCM 2.2, 2.6.2, 2.7.2). Band: shell.

It answers TARGETS, TIMESTAMP, MULTIPLE, SAVE_TARGETS and every name in `targets`. Larger content than one request holds
is sent in pieces (INCR): the next one when the requestor deletes the last. A requestor that stops is dropped after
FORGET_S. Content that must be fetched first is fetched at the first request, and the requestor waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from Xlib import X, Xatom
from Xlib.protocol.event import SelectionNotify

from pommel.clipboard.content import Content
from pommel.clipboard.host import PASTE_S
from pommel.clipboard.targets import Offer, offers

_PIECE = 192 << 10  # a request holds 256 KiB without BIG-REQUESTS
FORGET_S = 30.0


@dataclass(slots=True)
class _Transfer:
    """The transfer of pieces to one requestor."""

    window: Any
    place: int
    kind: int
    data: bytes
    sent: int
    deadline: float


@dataclass(slots=True)
class _Offering:
    """The content of the selection since `stamp` (server time). With `ask`, it is fetched at the first request.

    `waiting` has the requests that wait for it, each with the end of its waiting time.
    """

    stamp: int
    offers: dict[int, Offer]
    ask: Callable[[], None] | None = None
    asked: bool = False
    waiting: list[tuple[Any, float]] = field(default_factory=list)


class Ownership:
    """Our selection: its content, and the transfers under way."""

    def __init__(self, display: Any, atom: Callable[[str], int]) -> None:
        self._display, self._atom = display, atom
        self._present: _Offering | None = None
        self._fetching: list[_Offering] = []
        self._transfers: dict[tuple[int, int], _Transfer] = {}

    @property
    def held(self) -> bool:
        """Whether the selection is ours."""
        return self._present is not None

    @property
    def deadline(self) -> float | None:
        """The time when the next transfer or waiting request expires."""
        forgotten = [transfer.deadline for transfer in self._transfers.values()]
        return min([*forgotten, *(until for one in self._fetching for _, until in one.waiting)], default=None)

    def begin(self, content: Content, stamp: int, ask: Callable[[], None] | None = None) -> None:
        """Begin to offer `content`. `ask` is called at the first request; its caller must then call `prepared`."""
        named = {self._atom(name): offer for name, offer in offers(content).items()}
        self._present = _Offering(stamp, named, ask)

    def end(self) -> None:
        """Note that another program owns the selection. Transfers under way continue (ICCCM 2.2)."""
        self._present = None

    def prepared(self, ask: Callable[[], None], ready: bool, now: float) -> None:
        """Answer the requests that wait for `ask`: its content is ready, or it failed."""
        for offering in [one for one in self._fetching if one.ask is ask]:
            self._fetching.remove(offering)
            waiting, offering.waiting = offering.waiting, []
            offering.asked = False
            if ready:
                offering.ask = None
            for request, _ in waiting:
                self._reply(request, offering if ready else None, now)

    def answer(self, request: Any, now: float) -> None:
        """Answer a SelectionRequest event, now or when the content was fetched."""
        offering = self._present if self._may_have(request) else None
        if offering is None or offering.ask is None or not self._wants_data(request, offering):
            self._reply(request, offering, now)
            return
        offering.waiting.append((request, now + PASTE_S))
        if not offering.asked:
            offering.asked = True
            self._fetching.append(offering)
            offering.ask()

    def _wants_data(self, request: Any, offering: _Offering) -> bool:
        return request.target in offering.offers or request.target == self._atom("MULTIPLE")

    def _reply(self, request: Any, offering: _Offering | None, now: float) -> None:
        place = request.property or request.target  # an obsolete client names no property
        served = offering is not None and self._serve(offering, request, (request.target, place), now)
        reply = SelectionNotify(
            time=request.time,
            requestor=request.requestor,
            selection=request.selection,
            target=request.target,
            property=place if served else X.NONE,
        )
        request.requestor.send_event(reply)

    def proceed(self, event: Any, now: float) -> None:
        """Continue a transfer after the requestor has deleted the last piece (a PropertyNotify event)."""
        transfer = self._transfers.get((event.window.id, event.atom))
        if transfer is None or event.state != X.PropertyDelete:
            return
        piece = transfer.data[transfer.sent : transfer.sent + _PIECE]
        transfer.window.change_property(transfer.place, transfer.kind, 8, piece)
        transfer.sent += len(piece)
        transfer.deadline = now + FORGET_S
        if not piece:
            self._drop(transfer)

    def forget(self, now: float) -> None:
        """Drop transfers and waiting requests that have expired."""
        for transfer in [late for late in self._transfers.values() if late.deadline <= now]:
            self._drop(transfer)
        for offering in self._fetching:
            late = [request for request, until in offering.waiting if until <= now]
            offering.waiting = [(request, until) for request, until in offering.waiting if until > now]
            for request in late:
                self._reply(request, None, now)

    def _may_have(self, request: Any) -> bool:
        # A request with a time before our ownership is meant for the owner before us.
        # The server's time is milliseconds in 32 bits and starts again at 0 after 49 days.
        if self._present is None:
            return False
        return bool(request.time == X.CurrentTime or (request.time - self._present.stamp) & 0xFFFFFFFF < 1 << 31)

    def _serve(self, offering: _Offering, request: Any, wanted: tuple[int, int], now: float) -> bool:
        asker, (target, place) = request.requestor, wanted
        if target == self._atom("TARGETS"):
            named = [self._atom(name) for name in ("TARGETS", "TIMESTAMP", "MULTIPLE", "SAVE_TARGETS")]
            asker.change_property(place, Xatom.ATOM, 32, [*named, *offering.offers])
        elif target == self._atom("TIMESTAMP"):
            asker.change_property(place, Xatom.INTEGER, 32, [offering.stamp])
        elif target == self._atom("SAVE_TARGETS"):
            asker.change_property(place, self._atom("NULL"), 32, [])
        elif target == self._atom("MULTIPLE"):
            return self._serve_many(offering, request, place, now)
        elif target in offering.offers:
            self._hand_over(asker, target, place, offering.offers[target](), now)
        else:
            return False
        return True

    def _serve_many(self, offering: _Offering, request: Any, place: int, now: float) -> bool:
        """MULTIPLE: the property lists (target, property) pairs; an unsupported target gets None as its property."""
        asked = request.requestor.get_property(place, X.AnyPropertyType, 0, 1024)
        if asked is None or asked.format != 32:
            return False
        words = list(asked.value)
        for at in range(0, len(words) - 1, 2):
            nested = words[at] == self._atom("MULTIPLE")
            if nested or not words[at + 1] or not self._serve(offering, request, (words[at], words[at + 1]), now):
                words[at + 1] = X.NONE
        request.requestor.change_property(place, self._atom("ATOM_PAIR"), 32, words)
        return True

    def _hand_over(self, asker: Any, target: int, place: int, data: bytes, now: float) -> None:
        kind = self._atom("UTF8_STRING") if target == self._atom("TEXT") else target
        if len(data) <= _PIECE:
            asker.change_property(place, kind, 8, data)
            return
        asker.change_attributes(event_mask=X.PropertyChangeMask)
        asker.change_property(place, self._atom("INCR"), 32, [len(data)])
        self._transfers[asker.id, place] = _Transfer(asker, place, kind, data, 0, now + FORGET_S)

    def _drop(self, transfer: _Transfer) -> None:
        del self._transfers[transfer.window.id, transfer.place]
        if not any(window == transfer.window.id for window, _ in self._transfers):
            transfer.window.change_attributes(event_mask=0)
