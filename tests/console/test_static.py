"""The page's own codec and keys, run in the browser against the vectors and tables that Python is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pommel.console.files import static_files
from pommel.wire import mouse
from pommel.wire.keymap import KEYBOARD, find_key
from pommel.wire.messages import KEY_FRAME, STREAM_BEGINS, CursorShape
from pommel.wire.mouse import TURN_MOST

from .conftest import Open
from .test_modifiers import PLATFORM

pytestmark = pytest.mark.asyncio(loop_scope="module")

VECTORS = json.loads((Path(__file__).parents[1] / "wire" / "vectors.json").read_text())["vectors"]
DECODED = {
    "Screen",
    "Picture",
    "Message",
    "KeyState",
    "Alert",
    "DisplayInfo",
    "MouseCursor",
    "DisplayList",
    "SetDisplay",
    "Video",
    "Pointer",
    "MouseKind",
    "Move",
}
ENCODED = {
    "Key", "KeyUnicode", "Mouse", "MouseWheel", "Compression", "Refresh", "Pause", "GetDisplays", "SetDisplay", "Abilities",
    "Shown", "Turn", "SideButton", "MoveBy",
}  # fmt: skip

DECODE = """async (vectors) => {
  const { decode } = await import(document.baseURI + "static/codec.js");
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return vectors.map(({ hex: head, fill }) => {
    const data = head + (fill ? fill[0].repeat(fill[1]) : "");
    const bytes = Uint8Array.from(data.match(/../g), (pair) => parseInt(pair, 16));
    // In the middle of a longer buffer, and followed by another command.
    const buffer = new Uint8Array(bytes.length + 20);
    buffer.set(bytes, 7);
    buffer.set([0, 18, 0, 5, 4], 7 + bytes.length);
    const found = [...decode(buffer.subarray(7, 7 + bytes.length + 5))];
    if (found[0].is === "Video") found[0].chunk = hex(found[0].chunk);
    if (found[0].rgba) found[0].rgba = hex(found[0].rgba);
    if (found[0].image) found[0].image = hex(found[0].image);
    if (found[0].body) found[0].body = hex(found[0].body);
    return found;
  });
}"""

ENCODE = """async (messages) => {
  const { encode } = await import(document.baseURI + "static/codec.js");
  const makers = {
    Key: (m) => encode.key(m.vk, m.down, m.extended),
    KeyUnicode: (m) => encode.keyUnicode(m.code_unit, m.down),
    Mouse: (m) => encode.mouse(m.x, m.y, m.button),
    MouseWheel: (m) => encode.wheel(m.x, m.y, m.delta),
    Compression: (m) => encode.compression(m.format, m.quality, m.scaling, m.frame_timer_ms),
    Refresh: () => encode.refresh(),
    Pause: (m) => encode.pause(m.paused),
    GetDisplays: () => encode.getDisplays(),
    SetDisplay: (m) => encode.setDisplay(m.id),
    Abilities: (m) => encode.abilities((m.bits & 8) !== 0),
    Shown: (m) => encode.shown(m.count),
    Turn: (m) => encode.turn(m.x, m.y, m.up, m.right),
    SideButton: (m) => encode.sideButton(m.x, m.y, m.button === 1, m.down),
    MoveBy: (m) => encode.moveBy(m.right, m.down, m.button),
  };
  return messages.map((m) => Array.from(makers[m.is](m), (byte) => byte.toString(16).padStart(2, "0")).join(""));
}"""


async def test_vectors_decode_in_the_page(open_page: Open) -> None:
    page = await open_page()
    vectors = [v for v in VECTORS if v["direction"] == "to_viewer"]
    known: list[Any] = await page.evaluate(DECODE, vectors)
    seen = set()
    for vector, found in zip(vectors, known, strict=True):
        wanted = dict(vector["message"])
        if "fill" in vector:
            wanted["rgba" if wanted["is"] == "Pointer" else "image"] += vector["fill"][0] * vector["fill"][1]
        assert found[1:] == [{"is": "KeyState", "bits": 4}], vector["name"]
        if found[0]["is"] == "Unknown":
            assert found[0]["type"] == int(vector["hex"][:4], 16)
            assert wanted["is"] not in DECODED, vector["name"]
        else:
            if wanted["is"] == "Video":
                flags = wanted.pop("flags")
                wanted |= {"key": bool(flags & KEY_FRAME), "begins": bool(flags & STREAM_BEGINS)}
            if wanted["is"] == "MouseKind":
                bits = wanted.pop("bits")
                wanted |= {"sides": bool(bits & mouse.HAS_SIDES), "relative": bool(bits & mouse.RELATIVE)}
            if wanted["is"] == "Move":
                wanted |= {"toX": wanted.pop("to_x"), "toY": wanted.pop("to_y")}
            if wanted["is"] == "Pointer":
                wanted |= {"hotX": wanted.pop("hot_x"), "hotY": wanted.pop("hot_y")}
            assert found[0] == wanted, vector["name"]
            seen.add(wanted["is"])
    assert seen == DECODED


async def test_vectors_encode_in_the_page(open_page: Open) -> None:
    page = await open_page()
    vectors = [v for v in VECTORS if v["message"]["is"] in ENCODED and v["direction"] == "to_endpoint"]
    # The page always says scaling and timer; the shorter forms are other viewers'.
    vectors = [v for v in vectors if v["message"].get("frame_timer_ms", 1) is not None]
    # Nor does it say less than it can.
    vectors = [v for v in vectors if v["message"].get("bits", 423) & 423 == 423]
    assert {v["message"]["is"] for v in vectors} == ENCODED
    assert await page.evaluate(ENCODE, [v["message"] for v in vectors]) == [v["hex"] for v in vectors]


async def test_bytes_that_the_page_refuses(open_page: Open) -> None:
    page = await open_page()
    refused = {
        "0007 00": "cut short",
        "0007 0003": "not true",
        "0007 0009 0500 02d0": "not true",
        "0007 0006 0500": "cannot be 6 bytes",
        "0003 0006 0000": "cannot be 6 bytes",
        "000b 000a 0002 0001 0001": "a display list's length",
        "000b 0006 0000": "cannot be 6 bytes",
        "001b 0008 0000": "a JUMBO has no header",
        "001b 0004 00000008 0003 0000": "a JUMBO has no header",
        "001b 0008 00000008 001b 0000 00000000": "a JUMBO in a JUMBO",
        "001b 0008 00000009 0003 0000 00000000": "not true",
        "00d0 000f 0001 0001 0001 0001 0001 00": "cannot be 15 bytes",
        "00cb 000a 0001 0001 0000": "cannot be 10 bytes",
        "00cb 000c 0101 0000 0000 0000": "a pointer of 257×0 pixels",
        "00cb 000f 0001 0001 0000 0000 ffffff": "a pointer's length",
        "00cb 0011 0001 0001 0000 0000 ffffffffff": "a pointer's length",
    }
    decode = """async (hex) => {
      const { decode, WireError } = await import(document.baseURI + "static/codec.js");
      const bytes = Uint8Array.from(hex.replaceAll(" ", "").match(/../g), (pair) => parseInt(pair, 16));
      try { return [...decode(bytes)]; } catch (error) { return [error instanceof WireError, error.message]; }
    }"""
    for data, said in refused.items():
        refusal = await page.evaluate(decode, data)
        assert refusal[0] is True
        assert said in refusal[1], data


async def test_the_page_s_keys_are_the_keymap_s(open_page: Open) -> None:
    page = await open_page()
    keys = await page.evaluate("import(document.baseURI + 'static/keys.js').then((module) => module.KEYS)")
    found = {code: (key[0], len(key) == 2) for code, key in keys.items()}
    extra = {"OSLeft": "MetaLeft", "OSRight": "MetaRight"}
    for key in KEYBOARD:
        assert found.pop(key.code) == (key.vk, key.extended), key.code
    for code, same in extra.items():
        key = find_key(*found.pop(code))
        assert key is not None
        assert key.code == same
    assert found == {}


async def test_the_page_s_cursors_are_the_wire_s(open_page: Open) -> None:
    page = await open_page()
    cursors = await page.evaluate("import(document.baseURI + 'static/codec.js').then((module) => module.CURSORS)")
    assert len(cursors) == len(CursorShape)
    for shape in CursorShape:
        name = shape.name.lower().replace("_", "-")
        assert cursors[shape] == {"arrow": "default"}.get(name, name)
        supported = await page.evaluate("(name) => CSS.supports('cursor', name)", cursors[shape])
        assert supported, name


WHEELS = {  # what a browser says of a turn (deltaMode, deltaX, deltaY, wheelDeltaX, wheelDeltaY, shiftKey): up, right
    "a notch, Chromium on Windows": ((0, 0, 100, 0, -120, False), (-120, 0)),
    "a notch, Chromium on Linux": ((0, 0, -120, 0, 120, False), (120, 0)),
    "a notch, zoomed to 300 %": ((0, 0, 40, 0, -120, False), (-120, 0)),
    "a notch, accelerated by a Mac": ((0, 0, -4.000244140625, 0, 120, False), (120, 0)),
    "an eighth of a notch": ((0, 0, 15, 0, -15, False), (-15, 0)),
    "a touchpad": ((0, 0, 5, 0, 0, False), (-6, 0)),
    "a touchpad both ways": ((0, -10, 5, 0, 0, False), (-6, -12)),
    "a tilted wheel": ((0, 120, 0, -120, 0, False), (0, 120)),
    "lines, Firefox": ((1, 0, 3, 0, 0, False), (-120, 0)),
    "lines sideways, Firefox": ((1, -3, 0, 0, 0, False), (0, -120)),
    "a notch, Firefox on Linux": ((1, 0, 6, 0, -120, False), (-120, 0)),
    "a notch sideways, Firefox on Linux": ((1, 2, 0, -120, 0, False), (0, 120)),
    "a page": ((2, 0, 1, 0, 0, False), (-360, 0)),
    "turned sideways by the browser, as Shift is down": ((0, 120, 0, -120, 0, True), (-120, 0)),
    "of a touchpad on a Mac": ((0, 0, 40, 0, -120, False), (-48, 0)),
}
TURNED = """(events) => import(document.baseURI + "static/wheel.js").then(({ turned, Wheel }) => {
  const asked = events.map(([deltaMode, deltaX, deltaY, wheelDeltaX, wheelDeltaY, shiftKey]) => (
    { deltaMode, deltaX, deltaY, wheelDeltaX, wheelDeltaY, shiftKey }));
  const wheel = new Wheel();
  return [asked.map(turned), asked.map((event) => wheel.take(event))];
})"""


async def test_wheels_of_all_kinds(open_page: Open) -> None:
    page = await open_page()
    for platform in ("Linux x86_64", "MacIntel"):
        if platform == "MacIntel":
            await page.add_init_script(PLATFORM % platform)
            await page.reload()
        kinds = {name: case for name, case in WHEELS.items() if ("on a Mac" in name) == (platform == "MacIntel")}
        told, _ = await page.evaluate(TURNED, [asked for asked, _ in kinds.values()])
        for (name, (_, wanted)), found in zip(kinds.items(), told, strict=True):
            assert found == pytest.approx(wanted), name


async def test_no_part_of_a_step_is_lost_and_what_no_wheel_says_is_cut(open_page: Open) -> None:
    page = await open_page()
    _, taken = await page.evaluate(TURNED, [[0, 0.7, -0.3, 0, 0, False]] * 1000)
    assert abs(sum(one["up"] for one in taken) - 360) <= 1 and abs(sum(one["right"] for one in taken) - 840) <= 1
    _, taken = await page.evaluate(TURNED, [[0, 1e300, -1e9, 0, 0, False], [0, None, 120, 0, -120, False]])
    assert taken == [{"up": TURN_MOST, "right": TURN_MOST}, {"up": -120, "right": 0}]


async def test_no_script_goes_by_a_clock_that_people_set() -> None:
    """It may jump by hours. What is shown of a time of day is made of a Date of its own."""
    for name, (data, _) in static_files().items():
        assert name.endswith(".mjs") or b"Date.now" not in data, name  # xterm.js has it, for animations and its log
