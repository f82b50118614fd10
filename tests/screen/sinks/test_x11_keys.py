"""Servers that number keys otherwise than Linux, as maps: such a server is not to be had here."""

from __future__ import annotations

import pytest

from pommel.screen.sinks.x11_keys import ServerKeys
from pommel.wire.keymap import KEYBOARD, PhysicalKey

MAIN = {9: (0xFF1B,), 22: (0xFF08,), 23: (0xFF09,), 36: (0xFF0D,), 65: (0x20,), 24: (0x61,), 38: (0x71,)}
LINUX = MAIN | {108: (0xFE03,), 111: (0xFF52,), 113: (0xFF51,), 114: (0xFF53,), 116: (0xFF54,), 132: ()}
XFREE86 = MAIN | {98: (0xFF52,), 100: (0xFF51,), 102: (0xFF53,), 104: (0xFF54,), 113: (0xFFEA,), 111: (0xFF61,)}
MAC = {61: (0xFF1B,), 59: (0xFF08,), 56: (0xFF09,), 44: (0xFF0D,), 57: (0x20,), 8: (0x61,), 20: (0x71,), 134: (0xFF52,)}


def the(code: str) -> PhysicalKey:
    return next(key for key in KEYBOARD if key.code == code)


@pytest.mark.parametrize(
    ("rows", "code", "keycode"),
    [
        (LINUX, "KeyQ", 24), (LINUX, "AltRight", 108), (LINUX, "ArrowUp", 111), (LINUX, "IntlYen", 132),
        (LINUX | {111: (0xFF55,), 112: (0xFF52,)}, "ArrowUp", 111),  # who swapped two keys has swapped them
        (XFREE86, "KeyQ", 24), (XFREE86, "ArrowUp", 98), (XFREE86, "AltRight", 113), (XFREE86, "PrintScreen", 111),
        (MAC, "KeyQ", 20), (MAC, "KeyA", 8), (MAC, "ArrowUp", 134), (MAC, "F24", None), (LINUX, "F24", None),
    ],
)  # fmt: skip
def test_a_key_by_place_where_the_server_counts_as_linux(
    rows: dict[int, tuple[int, ...]], code: str, keycode: int | None
) -> None:
    assert ServerKeys(rows).code_of(the(code)) == keycode


def test_keys_that_a_keyboard_has_are_the_last_to_be_borrowed() -> None:
    assert ServerKeys(LINUX | {255: (), 254: (), 130: (0,), 200: ()}).spare() == [255, 254, 200, 132, 130]
    assert ServerKeys(LINUX, frozenset({132})).spare() == []
