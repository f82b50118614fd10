"""The soft keyboard and its row of keys in a real Chromium: by the browser's own composing and touch events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import CDPSession, Page, expect

from pommel.wire import messages as m

from .conftest import Open
from .desk import Desk
from .fingers import Fingers
from .test_page_in_chromium import ready
from .test_touch import LANDSCAPE, PHONE, click, point, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")

BACKSPACE, CONTROL, SHIFT, OPTION, COMMAND, TAB = (0x08,), (0x11,), (0x10,), (0x12,), (0x5B, True), (0x09,)


async def typist(open_page: Open, desk: Desk, **options: Any) -> tuple[Page, CDPSession]:
    page = await ready(await open_page(**(PHONE | options)), desk)
    await page.tap("#keyboard")
    await expect(page.locator("#soft")).to_be_focused()
    await settled(page, desk)
    return page, await page.context.new_cdp_session(page)


def written(told: list[Any]) -> str:
    """What was typed: characters, ‹ for Backspace, ↵ for Enter; each key and character must go down and up at once."""
    text = ""
    for down, up in zip(told[::2], told[1::2], strict=True):
        assert down.down and not up.down and type(down) is type(up), told
        if isinstance(down, m.KeyUnicode):
            assert down.code_unit == up.code_unit
            text += chr(down.code_unit)
        else:
            assert down.vk == up.vk
            text += {0x08: "‹", 0x0D: "↵"}[down.vk]
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def held(*keys: tuple[Any, ...]) -> list[m.Key]:
    """Keys that go down one after the other and up in reverse."""
    down = [m.Key(vk, True, *extended) for vk, *extended in keys]
    return [*down, *(m.Key(vk, False, *extended) for vk, *extended in reversed(keys))]


async def compose(session: CDPSession, text: str) -> None:
    await session.send(
        "Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
    )


async def test_what_is_composed_is_typed_as_it_is_shown(open_page: Open, desk: Desk) -> None:
    page, session = await typist(open_page, desk)
    for text, meant in (("h", "h"), ("he", "e"), ("hel", "l"), ("hé", "‹‹é"), ("hélas", "las")):
        await compose(session, text)
        assert written(await settled(page, desk)) == meant
    await session.send("Input.insertText", {"text": "hélas"})  # what Android does at a word's end
    assert written(await settled(page, desk)) == ""
    await session.send("Input.insertText", {"text": " "})
    # Hangul and kana change under the fingers; a picture is one character, of however many code points.
    for text, meant in (("ㅎ", " ㅎ"), ("하", "‹하"), ("한", "‹한")):
        await compose(session, text)
        assert written(await settled(page, desk)) == meant
    await session.send("Input.insertText", {"text": "한"})
    await session.send("Input.insertText", {"text": "👩‍👩‍👧"})
    await compose(session, "x")
    await compose(session, "")
    assert written(await settled(page, desk)) == "👩‍👩‍👧x‹"
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Enter")
    assert written(await settled(page, desk)) == "‹↵"


async def test_a_word_that_the_keyboard_mends_is_mended_there(open_page: Open, desk: Desk) -> None:
    page, session = await typist(open_page, desk)
    await session.send("Input.insertText", {"text": "I see teh "})
    await settled(page, desk)
    # As autocorrect and suggestions do: the text before the caret is another.
    await page.evaluate(
        """() => { const soft = document.getElementById("soft");
        soft.setRangeText("the", soft.value.length - 4, soft.value.length - 1, "end");
        soft.setSelectionRange(soft.value.length, soft.value.length);
        soft.dispatchEvent(new InputEvent("input", { inputType: "insertReplacementText" })); }"""
    )
    assert written(await settled(page, desk)) == "‹‹‹he "


async def test_backspace_works_however_little_was_typed(open_page: Open, desk: Desk) -> None:
    page, session = await typist(open_page, desk)
    for _ in range(230):  # more than stands before the caret
        await session.send(
            "Input.dispatchKeyEvent",
            {"type": "rawKeyDown", "commands": ["deleteBackward"], "windowsVirtualKeyCode": 229},
        )
    assert written(await settled(page, desk)) == "‹" * 230
    # A finger that stays deletes by the word: of what is not known here, one.
    await session.send("Input.insertText", {"text": "ab cd"})
    await session.send(
        "Input.dispatchKeyEvent",
        {"type": "rawKeyDown", "commands": ["deleteWordBackward"], "windowsVirtualKeyCode": 229},
    )
    assert written(await settled(page, desk)) == "ab cd‹‹"
    await page.evaluate(
        """() => { const soft = document.getElementById("soft"); soft.value = "";
        soft.dispatchEvent(new InputEvent("input", { inputType: "deleteWordBackward" })); }"""
    )
    assert written(await settled(page, desk)) == "‹‹‹‹"
    assert len(await page.input_value("#soft")) == 200


async def test_sticky_modifiers(open_page: Open, desk: Desk) -> None:
    page, session = await typist(open_page, desk)
    row = page.locator("#keyrow")

    async def pressed() -> list[str]:
        return await row.locator("[aria-pressed=true]").evaluate_all("all => all.map((one) => one.ariaLabel)")

    assert await row.locator("[data-modifier]").all_inner_texts() == ["ctrl", "⌥ opt", "⌘ cmd", "⇧ shift"]
    # Once: for the next key, by its legend, and for no other.
    await row.get_by_role("button", name="Command").tap()
    assert await pressed() == ["Command"]
    await compose(session, "c")
    assert await settled(page, desk) == held(COMMAND, (0x43,))
    assert await pressed() == []
    await session.send("Input.insertText", {"text": "v"})
    assert written(await settled(page, desk)) == "v", "the c made a chord, and is none of the text"
    # Twice: until it is pressed again. A capital takes Shift too, and a key of the row is under it as well.
    shift = row.get_by_role("button", name="Shift")
    await shift.tap()
    await shift.tap()
    await expect(shift).to_have_attribute("data-locked", "")
    await row.get_by_role("button", name="Tab").tap()
    await session.send("Input.insertText", {"text": "a"})
    told = await settled(page, desk)
    assert told == [m.Key(0x10, True), *held(TAB), *held((0x41,))]
    await session.send("Input.insertText", {"text": "é"})  # no key has it: without Shift, which then holds on
    assert await settled(page, desk) == [
        m.Key(0x10, False), m.KeyUnicode(0xE9, True), m.KeyUnicode(0xE9, False), m.Key(0x10, True)
    ]  # fmt: skip
    await asyncio.sleep(0.5)
    await shift.tap()
    assert (await settled(page, desk), await pressed()) == ([m.Key(0x10, False)], [])
    # A modifier on its own is one, and a tap on the screen takes one too.
    await row.get_by_role("button", name="Option").tap()
    await asyncio.sleep(0.5)
    await row.get_by_role("button", name="Option").tap()
    assert await settled(page, desk) == held(OPTION)
    await row.get_by_role("button", name="Control").tap()
    await (await Fingers.on(page)).tap(await point(page, 50, 60))
    assert await settled(page, desk) == [
        m.Key(0x11, True), m.Mouse(50, 60), *click(50, 60), m.Key(0x11, False)
    ]  # fmt: skip
    await expect(page.locator("#soft")).to_be_focused()
    # Put away, it holds nothing.
    await row.get_by_role("button", name="Command").tap()
    await row.get_by_role("button", name="Hide the keyboard").tap()
    assert await settled(page, desk) == held(COMMAND)
    await expect(row).to_be_hidden()
    await expect(page.locator("#field")).to_be_focused()
    assert await pressed() == []


async def test_the_row_s_keys(open_page: Open, desk: Desk) -> None:
    page, _ = await typist(open_page, desk)
    row = page.locator("#keyrow")
    for name, key in (("Escape", (0x1B,)), ("Left", (0x25, True)), ("Up", (0x26, True)), ("Down", (0x28, True))):
        await row.get_by_role("button", name=name, exact=True).tap()
        assert await settled(page, desk) == held(key), name
    await row.get_by_role("button", name="Function keys").tap()
    for name, key in (("F1", (0x70,)), ("F12", (0x7B,)), ("Home", (0x24, True)), ("Delete forward", (0x2E, True))):
        await row.get_by_role("button", name=name, exact=True).tap()
        assert await settled(page, desk) == held(key), name
    # Held, a key is down for as long, so that the machine repeats it.
    fingers = await Fingers.on(page)
    await row.get_by_role("button", name="Function keys").tap()
    box = await row.get_by_role("button", name="Right", exact=True).bounding_box()
    assert box
    await fingers.put((box["x"] + 20, box["y"] + 20))
    assert await settled(page, desk) == [m.Key(0x27, True, True)]
    await fingers.lift()
    assert await settled(page, desk) == [m.Key(0x27, False, True)]
    # By a keyboard or a switch, without a pointer.
    await row.get_by_role("button", name="Escape").press("Enter")
    assert [one for one in await settled(page, desk) if one.vk == 0x1B] == held((0x1B,))


async def test_a_hardware_keyboard_beside_it_writes_once(open_page: Open, desk: Desk) -> None:
    page, _ = await typist(open_page, desk)
    await page.keyboard.press("a")
    assert written(await settled(page, desk)) == "a"
    await page.keyboard.press("ArrowLeft")
    assert await settled(page, desk) == held((0x25, True))
    await page.keyboard.press("Control+KeyC")
    assert await settled(page, desk) == held(CONTROL, (0x43,))


async def test_three_fingers_bring_it_and_take_it_away(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(**LANDSCAPE), desk)
    fingers = await Fingers.on(page)
    three = [(300.0, 200.0), (360.0, 190.0), (420.0, 200.0)]
    await expect(page.locator("#field")).to_have_attribute("inputmode", "none")
    await fingers.tap(*three)
    await expect(page.locator("#soft")).to_be_focused()
    await expect(page.locator("#keyrow")).to_be_visible()
    said = desk.of(m.Abilities)[-1]
    assert isinstance(said, m.Abilities) and said.bits & m.KEYS_BY_LEGEND, "its chords are letters"
    await fingers.tap(*three)
    await expect(page.locator("#keyrow")).to_be_hidden()
    await expect(page.locator("#field")).to_be_focused()
    assert await settled(page, desk) == []


async def test_what_was_pointed_at_stays_in_sight_above_the_keyboard(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(**PHONE), desk)
    fingers = await Fingers.on(page)
    low = await point(page, 40, 390)
    await fingers.tap(low)
    scale = (await page.locator("#screen").bounding_box() or {})["width"]
    await page.tap("#keyboard")
    # No browser on a desk has a soft keyboard: what one does to the window is told in its place.
    await page.evaluate(
        """() => { Object.defineProperty(visualViewport, "height", { value: innerHeight - 300, configurable: true });
        visualViewport.dispatchEvent(new Event("resize")); }"""
    )
    row = await page.locator("#keyrow").bounding_box()
    assert row and row["y"] + row["height"] == pytest.approx(844 - 300, abs=1), "the row is above the keyboard"
    assert (await page.locator("#screen").bounding_box() or {})["width"] == scale, "the picture keeps its size"
    x, y = await point(page, 40, 390)
    stage = await page.locator("#stage").bounding_box()
    assert stage and stage["y"] < y < stage["y"] + stage["height"] <= row["y"] + 1
    await settled(page, desk)
    await fingers.tap((x, y))
    assert (await settled(page, desk))[-2:] == click(40, 390)
    # The system's own way to hide it puts the row away.
    await page.evaluate("() => { delete visualViewport.height; visualViewport.dispatchEvent(new Event('resize')); }")
    await expect(page.locator("#keyrow")).to_be_hidden()
