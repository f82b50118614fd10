"""Owning an X11 selection: answering whoever asks for it (ICCCM 2.2, 2.6.2, 2.7.2). Band: shell.

TARGETS, TIMESTAMP, MULTIPLE, SAVE_TARGETS and every name in `targets`. What does not fit into one request goes in
pieces (INCR), one for each time the asker deletes the last; an asker that stops asking is forgotten after a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from Xlib import X, Xatom
from Xlib.protocol.event import SelectionNotify

from pommel.clipboard.content import Content
from pommel.clipboard.targets import Offer, offers

_PIECE = 192 << 10  # a request holds 256 KiB without BIG-REQUESTS
FORGET_S = 30.0


@dataclass(slots=True)
class _Transfer:
    """Pieces on their way to one asker."""

    window: Any
    place: int
    kind: int
    data: bytes
    sent: int
    deadline: float


class Ownership:
    """A selection that is ours since `stamp` (server time): its content, and who is still being served."""

    def __init__(self, display: Any, atom: Callable[[str], int]) -> None:
        self._display, self._atom = display, atom
        self._offers: dict[int, Offer] = {}
        self._stamp: int | None = None
        self._transfers: dict[tuple[int, int], _Transfer] = {}

    @property
    def held(self) -> bool:
        """Whether the selection is ours."""
        return self._stamp is not None

    @property
    def deadline(self) -> float | None:
        """When the next asker is to be forgotten."""
        return min((transfer.deadline for transfer in self._transfers.values()), default=None)

    def begin(self, content: Content, stamp: int) -> None:
        """The selection is ours, with this in it."""
        self._offers = {self._atom(name): offer for name, offer in offers(content).items()}
        self._stamp = stamp

    def end(self) -> None:
        """Somebody else has it. Transfers that have begun are carried on (ICCCM 2.2)."""
        self._offers, self._stamp = {}, None

    def answer(self, request: Any, now: float) -> None:
        """Serve a SelectionRequest event."""
        place = request.property or request.target  # an obsolete client names no property
        served = self._may_have(request) and self._serve(request, request.target, place, now)
        reply = SelectionNotify(
            time=request.time,
            requestor=request.requestor,
            selection=request.selection,
            target=request.target,
            property=place if served else X.NONE,
        )
        request.requestor.send_event(reply)

    def proceed(self, event: Any, now: float) -> None:
        """Go on with a transfer whose asker has deleted the last piece (a PropertyNotify event)."""
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
        """Drop transfers that nobody seems to wait for any more."""
        for transfer in [late for late in self._transfers.values() if late.deadline <= now]:
            self._drop(transfer)

    def _may_have(self, request: Any) -> bool:
        # A request from before it was ours is meant for the owner before us.
        # The server's time is milliseconds in 32 bits and begins anew after 49 days.
        if self._stamp is None:
            return False
        return bool(request.time == X.CurrentTime or (request.time - self._stamp) & 0xFFFFFFFF < 1 << 31)

    def _serve(self, request: Any, target: int, place: int, now: float) -> bool:
        asker = request.requestor
        if target == self._atom("TARGETS"):
            named = [self._atom(name) for name in ("TARGETS", "TIMESTAMP", "MULTIPLE", "SAVE_TARGETS")]
            asker.change_property(place, Xatom.ATOM, 32, [*named, *self._offers])
        elif target == self._atom("TIMESTAMP"):
            asker.change_property(place, Xatom.INTEGER, 32, [self._stamp])
        elif target == self._atom("SAVE_TARGETS"):
            asker.change_property(place, self._atom("NULL"), 32, [])
        elif target == self._atom("MULTIPLE"):
            return self._serve_many(request, place, now)
        elif target in self._offers:
            self._hand_over(asker, target, place, self._offers[target](), now)
        else:
            return False
        return True

    def _serve_many(self, request: Any, place: int, now: float) -> bool:
        """MULTIPLE: the property lists (target, property) pairs; what cannot be served gets None for its property."""
        asked = request.requestor.get_property(place, X.AnyPropertyType, 0, 1024)
        if asked is None or asked.format != 32:
            return False
        words = list(asked.value)
        for at in range(0, len(words) - 1, 2):
            nested = words[at] == self._atom("MULTIPLE")
            if nested or not words[at + 1] or not self._serve(request, words[at], words[at + 1], now):
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
