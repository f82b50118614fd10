"""The flags of a Mac's key events, and the effect of its Caps Lock. Band: core, no I/O.

Every event has the flags of all modifiers that are down (`CGEventSetFlags`), because macOS would otherwise take them
from keys that somebody else holds. The flags are those of CGEventTypes.h, with the bits of IOLLEvent.h that tell left
from right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CAPS, SHIFT, CONTROL, OPTION, COMMAND = 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20
KEYPAD, FN = 1 << 21, 1 << 23

CAPS_LOCK_KEY = 0x14  # the wire's virtual key
RETURN, TAB = 0x24, 0x30

# Key codes of HIToolbox's Events.h; the low bits are NX_DEVICE…KEYMASK.
_MODIFIERS = {
    0x3B: CONTROL | 0x1,
    0x38: SHIFT | 0x2,
    0x3C: SHIFT | 0x4,
    0x37: COMMAND | 0x8,
    0x36: COMMAND | 0x10,
    0x3A: OPTION | 0x20,
    0x3D: OPTION | 0x40,
    0x3E: CONTROL | 0x2000,
}
_ARROWS = (0x7B, 0x7C, 0x7D, 0x7E)
_NUMBER_PAD = (0x41, 0x43, 0x45, 0x47, 0x4B, 0x4C, 0x4E, 0x51, *range(0x52, 0x5A), 0x5B, 0x5C)
# Keys that a laptop has on its Fn layer: F1 to F20, help, home, page up, forward delete, end, page down.
_FUNCTIONS = (
    *(0x7A, 0x78, 0x63, 0x76, 0x60, 0x61, 0x62, 0x64, 0x65, 0x6D, 0x67, 0x6F, 0x69, 0x6B, 0x71, 0x6A, 0x40, 0x4F),
    *(0x50, 0x5A, 0x72, 0x73, 0x74, 0x75, 0x77, 0x79),
)
# A real keyboard's events of these keys have these flags, and shortcuts such as Ctrl-Left need them.
_OWN_FLAGS = {
    **dict.fromkeys(_ARROWS, KEYPAD | FN),
    **dict.fromkeys(_NUMBER_PAD, KEYPAD),
    **dict.fromkeys(_FUNCTIONS, FN),
}
_CLICK_S, _CLICK_PT = 0.5, 5.0


def modifier_flags(held: Iterable[int]) -> int:
    """Return the flags of the modifiers among these key codes."""
    flags = 0
    for keycode in held:
        flags |= _MODIFIERS.get(keycode, 0)
    return flags


def own_flags(keycode: int) -> int:
    """Return the flags that a key's events always have."""
    return _OWN_FLAGS.get(keycode, 0)


@dataclass(slots=True)
class CapsLock:
    """Our Caps Lock. Programs cannot set the Mac's own, so ours is the opposite of it while `flipped`."""

    flipped: bool = False

    def flip(self) -> None:
        """Turn it on or off."""
        self.flipped = not self.flipped

    def seen(self, real: bool) -> bool:
        """Whether ours is on when the Mac's own is `real`."""
        return real != self.flipped


@dataclass(slots=True)
class Clicks:
    """Counts clicks in a row: macOS expects the count in each event, from the program that posts it."""

    count: int = 0
    _button: int = 0
    _at: tuple[float, float] = (0.0, 0.0)
    _s: float = float("-inf")

    def press(self, button: int, at: tuple[float, float], now_s: float) -> int:
        """Return the count for a press of `button` at a point of the desktop."""
        near = abs(at[0] - self._at[0]) <= _CLICK_PT and abs(at[1] - self._at[1]) <= _CLICK_PT
        again = button == self._button and near and now_s - self._s <= _CLICK_S
        self.count = self.count + 1 if again else 1
        self._button, self._at, self._s = button, at, now_s
        return self.count
