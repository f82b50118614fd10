"""Modifiers and locks that a browser tells of wrongly or not at all, as events of its kinds, and the switch for characters."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from pommel.wire import messages as m

from .conftest import Open
from .desk import Desk
from .test_page_in_chromium import HANDS, keys, ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLATFORM = """Object.defineProperty(navigator, "platform", { get: () => "%s" });
Object.defineProperty(navigator, "userAgentData", { get: () => undefined });"""
EVENT = """([type, init]) => document.getElementById("field").dispatchEvent(
  new KeyboardEvent(type, { bubbles: true, cancelable: true, ...init }))"""
POINT = """([type, init]) => document.getElementById("screen").dispatchEvent(
  new PointerEvent(type, { bubbles: true, cancelable: true, isPrimary: true, clientX: 500, clientY: 300, ...init }))"""

A = {"code": "KeyA", "key": "a"}
LEFT_SHIFT = {"code": "ShiftLeft", "key": "Shift", "shiftKey": True}
RIGHT_SHIFT = {"code": "ShiftRight", "key": "Shift", "shiftKey": True}
SUPER = {"code": "MetaLeft", "key": "Meta", "metaKey": True}
ALT_GR = {"code": "AltRight", "key": "AltGraph", "modifierAltGraph": True}
SHIFT, SHIFT_R, META, ALT_R, KEY_A, CAPS = 0x10, 0xA1, 0x5B, 0x12, 0x41, 0x14
TAPPED_A = keys((KEY_A, True), (KEY_A, False))


async def page_on(open_page: Open, desk: Desk, platform: str) -> Page:
    """The page in a browser that says it is on this platform."""
    page = await open_page()
    await page.add_init_script(PLATFORM % platform)
    await page.reload()
    await page.wait_for_selector("body[data-state=live]")
    return await ready(page, desk)


async def happen(page: Page, *events: tuple[str, dict[str, Any]]) -> None:
    for type_, init in events:
        await page.evaluate(POINT if type_.startswith("pointer") else EVENT, [type_, init])


async def tap(page: Page, init: dict[str, Any]) -> None:
    await happen(page, ("keydown", init), ("keyup", init))


# Each: what the browser told before, and the first of what the machine hears with the A after it.
LOST = {
    "both Shifts on Windows: the first never goes up": (
        "Win32",
        [("keydown", LEFT_SHIFT), ("keydown", RIGHT_SHIFT), ("keyup", RIGHT_SHIFT | {"shiftKey": False})],
        keys((SHIFT, True), (SHIFT_R, True), (SHIFT, False), (SHIFT_R, False)),
    ),
    "a screenshot chord on a Mac": (
        "MacIntel",
        [("keydown", LEFT_SHIFT), ("keydown", SUPER | {"shiftKey": True})],
        keys((SHIFT, True), (META, True, True), (SHIFT, False), (META, False, True)),
    ),
    "Super+Space": (
        "Win32",
        [("keydown", SUPER), ("keydown", {"code": "Space", "key": " ", "metaKey": True})],
        keys((META, True, True), (0x20, True), (0x20, False), (META, False, True)),
    ),
    "Zenkaku on Windows has no keyup": (
        "Win32",
        [("keydown", {"code": "Backquote", "key": "Zenkaku"})],
        keys((0xC0, True), (0xC0, False)),
    ),
    "nor has Eisu": (
        "Win32",
        [("keydown", {"code": "CapsLock", "key": "Alphanumeric"})],
        keys((CAPS, True), (CAPS, False)),
    ),
    "AltGr that went up elsewhere": (
        "Linux x86_64",
        [("keydown", ALT_GR)],
        keys((ALT_R, True, True), (ALT_R, False, True)),
    ),
}


@pytest.mark.parametrize("name", LOST)
async def test_what_went_up_untold_goes_up_before_the_next_key(open_page: Open, desk: Desk, name: str) -> None:
    platform, events, heard = LOST[name]
    page = await page_on(open_page, desk, platform)
    await happen(page, *events)
    await tap(page, A)
    assert await desk.next(m.Key, len(heard) + 2) == [*heard, *TAPPED_A]
    assert desk.of(HANDS) == []


async def test_a_pointer_tells_of_modifiers_too(open_page: Open, desk: Desk) -> None:
    page = await page_on(open_page, desk, "MacIntel")
    await happen(page, ("keydown", LEFT_SHIFT), ("pointermove", {}))
    assert await desk.next(m.Key, 2) == keys((SHIFT, True), (SHIFT, False))
    await happen(page, ("pointerdown", {"shiftKey": True, "buttons": 1, "pointerId": 1}))
    await desk.until(lambda: desk.of(m.Mouse))
    assert desk.of(m.Key) == keys((SHIFT, True))


async def test_a_touch_tells_nothing_of_them(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await happen(page, ("keydown", LEFT_SHIFT), ("pointermove", {"pointerType": "touch"}))
    await tap(page, A | {"key": "A", "shiftKey": True})
    assert await desk.next(m.Key, 3) == [*keys((SHIFT, True)), *TAPPED_A]


async def test_a_modifier_that_was_down_before_goes_down_with_the_key(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await tap(page, {"code": "KeyC", "key": "c", "ctrlKey": True})
    await happen(page, ("keyup", {"code": "ControlRight", "key": "Control"}))
    assert await desk.next(m.Key, 4) == keys((0x11, True), (0x43, True), (0x43, False), (0x11, False))


async def test_alt_gr_is_held_while_its_keys_are_pressed(open_page: Open, desk: Desk) -> None:
    """On Linux it is no Alt; on Windows it is Control and Alt, of which nobody pressed either."""
    page = await page_on(open_page, desk, "Linux x86_64")
    q = {"code": "KeyQ", "key": "@", "modifierAltGraph": True}
    await happen(page, ("keydown", ALT_GR))
    await tap(page, q)
    await happen(page, ("keyup", ALT_GR | {"modifierAltGraph": False}))
    heard = keys((ALT_R, True, True), (0x51, True), (0x51, False), (ALT_R, False, True))
    assert await desk.next(m.Key, 4) == heard
    page = await page_on(open_page, desk, "Win32")
    both = {"ctrlKey": True, "altKey": True}
    false = {"code": "ControlLeft", "key": "Control", "ctrlKey": True}
    script = """([first, second, third]) => { for (const init of [first, second, third])
      document.getElementById("field").dispatchEvent(new KeyboardEvent("keydown", { cancelable: true, ...init })) }"""
    await page.evaluate(script, [false, ALT_GR | both, q | both])
    assert await desk.next(m.Key, 4) == keys((0x11, True), (0x11, False), (ALT_R, True, True), (0x51, True))


# --- lock keys ---


async def test_caps_lock_is_set_right_before_a_letter(open_page: Open, desk: Desk) -> None:
    page = await page_on(open_page, desk, "Linux x86_64")
    await tap(page, A)
    assert await desk.next(m.Key, 2) == TAPPED_A, "nothing is known of the machine's"
    await desk.show(m.KeyState(m.CAPS_LOCK))
    await expect(page.locator("#caps")).to_be_visible()
    await tap(page, {"code": "Digit1", "key": "1"})
    await tap(page, A)
    await tap(page, A)  # once: a machine may take it otherwise
    caps = keys((CAPS, True), (CAPS, False))
    assert await desk.next(m.Key, 8) == [*keys((0x31, True), (0x31, False)), *caps, *TAPPED_A, *TAPPED_A]
    await tap(page, A | {"key": "A", "modifierCapsLock": True})
    assert await desk.next(m.Key, 4) == [*caps, *TAPPED_A]


async def test_caps_lock_that_was_just_pressed_is_not_pressed_again(open_page: Open, desk: Desk) -> None:
    page = await page_on(open_page, desk, "Linux x86_64")
    await desk.show(m.KeyState(m.NUM_LOCK), m.Message("shown"))
    await expect(page.locator("#note")).to_contain_text("shown")
    await tap(page, {"code": "CapsLock", "key": "CapsLock", "modifierCapsLock": True})
    await tap(page, A | {"key": "A", "modifierCapsLock": True})
    assert await desk.next(m.Key, 4) == [*keys((CAPS, True), (CAPS, False)), *TAPPED_A]


async def test_num_lock_is_set_right_for_the_keypad_where_there_is_one(open_page: Open, desk: Desk) -> None:
    page = await page_on(open_page, desk, "Linux x86_64")
    seven = {"code": "Numpad7", "key": "7", "modifierNumLock": True}
    pressed = keys((0x67, True), (0x67, False))
    await desk.show(m.KeyState(m.CAPS_LOCK))
    await expect(page.locator("#caps")).to_be_visible()
    await tap(page, seven)
    assert await desk.next(m.Key, 2) == pressed, "a Mac clears a sum with that key"
    await desk.show(m.KeyState(m.NUM_LOCK | m.CAPS_LOCK), m.KeyState(0))
    await expect(page.locator("#caps")).to_be_hidden()
    await tap(page, seven)
    assert await desk.next(m.Key, 4) == [*keys((0x90, True), (0x90, False)), *pressed]


# --- keys as pressed, characters as written ---


async def choose(page: Page, what: str) -> None:
    await page.click("#keys")
    await page.get_by_label(what).check()
    await page.keyboard.press("Escape")
    await page.locator("#field").focus()


async def test_characters_as_written(open_page: Open, desk: Desk) -> None:
    page = await page_on(open_page, desk, "Linux x86_64")
    await choose(page, "Characters as written")
    (said,) = await desk.next(m.Abilities, 1)
    assert isinstance(said, m.Abilities) and said.bits & m.KEYS_BY_LEGEND
    for init, text in (
        ({"code": "KeyQ", "key": "a"}, "a"), ({"code": "KeyY", "key": "Z", "shiftKey": True}, "Z"),
        ({"code": "KeyQ", "key": "@", "modifierAltGraph": True}, "@"), ({"code": "KeyB", "key": "и"}, "и"),
        ({"code": "KeyE", "key": "€", "modifierAltGraph": True, "ctrlKey": True, "altKey": True}, "€"),
    ):  # fmt: skip
        await tap(page, init)
        typed = await desk.next(m.KeyUnicode, 2)
        assert typed == [m.KeyUnicode(ord(text), True), m.KeyUnicode(ord(text), False)]
        await happen(page, ("keydown", {"code": "F13", "key": "F13"}), ("keyup", {"code": "F13", "key": "F13"}))
        await desk.until(lambda: m.Key(0x7C, False) in desk.seen)
        desk.seen.clear()


async def test_shortcuts_stay_keys_by_what_is_printed_on_them(open_page: Open, desk: Desk) -> None:
    page = await page_on(open_page, desk, "Linux x86_64")
    await choose(page, "Characters as written")
    await desk.next(m.Abilities, 1)
    await happen(page, ("keydown", {"code": "ControlLeft", "key": "Control", "ctrlKey": True}))
    await tap(page, {"code": "KeyQ", "key": "a", "ctrlKey": True})
    await tap(page, {"code": "BracketRight", "key": "+", "ctrlKey": True})
    await happen(page, ("keyup", {"code": "ControlLeft", "key": "Control"}))
    await tap(page, {"code": "ArrowLeft", "key": "ArrowLeft"})
    heard = keys((0x11, True), *[(vk, down) for vk in (0x41, 0xBB) for down in (True, False)], (0x11, False))
    assert await desk.next(m.Key, 8) == [*heard, *keys((0x25, True, True), (0x25, False, True))]


async def test_the_choice_is_kept_for_this_machine(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.keyboard.press("Control+Alt+Shift")
    await page.locator("#keys").focus()
    await page.keyboard.press("Enter")
    await page.locator("#as-pressed").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("#as-written")).to_be_checked()
    assert await page.evaluate("JSON.parse(localStorage.pommel).written") == {"desk": True}
    await page.reload()
    await page.wait_for_selector("body[data-state=live]")
    await expect(page.locator("#as-written")).to_be_checked()
    desk.seen.clear()
    await page.locator("#field").focus()
    await tap(page, A)
    assert await desk.next(m.KeyUnicode, 2) == [m.KeyUnicode(0x61, True), m.KeyUnicode(0x61, False)]
    await choose(page, "Keys as pressed")
    await tap(page, A)
    await desk.until(lambda: desk.of(m.Key) == TAPPED_A)
