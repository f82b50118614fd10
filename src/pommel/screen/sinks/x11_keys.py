"""Which keys of an X server's keyboard do what. Band: core, no I/O.

A keycode is a key of the server's; its row of the core keyboard map has a keysym for each column: 0 and 1 are plain
and with Shift, 2 and 3 the same in a second layout, what follows is reached with AltGr.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pommel.wire.keymap import PhysicalKey

SHIFT_L = 0xFFE1
_RETURN, _TAB = 0xFF0D, 0xFF09
_UNICODE = 0x01000000
_PC_MAIN_KEYS = 0x58  # up to here a PC keyboard's scancodes and the server's keycodes differ by 8 alone
_SECOND_LAYOUT = 2

Row = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """What a key types, plain and with Shift, and which of the two is meant."""

    plain: int
    shifted: int
    wants_shift: bool

    @property
    def follows_caps_lock(self) -> bool:
        """Tell whether Caps Lock does what Shift does to this key."""
        return self.plain != self.shifted


@dataclass(slots=True)
class ServerKeys:
    """The server's keyboard map: keycode to row. `modifiers` are the keycodes that are one."""

    rows: dict[int, Row]
    modifiers: frozenset[int] = frozenset()
    _places: dict[int, tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._places = {}
        self._index()

    def _index(self) -> None:
        # The plain ones first: what a key is called by is what is printed on it.
        found = ((column, code, sym) for code, row in self.rows.items() for column, sym in enumerate(row) if sym)
        for column, code, sym in sorted(found):
            self._places.setdefault(sym, (code, column))

    def code_of(self, key: PhysicalKey) -> int | None:
        """Find the keycode of a key of the wire: by what is on it, else by where it is."""
        place = self._places.get(key.keysym)
        if place is not None:
            return place[0]
        return key.qnum + 8 if key.qnum <= _PC_MAIN_KEYS and key.qnum + 8 in self.rows else None

    def code_of_sym(self, sym: int) -> int | None:
        """Find the keycode on which a keysym is in any column."""
        place = self._places.get(sym)
        return None if place is None else place[0]

    def typing(self, pair: Pair, layout: int) -> tuple[int, Pair] | None:
        """Find the keycode that types what is meant in a layout (0 or 1), and what that key types; None if none does.

        Keys that need AltGr are not told of.
        """
        meant = pair.shifted if pair.wants_shift else pair.plain
        first = layout * _SECOND_LAYOUT
        for code, row in self.rows.items():
            here = row[first : first + 2]
            if layout and not any(here):  # a key with one layout has it in all
                here = row[:2]
            if meant in here:
                plain, shifted = (*here, 0)[:2]
                cased = {plain, shifted} == {pair.plain, pair.shifted}
                return code, Pair(plain, shifted if cased else plain, here.index(meant) == 1)
        return None

    def spare(self) -> list[int]:
        """List the keycodes that mean nothing, highest first: those no keyboard has."""
        return sorted((c for c, row in self.rows.items() if not any(row) and c not in self.modifiers), reverse=True)


def pair_for(char: str) -> Pair:
    """Return what a key that types `char` would have on it: letters in both cases."""
    if char in "\r\n\t":
        sym = _TAB if char == "\t" else _RETURN
        return Pair(sym, sym, False)
    lower, upper = char.lower(), char.upper()
    if lower != upper and len(lower) == len(upper) == 1 and char in (lower, upper):
        return Pair(keysym(lower), keysym(upper), char == upper)
    return Pair(keysym(char), keysym(char), False)


def keysym(char: str) -> int:
    """Return the keysym of a character (X protocol, appendix A; keysymdef.h)."""
    code = ord(char)
    return code if 0x20 <= code <= 0x7E or 0xA0 <= code <= 0xFF else _UNICODE | code


def is_typable(char: str) -> bool:
    """Tell whether a keysym stands for `char` at all: control characters have none, but for line ends and tabs."""
    return char in "\r\n\t" or not (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000)


def around(
    held: Collection[int], modifiers: Collection[int], shifts: Sequence[int], wants_shift: bool
) -> tuple[list[int], bool]:
    """Return which of the held keys to lift while a character is typed, and whether to press Shift for it."""
    shifted = any(code in shifts for code in held)
    lifted = [code for code in held if code in modifiers and not (wants_shift and code in shifts)]
    return lifted, wants_shift and not shifted
