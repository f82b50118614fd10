"""The keys to press, in order, to type a character. Band: core, no I/O.

A virtual machine takes keys, not characters, so the guest is assumed to have a US keyboard layout.
"""

from __future__ import annotations

from collections.abc import Collection

from pommel.wire import keymap
from pommel.wire.keymap import PhysicalKey

Stroke = tuple[PhysicalKey, bool]  # a key, and whether it goes down

_SHIFTS = frozenset({"ShiftLeft", "ShiftRight"})
_MODIFIERS = _SHIFTS | {"ControlLeft", "ControlRight", "AltLeft", "AltRight", "MetaLeft", "MetaRight"}


def strokes(char: str, held: Collection[PhysicalKey]) -> list[Stroke] | None:
    """The strokes that type `char` while the keys `held` are down; None: no keys type it.

    A held Shift is used, or released for the moment if the character must not have it. Other modifiers are released
    too, because the viewer's AltGr has already made the character. Released keys are pressed again at the end.
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
