"""Which keys to press, and in what order, to type a character. Band: core, no I/O.

A US keyboard is assumed on the other side: a virtual machine has keys, not characters.
"""

from __future__ import annotations

from collections.abc import Collection

from pommel.wire import keymap
from pommel.wire.keymap import PhysicalKey

Stroke = tuple[PhysicalKey, bool]  # a key, and whether it goes down

_SHIFTS = frozenset({"ShiftLeft", "ShiftRight"})
_MODIFIERS = _SHIFTS | {"ControlLeft", "ControlRight", "AltLeft", "AltRight", "MetaLeft", "MetaRight"}


def strokes(char: str, held: Collection[PhysicalKey]) -> list[Stroke] | None:
    """Return the strokes that type `char` while the keys `held` are down, or None if no keys do.

    A Shift that is held is used, or lifted for the moment when the character must not have it; other modifiers are
    lifted too (the viewer's AltGr made the character already). All that is lifted is pressed again in the end.
    """
    typed = keymap.type_us(char)
    if typed is None:
        return None
    vk, wants_shift = typed
    key, shift = _key(vk), _key(keymap.SHIFT)
    shifted = any(one.code in _SHIFTS for one in held)
    lifted = [one for one in held if one.code in _MODIFIERS and not (wants_shift and one.code in _SHIFTS)]
    press_shift = wants_shift and not shifted
    return [
        *((one, False) for one in lifted),
        *([(shift, True)] if press_shift else []),
        (key, True),
        (key, False),
        *([(shift, False)] if press_shift else []),
        *((one, True) for one in lifted),
    ]


def _key(vk: int) -> PhysicalKey:
    key = keymap.find_key(vk)
    if key is None:  # the US layout names only keys of the keyboard
        raise LookupError(f"no key has virtual key number {vk:#x}")
    return key
