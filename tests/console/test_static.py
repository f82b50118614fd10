"""The page's own codec and keys, run in the browser against the vectors and tables that Python is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pommel.wire.keymap import KEYBOARD, find_key
from pommel.wire.messages import KEY_FRAME, STREAM_BEGINS, CursorShape

from .conftest import Open

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
}
ENCODED = {
    "Key", "KeyUnicode", "Mouse", "MouseWheel", "Compression", "Refresh", "Pause", "GetDisplays", "SetDisplay", "Abilities",
    "Shown",
}  # fmt: skip

DECODE = """async (vectors) => {
  const { decode } = await import("/static/codec.js");
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
  const { encode } = await import("/static/codec.js");
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
    vectors = [v for v in vectors if v["message"].get("bits", 39) & 39 == 39]
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
        "00cb 000a 0001 0001 0000": "cannot be 10 bytes",
        "00cb 000c 0101 0000 0000 0000": "a pointer of 257×0 pixels",
        "00cb 000f 0001 0001 0000 0000 ffffff": "a pointer's length",
        "00cb 0011 0001 0001 0000 0000 ffffffffff": "a pointer's length",
    }
    decode = """async (hex) => {
      const { decode, WireError } = await import("/static/codec.js");
      const bytes = Uint8Array.from(hex.replaceAll(" ", "").match(/../g), (pair) => parseInt(pair, 16));
      try { return [...decode(bytes)]; } catch (error) { return [error instanceof WireError, error.message]; }
    }"""
    for data, said in refused.items():
        refusal = await page.evaluate(decode, data)
        assert refusal[0] is True
        assert said in refusal[1], data


async def test_the_page_s_keys_are_the_keymap_s(open_page: Open) -> None:
    page = await open_page()
    keys = await page.evaluate("import('/static/keys.js').then((module) => module.KEYS)")
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
    cursors = await page.evaluate("import('/static/codec.js').then((module) => module.CURSORS)")
    assert len(cursors) == len(CursorShape)
    for shape in CursorShape:
        name = shape.name.lower().replace("_", "-")
        assert cursors[shape] == {"arrow": "default"}.get(name, name)
        supported = await page.evaluate("(name) => CSS.supports('cursor', name)", cursors[shape])
        assert supported, name


async def test_wheels_of_all_kinds(open_page: Open) -> None:
    page = await open_page()
    turn = """(events) => import("/static/hands.js").then(({ wheelTurn }) =>
      events.map(([deltaMode, deltaY, wheelDeltaY]) => wheelTurn({ deltaMode, deltaY, wheelDeltaY })))"""
    turned = await page.evaluate(turn, [[0, 100, -120], [0, -53, 120], [0, 5, -15], [1, 3, 0], [1, -3, 0], [2, 1, 0]])
    assert turned == [-120, 120, pytest.approx(-6), -120, 120, -360]
