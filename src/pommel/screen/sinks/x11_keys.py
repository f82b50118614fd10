"""Finds the keys of an X server's keyboard. Band: core, no I/O.

A keycode is a key of the server; its row of the core keyboard map has a keysym in each column: 0 and 1 are plain and
with Shift, 2 and 3 the same in a second layout, and the others need AltGr.

A key of the wire is a position, in any layout: its keycode is Linux' code plus 8. This is true for each X server on
Linux, except for some that number keys as XFree86 did. There the keys outside the main block differ, and are found by
their keysyms, which are the same in all layouts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pommel.wire.keymap import KEYBOARD, PhysicalKey, legend_of

SHIFT_L = 0xFFE1
_RETURN, _TAB = 0xFF0D, 0xFF09
_UNICODE = 0x01000000
_OFFSET = 8  # between Linux' codes and the server's
_PC_MAIN_KEYS = 0x58  # up to here XFree86's keycodes are the same
_SECOND_LAYOUT = 2
_LAYOUTS = 2  # those whose columns the core map has in fixed places
_PLACES = frozenset(key.evdev + _OFFSET for key in KEYBOARD)
# Keys that every layout has, by their places: Escape, Backspace, Tab, Return, Space; Up, Left, Right, Down.
_ON_MAIN = {0xFF1B: 9, 0xFF08: 22, 0xFF09: 23, 0xFF0D: 36, 0x20: 65}
_OFF_MAIN = {0xFF52: 111, 0xFF51: 113, 0xFF53: 114, 0xFF54: 116}

Row = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeysymPair:
    """The keysyms of a key, plain and with Shift, and which of the two is wanted."""

    plain: int
    shifted: int
    wants_shift: bool

    @property
    def follows_caps_lock(self) -> bool:
        """Whether Caps Lock has the effect of Shift on this key."""
        return self.plain != self.shifted


@dataclass(slots=True)
class ServerKeys:
    """The server's keyboard map: keycode to row. `modifiers` are the keycodes of modifiers."""

    rows: dict[int, Row]
    modifiers: frozenset[int] = frozenset()
    _places: dict[int, tuple[int, int]] = field(init=False)
    _last_place: int = field(init=False)  # up to this code of Linux, the server numbers keys as Linux does

    def __post_init__(self) -> None:
        self._places = {}
        self._index()
        on, off = (self._agrees(keys) for keys in (_ON_MAIN, _OFF_MAIN))
        self._last_place = (0xFF if off else _PC_MAIN_KEYS) if on else 0

    def _index(self) -> None:
        # The plain column first: a key is found by its plain keysym before another one that has it with Shift.
        found = ((column, code, sym) for code, row in self.rows.items() for column, sym in enumerate(row) if sym)
        for column, code, sym in sorted(found):
            self._places.setdefault(sym, (code, column))

    def _agrees(self, keys: dict[int, int]) -> bool:
        """Whether at least half of `keys` have Linux' keycodes: half, as a user may have moved single keys."""
        found = [sym in self.rows.get(code, ()) for sym, code in keys.items() if sym in self._places]
        return 2 * sum(found) >= len(found)

    def code_of(self, key: PhysicalKey) -> int | None:
        """Find the keycode of a key of the wire: by its position, else by its keysym on a US keyboard."""
        code = key.evdev + _OFFSET
        return code if key.evdev <= self._last_place and code in self.rows else self.code_of_sym(key.keysym)

    def code_of_legend(self, key: PhysicalKey, layout: int) -> int | None:
        """Find the key that types, in a layout (from 0), the character that `key` is named after.

        A digit may need Shift. If no key types the character, the key at the position of `key` is returned.
        """
        legend = legend_of(key.vk) if layout < _LAYOUTS else ""
        columns = (0, 1) if legend[:1].isdigit() else (0,)
        for char in legend if legend == "=+" else legend[:1]:  # Windows calls this key "plus" in all layouts
            for column in columns:
                for code, row in self.rows.items():
                    if keysym(char) in self._columns(row, layout)[column : column + 1]:
                        return code
        return self.code_of(key)

    @staticmethod
    def _columns(row: Row, layout: int) -> Row:
        here = row[layout * _SECOND_LAYOUT :][:2]
        return here if not layout or any(here) else row[:2]  # a key with one layout has the same in all layouts

    def code_of_sym(self, sym: int) -> int | None:
        """Find the keycode with this keysym in any column."""
        place = self._places.get(sym)
        return None if place is None else place[0]

    def typing(self, pair: KeysymPair, layout: int) -> tuple[int, KeysymPair] | None:
        """The keycode that types the wanted keysym in a layout (0 or 1), and that key's keysyms; None if none does.

        Keys that need AltGr are not considered.
        """
        meant = pair.shifted if pair.wants_shift else pair.plain
        for code, row in self.rows.items():
            here = self._columns(row, layout)
            if meant in here:
                plain, shifted = (*here, 0)[:2]
                cased = {plain, shifted} == {pair.plain, pair.shifted}
                return code, KeysymPair(plain, shifted if cased else plain, here.index(meant) == 1)
        return None

    def spare(self) -> list[int]:
        """List the unused keycodes; first those that no keyboard has."""
        free = (code for code, row in self.rows.items() if not any(row) and code not in self.modifiers)
        return sorted(free, key=lambda code: (code in _PLACES, -code))


def pair_for(char: str) -> KeysymPair:
    """Return the keysyms of a key that types `char`: for a letter, lower and upper case."""
    if char in "\r\n\t":
        sym = _TAB if char == "\t" else _RETURN
        return KeysymPair(sym, sym, False)
    lower, upper = char.lower(), char.upper()
    if lower != upper and len(lower) == len(upper) == 1 and char in (lower, upper):
        return KeysymPair(keysym(lower), keysym(upper), char == upper)
    return KeysymPair(keysym(char), keysym(char), False)


def keysym(char: str) -> int:
    """Return the keysym of a character (X protocol, appendix A; keysymdef.h)."""
    code = ord(char)
    return code if 0x20 <= code <= 0x7E or 0xA0 <= code <= 0xFF else _UNICODE | code


def is_typable(char: str) -> bool:
    """Whether `char` has a keysym: of the control characters, only line ends and tabs have one."""
    return char in "\r\n\t" or not (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000)


def around(
    held: Collection[int], modifiers: Collection[int], shifts: Sequence[int], wants_shift: bool
) -> tuple[list[int], bool]:
    """Return the held keys to release while a character is typed, and whether to press Shift for it."""
    shifted = any(code in shifts for code in held)
    lifted = [code for code in held if code in modifiers and not (wants_shift and code in shifts)]
    return lifted, wants_shift and not shifted
