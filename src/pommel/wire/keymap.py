"""Finds keys by each of their names: words, the wire's virtual keys, QEMU's, Linux' and X11's numbers, Mac key codes.

Band: core, no I/O. The tables are in `keymap_tables`. Keys are physical: the key that is Q on a US keyboard is KeyQ,
whatever its legend is. Only `type_us` knows which character a key types.
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

# On a Mac these are switched by the lock state, because their key codes alone have no effect there.
LOCK_KEYS = frozenset({0x14, 0x90, 0x91})

_SHIFTED_CHARACTERS = {pair[1]: vk for vk, pair in US.items()}
_PLAIN_CHARACTERS = {pair[0]: vk for vk, pair in US.items()}

Chord = tuple[tuple[int, bool], ...]


@dataclass(frozen=True, slots=True)
class PhysicalKey:
    """One key. `code` is the browser's KeyboardEvent.code; `vk` with `extended` the wire's.

    `qcode` and `qnum` are QEMU's (the number is used in RFB's QEMU extended key event); `evdev` is Linux';
    `keysym` is X11's without Shift on a US keyboard; `mac` is the macOS virtual key code, None if Macs have no such
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
    """The key for a virtual key number; None if no known keyboard has it.

    `extended` is only used where it distinguishes two keys (Return and keypad Enter, left and right Ctrl
    and Alt): viewers differ in whether they set it on the arrows and similar keys.
    """
    vk, extended = ALIASES.get(vk, (vk, extended))
    return _BY_VK.get((vk, extended)) or _BY_VK.get((vk, not extended))


def find_qcode(qcode: str) -> PhysicalKey | None:
    """The key with this QEMU QKeyCode name."""
    return _BY_QCODE.get(qcode)


def legend_of(vk: int) -> str:
    """The legend of a US keyboard's key that types a character: plain and with Shift; "" for all other keys."""
    return US.get(vk, "") if vk != SPACE else ""


def keysym_of(vk: int, extended: bool = False, *, shift: bool = False) -> int | None:
    """The X11 keysym of a key on a US keyboard, the shifted one if Shift is down.

    An RFB server without QEMU's extension needs the shifted one. QEMU's own (with `lock-key-sync` on,
    its default) derives the state of Caps Lock from a letter's case and presses that key to match: give it 0
    for letters.
    """
    if shift and vk in US:
        return ord(US[vk][1])
    key = find_key(vk, extended)
    return key.keysym if key else None


def mac_keycode(vk: int, extended: bool = False) -> int | None:
    """The macOS virtual key code (HIToolbox, Events.h) of a key; None if Macs have no such key."""
    if vk in MAC_ONLY:
        return MAC_ONLY[vk]
    key = find_key(vk, extended)
    return key.mac if key else None


def parse_chord(text: str) -> Chord:
    """Parse keys pressed together, such as `cmd-shift-4`, `ctrl+alt+del`, `?` or a qcode: (vk, extended) each.

    They must be pressed in this order and released in the reverse order. For a character that needs Shift,
    Shift is included.

    Raises:
        UsageError: a name is unknown; the hint has the nearest known one.
    """
    chord: list[tuple[int, bool]] = []
    for name in _names_in(text.strip()):
        for key in _keys_called(name):
            if key not in chord:
                chord.append(key)
    return tuple(chord)


def type_us(char: str) -> tuple[int, bool] | None:
    """The virtual key that types `char` on a US keyboard, and whether with Shift; None if there is none."""
    if char in US_CONTROL:
        return US_CONTROL[char], False
    if char in _PLAIN_CHARACTERS:
        return _PLAIN_CHARACTERS[char], False
    if char in _SHIFTED_CHARACTERS:
        return _SHIFTED_CHARACTERS[char], True
    return None


def chord_of(char: str) -> Chord:
    """The keys that type `char` on a US keyboard, Shift first if needed; empty if there are none."""
    typed = type_us(char)
    if typed is None:
        return ()
    vk, shift = typed
    return ((SHIFT, False), (vk, False)) if shift else ((vk, False),)


def untypable(text: Iterable[str]) -> tuple[str, ...]:
    """The characters of `text` that a US keyboard cannot type, each once, in order."""
    return tuple(dict.fromkeys(char for char in text if type_us(char) is None))


def _names_in(text: str) -> list[str]:
    # A final - or + is that key itself, alone or after a separator.
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
    if typed := chord_of(name):
        return typed
    if not name:
        raise UsageError("a key name is missing", hint="write keys such as return, cmd-q or ctrl-alt-del")
    near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
    raise UsageError(
        f"there is no key called {name!r}",
        hint=f"did you mean {near[0]}?" if near else "names are such as return, esc, cmd, option, f1, a, kp_enter",
    )
