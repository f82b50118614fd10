"""Keys by every name, against the reference's own lists, X11's header and a real QEMU."""

from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel import process
from pommel.errors import UsageError
from pommel.wire import keymap
from pommel.wire.keymap import (
    KEYBOARD,
    find_key,
    find_qcode,
    keysym_of,
    legend_of,
    mac_keycode,
    parse_chord,
    type_us,
    untypable,
)

CMD, SHIFT, CTRL, OPTION = (0x5B, True), (0x10, False), (0x11, False), (0x12, False)

# The macOS table as MeshCentral's agent has it (virtual key, Mac key code), with the corrections of the plus and minus
# of the keypad and of the right Command key, and with what that agent leaves out (from A0 on, but for BA to DE).
MAC = """
41:00 42:0B 43:08 44:02 45:0E 46:03 47:05 48:04 49:22 4A:26 4B:28 4C:25 4D:2E 4E:2D 4F:1F 50:23 51:0C 52:0F 53:01
54:11 55:20 56:09 57:0D 58:07 59:10 5A:06 30:1D 31:12 32:13 33:14 34:15 35:17 36:16 37:1A 38:1C 39:19
08:33 09:30 0C:47 0D:24 10:38 11:3B 12:3A 13:72 14:39 15:68 1B:35 20:31 21:74 22:79 23:77 24:73 25:7B 26:7E 27:7C
28:7D 29:72 2B:72 2C:72 2D:72 2F:72 2E:75 03:35 5B:37 5C:36 5D:3A
60:52 61:53 62:54 63:55 64:56 65:57 66:58 67:59 68:5B 69:5C 6A:43 6B:45 6C:2B 6D:4E 6E:41 6F:4B
70:7A 71:78 72:63 73:76 74:60 75:61 76:62 77:64 78:65 79:6D 7A:67 7B:6F 7C:69 7D:6B 7E:71 7F:6A 80:40 81:4F 82:50 83:5A
BA:29 BB:18 BC:2B BD:1B BE:2F BF:2C C0:32 DB:21 DC:2A DD:1E DE:27
A0:38 A1:3C A2:3B A3:3E A4:3A A5:3D E0:37 E1:3D E2:0A AD:4A AE:49 AF:48
"""


@pytest.mark.parametrize("pair", MAC.split())
def test_mac_key_codes(pair: str) -> None:
    vk, code = (int(part, 16) for part in pair.split(":"))
    assert mac_keycode(vk) == code


def test_extended_tells_keys_apart_where_it_matters_and_only_there() -> None:
    assert mac_keycode(0x0D, True) == 0x4C, "keypad Enter"
    assert (mac_keycode(0x11, True), mac_keycode(0x12, True)) == (0x3E, 0x3D)
    assert find_key(0x25, False) is find_key(0x25, True) is find_qcode("left")
    assert find_key(0x5B, False) is find_qcode("meta_l")
    assert find_key(0xFF) is None
    assert mac_keycode(0xFF) is None


def test_the_mac_keys_of_a_pc_keyboard() -> None:
    assert find_key(*CMD) is find_qcode("meta_l")
    assert find_key(*OPTION) is find_qcode("alt")


def test_no_key_has_two_rows() -> None:
    for column in ("code", "qcode", "qnum"):
        values = [getattr(key, column) for key in KEYBOARD]
        assert len(values) == len(set(values)), column
    assert len({(key.vk, key.extended) for key in KEYBOARD}) == len(KEYBOARD)
    names = [name for key in KEYBOARD for name in key.names]
    assert len(names) == len(set(names))


def test_qemu_reads_every_number_as_the_key_we_mean() -> None:
    """QEMU's own trace says which QKeyCode it makes of each number."""
    steps: list[dict[str, object]] = [{"execute": "qmp_capabilities"}]
    for key in KEYBOARD:
        for down in (True, False):
            data = {"down": down, "key": {"type": "number", "data": key.qnum}}
            steps.append({"execute": "input-send-event", "arguments": {"events": [{"type": "key", "data": data}]}})
    steps.append({"execute": "quit"})
    script = "\n".join(map(json.dumps, steps)).encode()
    argv = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-display", "none", "-nodefaults", "-qmp", "stdio"]
    ran = process.run([*argv, "-trace", "input_event_key_qcode"], input=script, timeout_s=60)
    seen = re.findall(r"key qcode (\w+), down 1", ran.output)
    newer = {f"f{number}" for number in range(13, 25)}  # QEMU knows these from 8.0 on
    assert len(seen) == len(KEYBOARD)
    for key, qcode in zip(KEYBOARD, seen, strict=True):
        assert qcode == key.qcode or (key.qcode in newer and qcode == "unmapped")


def test_evdev_codes_are_linux_s() -> None:
    """By input-event-codes.h."""
    names = {
        "esc": 1, "a": 30, "less": 86, "f12": 88, "ro": 89, "hiragana": 91, "henkan": 92, "katakanahiragana": 93,
        "muhenkan": 94, "kp_enter": 96, "ctrl_r": 97, "kp_divide": 98, "print": 99, "alt_r": 100, "home": 102, "up": 103,
        "pgup": 104, "left": 105, "right": 106, "end": 107, "down": 108, "pgdn": 109, "insert": 110, "delete": 111,
        "audiomute": 113, "volumedown": 114, "volumeup": 115, "kp_equals": 117, "pause": 119, "kp_comma": 121, "lang1": 122,
        "lang2": 123, "yen": 124, "meta_l": 125, "meta_r": 126, "compose": 127, "help": 138, "calculator": 140, "sleep": 142,
        "mail": 155, "ac_bookmarks": 156, "computer": 157, "ac_back": 158, "ac_forward": 159, "audionext": 163,
        "audioplay": 164, "audioprev": 165, "audiostop": 166, "ac_home": 172, "ac_refresh": 173, "f13": 183, "f24": 194,
        "mediaselect": 226,
    }  # fmt: skip
    assert {key.qcode: key.evdev for key in KEYBOARD if key.qcode in names} == names
    others = [key for key in KEYBOARD if key.qcode not in names and not key.qcode.startswith("f")]
    assert all(key.evdev == key.qnum <= 0x58 for key in others), "a PC keyboard's first 88 are the same"


def test_the_keys_of_other_keyboards_have_places_of_their_own() -> None:
    assert find_key(0xDC, False) is find_qcode("backslash") and find_key(0xDC, True) is find_qcode("yen")
    assert find_key(0x15, False) is find_qcode("lang1") and find_key(0x15, True) is find_qcode("katakanahiragana")
    assert find_key(0xF3) is find_key(0xF4) is find_qcode("grave_accent")
    assert find_key(0xE2) is find_qcode("less") and find_key(0xC1) is find_qcode("ro")


def test_legends_are_of_keys_that_type() -> None:
    assert (legend_of(0x41), legend_of(0x31), legend_of(0xBB)) == ("aA", "1!", "=+")
    assert legend_of(0x20) == legend_of(0x0D) == legend_of(0x10) == legend_of(0x60) == ""


def test_keysyms_are_x11s() -> None:
    names = {
        "esc": 0xFF1B, "ret": 0xFF0D, "backspace": 0xFF08, "tab": 0xFF09, "spc": 0x20, "a": 0x61, "0": 0x30,
        "shift": 0xFFE1, "shift_r": 0xFFE2, "ctrl": 0xFFE3, "ctrl_r": 0xFFE4, "alt": 0xFFE9, "alt_r": 0xFFEA,
        "meta_l": 0xFFEB, "meta_r": 0xFFEC, "caps_lock": 0xFFE5, "f1": 0xFFBE, "f12": 0xFFC9, "f24": 0xFFD5,
        "insert": 0xFF63, "delete": 0xFFFF, "home": 0xFF50, "end": 0xFF57, "pgup": 0xFF55, "pgdn": 0xFF56,
        "left": 0xFF51, "up": 0xFF52, "right": 0xFF53, "down": 0xFF54, "kp_enter": 0xFF8D, "kp_0": 0xFFB0,
        "kp_9": 0xFFB9, "kp_add": 0xFFAB, "kp_decimal": 0xFFAE, "print": 0xFF61, "audiomute": 0x1008FF12,
    }  # fmt: skip
    for qcode, keysym in names.items():
        key = find_qcode(qcode)
        assert key is not None
        assert key.keysym == keysym, qcode


def test_keysyms_with_shift() -> None:
    assert keysym_of(0x41, shift=True) == ord("A")
    assert keysym_of(0x31, shift=True) == ord("!")
    assert keysym_of(0x41) == ord("a")
    assert keysym_of(0x70, shift=True) == 0xFFBE
    assert keysym_of(0x0D, True) == 0xFF8D
    assert keysym_of(0xFF) is None


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", ((0x41, False),)),
        ("A", ((0x41, False),)),
        ("return", ((0x0D, False),)),
        ("ret", ((0x0D, False),)),
        ("esc", ((0x1B, False),)),
        ("kp_enter", ((0x0D, True),)),
        ("grave_accent", ((0xC0, False),)),
        ("pgup", ((0x21, True),)),
        ("Cmd-Shift-4", (CMD, SHIFT, (0x34, False))),
        ("cmd-q", (CMD, (0x51, False))),
        ("meta_l-q", (CMD, (0x51, False))),
        ("cmd-option-esc", (CMD, OPTION, (0x1B, False))),
        ("ctrl+alt+delete", (CTRL, OPTION, (0x2E, True))),
        ("ctrl-cmd-q", (CTRL, CMD, (0x51, False))),
        ("cmd-?", (CMD, SHIFT, (0xBF, False))),
        ("cmd-shift-?", (CMD, SHIFT, (0xBF, False))),
        ("-", ((0xBD, False),)),
        ("cmd--", (CMD, (0xBD, False))),
        ("cmd-minus", (CMD, (0xBD, False))),
        ("cmd-+", (CMD, SHIFT, (0xBB, False))),
        ("cmd++", (CMD, SHIFT, (0xBB, False))),
        ("cmd-plus", (CMD, SHIFT, (0xBB, False))),
        ("+", (SHIFT, (0xBB, False))),
        (" f1 ", ((0x70, False),)),
    ],
)
def test_chords(text: str, keys: tuple[tuple[int, bool], ...]) -> None:
    assert parse_chord(text) == keys


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("cmd-retrun", "'retrun'", "did you mean return?"),
        ("commnd-q", "'commnd'", "did you mean command?"),
        ("é", "'é'", "names are such as"),
        ("", "a key name is missing", "cmd-q"),
        ("cmd--q", "a key name is missing", "cmd-q"),
        ("-q", "a key name is missing", "cmd-q"),
        ("ctrl-", "a key name is missing", "cmd-q"),
    ],
)
def test_chords_that_are_none(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        parse_chord(text)
    assert hint in (refused.value.hint or "")


@given(st.text(max_size=12))
def test_law_any_text_is_keys_or_a_usage_error(text: str) -> None:
    try:
        assert parse_chord(text)
    except UsageError as refused:
        assert refused.hint


@given(st.lists(st.sampled_from(sorted(name for key in KEYBOARD for name in key.names)), min_size=1, max_size=4))
def test_law_every_name_is_read_in_any_chord(names: list[str]) -> None:
    keys = [(key.vk, key.extended) for name in names for key in KEYBOARD if name in key.names]
    assert parse_chord("-".join(names)) == tuple(dict.fromkeys(keys))


def test_a_us_keyboard_types_all_of_ascii_that_prints() -> None:
    shifted = {char for char in string.printable if (typed := type_us(char)) and typed[1]}
    assert shifted == set(string.ascii_uppercase + '~!@#$%^&*()_+{}|:"<>?')
    assert untypable(string.ascii_letters + string.digits + string.punctuation + " \n\r\t") == ()


def test_characters_that_cannot_be_typed_are_listed_once() -> None:
    assert untypable("née à Łódź à 😀\0") == ("é", "à", "Ł", "ó", "ź", "😀", "\0")
    assert type_us("é") is None
    assert type_us("") is None
    assert type_us("ab") is None


def test_every_typed_key_is_on_the_keyboard() -> None:
    assert all(find_key(typed[0]) for char in string.printable if (typed := type_us(char)))
    assert {key.vk for key in KEYBOARD if key.qcode.endswith("_lock")} == keymap.LOCK_KEYS
