"""Fetches the content of an X11 selection from its owner (ICCCM 2.4 to 2.7.2). Band: shell.

It is a generator that receives events, so that its thread can serve other programs meanwhile. Large answers come in
pieces (INCR). An answer above the limit is read to its end but not kept, because its owner waits until all is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Generator
from typing import Any

from Xlib import X
from Xlib.error import XError
from Xlib.protocol.request import GetAtomName

from pommel.clipboard.compound_text import UnknownCharset
from pommel.clipboard.content import KINDS_MAX, TEXT, URIS, Content, HeldBack, content_of, foreign
from pommel.clipboard.targets import CUT, KNOWN, SECRET_HINT, TEXTS, chosen, kinds, received
from pommel.clipboard.uris import mark_cut, paths_of

_SLICE_WORDS = 64 << 10  # GetProperty counts four bytes each
# Numbers of fetches. Few, because an X server never frees an atom's name.
_SERIALS = itertools.cycle(range(32))
Event = Any
Fetch = Generator[None, Event, Content]


class SelectionTooLarge(Exception):
    """The content is larger than the limit; `size` is its size as far as known."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def fetch(
    window: Any, selection: int, atom: Callable[[str], int], stamp: int, *, limit: int, forms: frozenset[str]
) -> Fetch:
    """Fetch the owner's content; forms that the owner fails to send are left out.

    Send it events: SelectionNotify and PropertyNotify of `window`. It returns (StopIteration) a Content. If the owner
    does not list its targets (some old programs refuse TARGETS), it is asked for text under each name of text.
    """
    asking = _Asking(window, selection, atom, stamp, limit)
    listed = yield from asking.atoms("TARGETS")
    offered = {name for name in KNOWN if atom(name) in listed} if listed is not None else set(TEXTS)
    if SECRET_HINT in offered and (yield from asking.bytes_of(SECRET_HINT)) == b"secret":
        return Content(held=HeldBack.SECRET)
    wanted = chosen(offered, forms)
    try:
        found = yield from asking.forms(wanted, offered)
        if URIS in found and not paths_of(found[URIS]):
            # Links to web pages, not files: another form is more useful.
            wanted = chosen(offered, forms - {URIS})
            found = yield from asking.forms(wanted, offered)
        elif URIS in found and CUT in offered and (yield from asking.bytes_of(CUT)) == b"1":
            found[URIS] = mark_cut(found[URIS])
    except SelectionTooLarge as much:
        return Content(held=HeldBack.TOO_LARGE, size=much.size)
    if not wanted:
        return foreign(asking.kinds(listed or []))
    if not found:
        return foreign(asking.unread, why=HeldBack.CHARSET) if asking.unread else Content(held=HeldBack.REFUSED)
    return content_of(found, limit)


class _Asking:
    """The requests to one owner; it puts each answer into a property of our window."""

    def __init__(self, window: Any, selection: int, atom: Callable[[str], int], stamp: int, limit: int) -> None:
        self._window, self._selection, self._atom, self._stamp = window, selection, atom, stamp
        self._left = limit
        self._taken = 0
        self._count = 0
        self._serial = next(_SERIALS)
        self._type = X.NONE  # of the last answer
        self.unread: list[str] = []  # unsupported character sets that were found

    def atoms(self, target: str) -> Generator[None, Event, list[int] | None]:
        """The answer to a target that lists atoms; None if the owner refuses it."""
        place = yield from self._converted(target)
        if place is None:
            return None
        answer = self._window.get_property(place, X.AnyPropertyType, 0, _SLICE_WORDS, delete=True)
        return list(answer.value) if answer is not None and answer.format == 32 else None

    def kinds(self, listed: list[int]) -> list[str]:
        """The names of the first of these atoms, without those that are no forms of a copy."""
        return kinds(name for name in map(self._name, listed[: 4 * KINDS_MAX]) if name)

    def _name(self, atom: int) -> str:
        try:
            name = GetAtomName(display=self._window.display, atom=atom).name
        except XError:  # the owner sent an invalid atom
            return ""
        return name if isinstance(name, str) else bytes(name).decode("latin-1")

    def forms(
        self, wanted: list[tuple[str, str]], offered: Collection[str]
    ) -> Generator[None, Event, dict[str, bytes]]:
        """The answers to several targets, by form; forms that the owner refuses are left out.

        If text is refused under one name, or has unsupported characters, the next name is tried.
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
        """The answer to a target with bytes; None if the owner refuses it."""
        place = yield from self._converted(target)
        if place is None:
            return None
        head = self._window.get_property(place, X.AnyPropertyType, 0, 0)
        if head is not None and head.property_type == self._atom("INCR"):
            return (yield from self._pieces(place))
        return self._taken_in(place)

    def _converted(self, target: str) -> Generator[None, Event, int | None]:
        """Ask, and wait for the property with the answer; None if the owner refuses twice.

        A refusal names no property. A late refusal by an earlier owner is recognised by its time, unless all happened
        in the same millisecond. So the present owner is asked a second time.
        """
        place = yield from self._convert(target)
        return place if place is not None else (yield from self._convert(target))

    def _convert(self, target: str) -> Generator[None, Event, int | None]:
        # A new property name for each request: a late answer to an earlier request must not count for this one.
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
        """INCR (ICCCM 2.7.2): each deletion of the property requests the next piece; an empty piece is the end."""
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
