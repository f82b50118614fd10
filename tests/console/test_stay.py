"""What would leave the page by mistake does not, as events; `test_real_keys` has a real mouse and real keys."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from pommel.wire import messages as m
from pommel.wire import mouse

from .conftest import Open
from .desk import Desk
from .test_modifiers import page_on
from .test_page_in_chromium import ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREVENTED = """([where, kind, type, init]) => {
  const event = new window[kind](type, { bubbles: true, cancelable: true, ...init });
  if (init.types) { Object.defineProperty(event, "dataTransfer", { value: init }); }
  document.querySelector(where).dispatchEvent(event);
  return event.defaultPrevented;
}"""
ASKED = "() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"


async def prevented(page: Page, where: str, kind: str, type_: str, **init: Any) -> bool:
    return bool(await page.evaluate(PREVENTED, [where, kind, type_, init]))


async def test_a_mouse_s_back_and_forward(open_page: Open) -> None:
    page = await open_page()
    for button, kept in ((3, True), (4, True), (0, False)):
        for where in ("body", "#screen", "#keys"):
            assert await prevented(page, where, "MouseEvent", "mouseup", button=button) is kept


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


async def test_a_browser_that_keeps_back_for_itself_is_stopped_over_the_screen(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(user_agent=FIREFOX), desk)
    await desk.show(m.MouseKind(mouse.HAS_SIDES), m.KeyState(m.CAPS_LOCK))
    await page.wait_for_selector("#caps:not([hidden])")
    await page.evaluate("window.mark = 1")
    await page.mouse.click(500, 300)
    for _ in range(2):
        await page.evaluate("history.back()")
        pressed = await desk.next(m.SideButton, 2)
        assert [one.down for one in pressed if isinstance(one, m.SideButton)] == [True, False]
    await page.mouse.move(20, 10)
    await page.evaluate("history.back()")
    await expect(page.locator("#toast")).to_have_text("Press Back again to leave this page.")
    assert await page.evaluate("window.mark") == 1 and desk.of(m.SideButton) == []
    await page.evaluate("history.back()")
    await page.wait_for_url("about:blank")


KEYS = {  # what a browser would go back or forward by: which platform, where the focus is, the key, whether it is stopped
    "Alt+Left": ("Linux x86_64", "#keys", {"key": "ArrowLeft", "altKey": True}, True),
    "Alt+Right in a text": ("Win32", "#type-text", {"key": "ArrowRight", "altKey": True}, True),
    "Backspace": ("Linux x86_64", "body", {"key": "Backspace"}, True),
    "Backspace in a text": ("Linux x86_64", "#type-text", {"key": "Backspace"}, False),
    "Backspace on a switch": ("Linux x86_64", "#swap", {"key": "Backspace"}, True),
    "the key for back": ("Linux x86_64", "#keys", {"key": "BrowserBack"}, True),
    "Left": ("Linux x86_64", "#keys", {"key": "ArrowLeft"}, False),
    "Command+[": ("MacIntel", "#keys", {"key": "[", "metaKey": True}, True),
    "Command+Left": ("MacIntel", "#keys", {"key": "ArrowLeft", "metaKey": True}, True),
    "Command+Left in a text": ("MacIntel", "#type-text", {"key": "ArrowLeft", "metaKey": True}, False),
    "Option+Left in a text": ("MacIntel", "#type-text", {"key": "ArrowLeft", "altKey": True}, False),
}


async def test_keys_that_a_browser_goes_back_by(open_page: Open, desk: Desk) -> None:
    for platform in dict.fromkeys(platform for platform, *_ in KEYS.values()):
        page = await page_on(open_page, desk, platform)
        for name, (on, where, init, kept) in KEYS.items():
            if on == platform:
                assert await prevented(page, where, "KeyboardEvent", "keydown", **init) is kept, name


async def test_nothing_that_is_dropped_opens_in_the_page_s_place_and_files_are_told_of(open_page: Open) -> None:
    page = await open_page()
    toast = page.locator("#toast")
    for types, where, kept in (
        (["text/uri-list"], "#screen", True),
        (["text/html"], "header", True),
        (["text/plain"], "#field", True),
        (["text/plain"], "#type-text", False),
    ):
        assert await prevented(page, where, "DragEvent", "drop", types=types) is kept, types
    await expect(toast).to_be_hidden()
    for where in ("#screen", "#type-text", "body"):
        assert await prevented(page, where, "DragEvent", "dragover", types=["Files"]), where
    await expect(toast).to_have_text(
        "This page does not accept files. To copy one there, on the computer that runs it, type pommel scp FILE desk:"
    )


async def test_closing_is_asked_about_while_it_is_live_and_something_was_pressed(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    assert not await page.evaluate(ASKED), "nothing was pressed yet"
    await page.mouse.move(400, 300)
    assert not await page.evaluate(ASKED), "only pointed at"
    await page.keyboard.press("a")
    assert await page.evaluate(ASKED)
    await desk.viewers[0].close(4001, "the end")
    await page.wait_for_selector("body[data-state=ended]")
    assert not await page.evaluate(ASKED), "there is nothing to lose"


async def test_who_only_looks_is_not_asked(open_page: Open, console: Any) -> None:
    page = await open_page(console.look_url)
    await page.keyboard.press("a")
    await page.mouse.click(400, 300)
    assert not await page.evaluate(ASKED)
