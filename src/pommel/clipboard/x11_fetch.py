"""Asking an X11 selection's owner for what it has (ICCCM 2.4 to 2.7.2). Band: shell.

A generator that is sent the events that may concern it, so that its thread stays free to serve others meanwhile.
Large answers come in pieces (INCR); what is larger than the limit is drained, not kept, so that its owner gets done.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Generator
from typing import Any

from Xlib import X
from Xlib.error import XError
from Xlib.protocol.request import GetAtomName

from pommel.clipboard.compound_text import UnknownCharset
from pommel.clipboard.content import KINDS_MAX, TEXT, URIS, Content, Held, content_of, foreign
from pommel.clipboard.targets import CUT, KNOWN, SECRET_HINT, TEXTS, chosen, kinds, received
from pommel.clipboard.uris import mark_cut, paths_of

_SLICE_WORDS = 64 << 10  # GetProperty counts four bytes each
# Of fetches; few, as an X server keeps every name for good.
_SERIALS = itertools.cycle(range(32))
Event = Any
Fetch = Generator[None, Event, Content]


class SelectionTooLarge(Exception):
    """The owner has more than we may take; `size` is as much as is known."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def fetch(
    window: Any, selection: int, atom: Callable[[str], int], stamp: int, *, limit: int, forms: frozenset[str]
) -> Fetch:
    """Get what the owner has; forms that it fails to hand over are left out.

    Send it events: SelectionNotify and PropertyNotify of `window`. It returns (StopIteration) a Content. An owner that
    does not say what it has (some old programs refuse TARGETS) is asked for text by each of its names.
    """
    asking = _Asking(window, selection, atom, stamp, limit)
    listed = yield from asking.atoms("TARGETS")
    offered = {name for name in KNOWN if atom(name) in listed} if listed is not None else set(TEXTS)
    if SECRET_HINT in offered and (yield from asking.bytes_of(SECRET_HINT)) == b"secret":
        return Content(held=Held.SECRET)
    wanted = chosen(offered, forms)
    try:
        found = yield from asking.forms(wanted, offered)
        if URIS in found and not paths_of(found[URIS]):
            # Links, not files: what else there is says more.
            wanted = chosen(offered, forms - {URIS})
            found = yield from asking.forms(wanted, offered)
        elif URIS in found and CUT in offered and (yield from asking.bytes_of(CUT)) == b"1":
            found[URIS] = mark_cut(found[URIS])
    except SelectionTooLarge as much:
        return Content(held=Held.TOO_LARGE, size=much.size)
    if not wanted:
        return foreign(asking.kinds(listed or []))
    if not found:
        return foreign(asking.unread, why=Held.CHARSET) if asking.unread else Content(held=Held.REFUSED)
    return content_of(found, limit)


class _Asking:
    """One owner being asked: each answer lands in a property of our window."""

    def __init__(self, window: Any, selection: int, atom: Callable[[str], int], stamp: int, limit: int) -> None:
        self._window, self._selection, self._atom, self._stamp = window, selection, atom, stamp
        self._left = limit
        self._taken = 0
        self._count = 0
        self._serial = next(_SERIALS)
        self._type = X.NONE  # of the last answer
        self.unread: list[str] = []  # character sets that were met and are not read

    def atoms(self, target: str) -> Generator[None, Event, list[int] | None]:
        """The answer to a target that lists atoms; None where the owner has none."""
        place = yield from self._converted(target)
        if place is None:
            return None
        answer = self._window.get_property(place, X.AnyPropertyType, 0, _SLICE_WORDS, delete=True)
        return list(answer.value) if answer is not None and answer.format == 32 else None

    def kinds(self, listed: list[int]) -> list[str]:
        """The names of some of these atoms, without those that are no kinds of a copy."""
        return kinds(name for name in map(self._name, listed[: 4 * KINDS_MAX]) if name)

    def _name(self, atom: int) -> str:
        try:
            name = GetAtomName(display=self._window.display, atom=atom).name
        except XError:  # the owner names what is no atom
            return ""
        return name if isinstance(name, str) else bytes(name).decode("latin-1")

    def forms(
        self, wanted: list[tuple[str, str]], offered: Collection[str]
    ) -> Generator[None, Event, dict[str, bytes]]:
        """The answers to several targets, as the forms they are; what the owner does not have is left out.

        Text that it does not hand over by one name, or in characters that are not read, is asked for by the next.
        """
        found: dict[str, bytes] = {}
        for form, name in wanted:
            names = [other for other in TEXTS if other in offered] if form == TEXT else [name]
            for name in names:
                data = yield from self.bytes_of(name)
                if data is None:
                    continue
                try:
                    found[form] = received(name, data, self._name(self._type))
                except UnknownCharset as unknown:
                    self.unread.append(unknown.charset)
                    continue
                break
        return found

    def bytes_of(self, target: str) -> Generator[None, Event, bytes | None]:
        """The answer to a target that is bytes, or None where the owner has none."""
        place = yield from self._converted(target)
        if place is None:
            return None
        head = self._window.get_property(place, X.AnyPropertyType, 0, 0)
        if head is not None and head.property_type == self._atom("INCR"):
            return (yield from self._pieces(place))
        return self._taken_in(place)

    def _converted(self, target: str) -> Generator[None, Event, int | None]:
        """Ask, and wait for the answer: the property it is in, or None where the owner refuses twice.

        A refusal names no property. One that answers what an earlier owner was asked is known by its time, unless all
        of that happened in the same millisecond: then the owner of now is asked once more.
        """
        place = yield from self._answered(target)
        return place if place is not None else (yield from self._answered(target))

    def _answered(self, target: str) -> Generator[None, Event, int | None]:
        # A name of its own each time: a late answer to an earlier question is no answer to this one.
        self._count += 1
        place = self._atom(f"POMMEL_{self._serial}_{self._count}")
        self._window.delete_property(place)
        self._window.convert_selection(self._selection, self._atom(target), place, self._stamp)
        while True:
            event = yield
            if event.type == X.SelectionNotify and event.target == self._atom(target):
                if event.property == place:
                    return place
                if event.property == X.NONE and event.time in (self._stamp, X.CurrentTime):
                    return None

    def _taken_in(self, place: int) -> bytes:
        """A property's bytes, slice by slice; the last slice deletes it."""
        pieces: list[bytes] = []
        offset = 0
        while True:
            answer = self._window.get_property(place, X.AnyPropertyType, offset, _SLICE_WORDS, delete=True)
            if answer is None:
                return b"".join(pieces)
            self._type = answer.property_type
            piece = bytes(answer.value) if answer.format == 8 else b""
            if answer.bytes_after + len(piece) > self._left:
                self._window.delete_property(place)
                raise SelectionTooLarge(self._taken + len(piece) + answer.bytes_after)
            self._left -= len(piece)
            self._taken += len(piece)
            pieces.append(piece)
            if not answer.bytes_after:
                return b"".join(pieces)
            offset += _SLICE_WORDS

    def _pieces(self, place: int) -> Generator[None, Event, bytes]:
        """INCR (ICCCM 2.7.2): each deletion asks for the next piece; an empty one is the end."""
        pieces: list[bytes] = []
        excess: SelectionTooLarge | None = None
        self._window.delete_property(place)
        while True:
            event = yield
            if event.type != X.PropertyNotify or event.atom != place or event.state != X.PropertyNewValue:
                continue
            try:
                piece = self._taken_in(place)
            except SelectionTooLarge as much:
                excess, piece = SelectionTooLarge((excess.size if excess else 0) + much.size), b"-"
                self._taken = 0
                pieces.clear()
            if piece:
                pieces.append(piece)
            elif excess is not None:
                raise excess
            else:
                return b"".join(pieces)
