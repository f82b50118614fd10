"""Keys by every name: what people type, the wire's virtual keys, QEMU's, Linux' and X11's numbers, a Mac's key codes.

Band: core, no I/O. The tables are in `keymap_tables`; this file only looks up. Keys are physical: the one
that is Q on a US keyboard is KeyQ whatever is printed on it. Only `type_us` knows what a key types.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pommel.errors import UsageError
from pommel.wire.keymap_tables import ALIASES, KEYS, MAC_ONLY, US, US_CONTROL

SHIFT = 0x10
SPACE = 0x20

# A Mac's sink switches these through the lock state; their key codes alone do nothing to it.
LOCK_KEYS = frozenset({0x14, 0x90, 0x91})

_SHIFTED_CHARACTERS = {pair[1]: vk for vk, pair in US.items()}
_PLAIN_CHARACTERS = {pair[0]: vk for vk, pair in US.items()}

Chord = tuple[tuple[int, bool], ...]


@dataclass(frozen=True, slots=True)
class PhysicalKey:
    """One key. `code` is the browser's KeyboardEvent.code; `vk` with `extended` the wire's.

    `qcode` and `qnum` are QEMU's (the number is what RFB's QEMU extended key event carries); `evdev` is Linux';
    `keysym` is X11's without Shift on a US keyboard; `mac` is the macOS virtual key code, None where Macs have no such
    key.
    """

    code: str
    vk: int
    extended: bool
    qcode: str
    qnum: int
    evdev: int
    keysym: int
    mac: int | None
    names: tuple[str, ...]


def _read(table: str) -> tuple[PhysicalKey, ...]:
    rows = (line.split() for line in table.strip().splitlines()[1:])
    return tuple(
        PhysicalKey(
            code,
            int(vk, 16),
            extended == "x",
            qcode,
            int(qnum, 16),
            int(evdev),
            int(keysym, 16),
            None if mac == "-" else int(mac, 16),
            (qcode, *names),
        )
        for code, vk, extended, qcode, qnum, evdev, keysym, mac, *names in rows
    )


KEYBOARD: tuple[PhysicalKey, ...] = _read(KEYS)
_BY_VK = {(key.vk, key.extended): key for key in KEYBOARD}
_BY_NAME = {name: key for key in KEYBOARD for name in key.names}
_BY_QCODE = {key.qcode: key for key in KEYBOARD}


def find_key(vk: int, extended: bool = False) -> PhysicalKey | None:
    """Find the key a virtual key number means; None if no keyboard we know has it.

    `extended` decides only where it tells two keys apart (Return and keypad Enter, left and right Ctrl
    and Alt): viewers differ in whether they set it on the arrows and the like.
    """
    vk, extended = ALIASES.get(vk, (vk, extended))
    return _BY_VK.get((vk, extended)) or _BY_VK.get((vk, not extended))


def find_qcode(qcode: str) -> PhysicalKey | None:
    """Find the key with this QEMU QKeyCode name."""
    return _BY_QCODE.get(qcode)


def legend_of(vk: int) -> str:
    """Give what a US keyboard has printed on a key that types: plain and with Shift; "" for all other keys."""
    return US.get(vk, "") if vk != SPACE else ""


def keysym_of(vk: int, extended: bool = False, *, shift: bool = False) -> int | None:
    """Give the X11 keysym of a key on a US keyboard, the shifted one if Shift is down.

    An RFB server without QEMU's extension wants it already shifted. QEMU's own (with `lock-key-sync` on,
    its default) takes a letter's case as a report on Caps Lock and presses that key to agree: give it 0
    for letters.
    """
    if shift and vk in US:
        return ord(US[vk][1])
    key = find_key(vk, extended)
    return key.keysym if key else None


def mac_keycode(vk: int, extended: bool = False) -> int | None:
    """Give the macOS virtual key code (HIToolbox, Events.h) of a key; None if Macs have no such key."""
    if vk in MAC_ONLY:
        return MAC_ONLY[vk]
    key = find_key(vk, extended)
    return key.mac if key else None


def parse_chord(text: str) -> Chord:
    """Read keys pressed together, such as `cmd-shift-4`, `ctrl+alt+del`, `?` or a qcode: (vk, extended) each.

    They are to be pressed in this order and released in the reverse. A character that needs Shift brings
    it along.

    Raises:
        UsageError: a name is not known; the hint has the nearest that is.
    """
    chord: list[tuple[int, bool]] = []
    for name in _names_in(text.strip()):
        for key in _keys_called(name):
            if key not in chord:
                chord.append(key)
    return tuple(chord)


def type_us(char: str) -> tuple[int, bool] | None:
    """Give the virtual key and whether Shift is held to type `char` on a US keyboard; None if none does."""
    if char in US_CONTROL:
        return US_CONTROL[char], False
    if char in _PLAIN_CHARACTERS:
        return _PLAIN_CHARACTERS[char], False
    if char in _SHIFTED_CHARACTERS:
        return _SHIFTED_CHARACTERS[char], True
    return None


def untypable(text: Iterable[str]) -> tuple[str, ...]:
    """List the characters of `text` that a US keyboard cannot type, each once, in order."""
    return tuple(dict.fromkeys(char for char in text if type_us(char) is None))


def _names_in(text: str) -> list[str]:
    # A last - or + is that key itself, be it alone or after a separator.
    if text in ("-", "+"):
        return [text]
    if re.fullmatch(r".+[-+][-+]", text):
        return [*re.split(r"[-+]", text[:-2]), text[-1]]
    return re.split(r"[-+]", text)


def _keys_called(name: str) -> Chord:
    known = _BY_NAME.get(name.lower())
    if known is not None:
        return ((known.vk, known.extended),)
    if name == "plus":
        name = "+"
    if typed := type_us(name):
        vk, shift = typed
        return ((SHIFT, False), (vk, False)) if shift else ((vk, False),)
    if not name:
        raise UsageError("a key name is missing", hint="write keys such as return, cmd-q or ctrl-alt-del")
    near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
    raise UsageError(
        f"there is no key called {name!r}",
        hint=f"did you mean {near[0]}?" if near else "names are such as return, esc, cmd, option, f1, a, kp_enter",
    )
