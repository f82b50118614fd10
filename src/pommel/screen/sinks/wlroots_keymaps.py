"""Keyboard maps for a virtual keyboard, as text of XKB, and the modifiers of keys. Band: core, no I/O.

A compositor does not derive modifiers from a virtual keyboard's keys, so they are derived here. Their bits are those of
X11's real modifiers, which every map of xkeyboard-config has in this order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# For a seat that has no keyboard of its own; the compositor reads the included files.
US_MAP = (
    'xkb_keymap { xkb_keycodes { include "evdev+aliases(qwerty)" }; xkb_types { include "complete" }; '
    'xkb_compat { include "complete" }; xkb_symbols { include "pc+us+inet(evdev)" }; };'
)
_SHIFT, _LOCK, _CONTROL, _ALT, _NUM, _SUPER, _LEVEL3 = 1, 2, 4, 8, 16, 64, 128
_RIGHT_ALT = 100
_HELD = {42: _SHIFT, 54: _SHIFT, 29: _CONTROL, 97: _CONTROL, 56: _ALT, 125: _SUPER, 126: _SUPER}  # evdev's codes
_LOCKED = {58: _LOCK, 69: _NUM}
_OFFSET = 8  # between XKB's keycodes and evdev's
# Codes of rare keys: some programs go by a key's place, and Escape's must not type a letter.
_FIRST_CODE = 120
MOST_CHARACTERS = 247 - _FIRST_CODE
_SPECIAL = {"\n": "Return", "\r": "Return", "\t": "Tab"}


def has_level3(keymap: str) -> bool:
    """Whether the right Alt key chooses the third level (AltGr) in a map."""
    found = re.search(r"key\s+<RALT>\s*\{[^}]*\}", keymap)
    return found is not None and "ISO_Level3_Shift" in found[0]


def depressed(held: Iterable[int], *, level3: bool) -> int:
    """Return the modifiers of the held keys, which are evdev's codes."""
    bits = 0
    for code in held:
        bits |= _HELD.get(code, 0)
        if code == _RIGHT_ALT:
            bits |= _LEVEL3 if level3 else _ALT
    return bits


def lock_of(code: int) -> int:
    """Return the modifier that a key switches on and off; 0 for other keys."""
    return _LOCKED.get(code, 0)


def map_for(characters: str) -> tuple[str, dict[str, int]]:
    """Return a map that has just these characters, at most `MOST_CHARACTERS` different ones, and their evdev codes."""
    codes = {char: _FIRST_CODE + index for index, char in enumerate(dict.fromkeys(characters))}
    names = "".join(f"<K{code}> = {code + _OFFSET};" for code in codes.values())
    symbols = "".join(
        f"key <K{code}> {{[{_SPECIAL.get(char) or f'U{ord(char):04X}'}]}};" for char, code in codes.items()
    )
    return (
        f"xkb_keymap {{ xkb_keycodes {{ minimum = 8; maximum = 255; {names} }}; "
        'xkb_types { include "complete" }; xkb_compat { include "complete" }; '
        f"xkb_symbols {{ {symbols} }}; }};"
    ), codes
