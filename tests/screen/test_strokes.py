from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.screen.strokes import strokes
from pommel.wire.keymap import KEYBOARD, find_key, type_us

BY_CODE = {key.code: key for key in KEYBOARD}
SHIFT = BY_CODE["ShiftLeft"]
MODIFIERS = ["ShiftLeft", "ShiftRight", "ControlLeft", "ControlRight", "AltLeft", "AltRight", "MetaLeft", "MetaRight"]


def written(char: str, *held: str) -> list[str]:
    done = strokes(char, [BY_CODE[code] for code in held])
    assert done is not None
    return [("+" if down else "-") + key.code for key, down in done]


def test_a_plain_character_is_one_key() -> None:
    assert written("a") == ["+KeyA", "-KeyA"]
    assert written("\n") == ["+Enter", "-Enter"]


def test_a_shifted_character_brings_shift() -> None:
    assert written("A") == ["+ShiftLeft", "+KeyA", "-KeyA", "-ShiftLeft"]
    assert written("~") == ["+ShiftLeft", "+Backquote", "-Backquote", "-ShiftLeft"]


def test_a_shift_that_is_held_is_used() -> None:
    assert written("A", "ShiftRight") == ["+KeyA", "-KeyA"]


def test_a_shift_that_must_not_be_is_lifted() -> None:
    assert written("/", "ShiftLeft") == ["-ShiftLeft", "+Slash", "-Slash", "+ShiftLeft"]


def test_altgr_that_made_the_character_is_lifted() -> None:
    assert written("@", "AltRight") == [
        "-AltRight", "+ShiftLeft", "+Digit2", "-Digit2", "-ShiftLeft", "+AltRight",
    ]  # fmt: skip


def test_other_held_keys_are_left_alone() -> None:
    assert written("a", "KeyB") == ["+KeyA", "-KeyA"]


@pytest.mark.parametrize("char", ["é", "😀", "\ufffd", "\x00"])
def test_what_no_key_types_is_said_to_be_so(char: str) -> None:
    assert strokes(char, []) is None


@given(st.sampled_from(string.printable[:95]), st.sets(st.sampled_from(MODIFIERS)))
def test_the_key_sees_the_right_shift_and_all_is_as_before_in_the_end(char: str, held: set[str]) -> None:
    down = set(held)
    seen = []
    done = strokes(char, [BY_CODE[code] for code in sorted(held)])
    assert done is not None
    for key, press in done:
        if press and key.code not in MODIFIERS:
            seen.append((key.code, set(down)))
        (down.add if press else down.discard)(key.code)
    vk, shifted = type_us(char) or (0, False)
    key = find_key(vk)
    ((code, modifiers),) = seen
    assert key is not None and code == key.code
    assert bool(modifiers & {"ShiftLeft", "ShiftRight"}) == shifted
    assert not modifiers - {"ShiftLeft", "ShiftRight"}
    assert down == held
