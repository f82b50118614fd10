"""The page's mouse where the machine tells what its own is: wheels, back and forward, pointer lock."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from pommel.wire import messages as m
from pommel.wire import mouse

from .conftest import Open
from .desk import Desk
from .test_page_in_chromium import HANDS, box_of, keys, ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Events in the middle of the screen: [kind, type, init] each.
HAPPEN = """(events) => {
  const screen = document.getElementById("screen");
  const { x, y, width, height } = screen.getBoundingClientRect();
  const at = { cancelable: true, clientX: x + width / 2, clientY: y + height / 2 };
  for (const [kind, type, init] of events) screen.dispatchEvent(new window[kind](type, { ...at, ...init }));
}"""


async def told(page: Page, desk: Desk, bits: int) -> Page:
    await ready(page, desk)
    await desk.show(m.MouseKind(bits), m.KeyState(m.CAPS_LOCK))
    await expect(page.locator("#caps")).to_be_visible()
    return page


async def wheel(page: Page, *turns: dict[str, object]) -> None:
    await page.evaluate(HAPPEN, [("WheelEvent", "wheel", turn) for turn in turns])


async def point(page: Page, *events: tuple[str, dict[str, object]]) -> None:
    await page.evaluate(HAPPEN, [("PointerEvent", kind, {"isPrimary": True, **init}) for kind, init in events])


def middle(desk: Desk) -> tuple[int, int]:
    return desk.width // 2, desk.height // 2


async def test_a_wheel_goes_both_ways_by_parts_of_a_notch(open_page: Open, desk: Desk) -> None:
    page = await told(await open_page(), desk, 0)
    box = await box_of(page)
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.wheel(0, -120)
    await page.mouse.wheel(120, 0)
    assert await desk.next(m.Turn, 2) == [m.Turn(*middle(desk), 120, 0), m.Turn(*middle(desk), 0, 120)]
    await wheel(page, {"deltaX": 5, "deltaY": 10}, {"deltaX": -0.5, "deltaY": 0}, {"deltaX": -0.5})
    assert await desk.next(m.Turn, 2) == [m.Turn(*middle(desk), -12, 6), m.Turn(*middle(desk), 0, -1)]
    assert desk.of(HANDS) == []


async def test_a_pinch_is_a_turn_with_ctrl_and_a_real_ctrl_is_itself(open_page: Open, desk: Desk) -> None:
    page = await told(await open_page(), desk, 0)
    await wheel(page, *[{"deltaY": -8, "ctrlKey": True}] * 3)
    ctrl = keys((0x11, True), (0x11, False))
    turn = m.Turn(*middle(desk), 120, 0)
    await desk.until(lambda: desk.of(HANDS) == [ctrl[0], turn, ctrl[1]])
    desk.seen.clear()
    await page.keyboard.down("Control")
    await wheel(page, {"deltaY": -100, "ctrlKey": True})
    await page.keyboard.up("Control")
    await desk.until(lambda: desk.of(HANDS) == [ctrl[0], turn, ctrl[1]])
    assert await page.evaluate("visualViewport.scale") == 1


async def test_back_and_forward_are_the_machine_s_or_said_to_be_missing(open_page: Open, desk: Desk) -> None:
    page = await told(await open_page(), desk, mouse.HAS_SIDES)
    moves = [("pointermove", {"buttons": bits}) for bits in (8, 24, 16, 0)]
    await point(page, *moves)
    sides = [(mouse.BACK, True), (mouse.FORWARD, True), (mouse.BACK, False), (mouse.FORWARD, False)]
    assert await desk.next(m.SideButton, 4) == [m.SideButton(*middle(desk), *side) for side in sides]
    await desk.show(m.MouseKind(0), m.KeyState(0))
    await expect(page.locator("#caps")).to_be_hidden()
    await point(page, *moves)
    await expect(page.locator("#toast")).to_have_text(
        "The machine's mouse has no back button.\nThe machine's mouse has no forward button."
    )
    assert desk.of(m.SideButton) == []


async def test_a_mouse_that_knows_only_movements_can_be_locked_and_had_back(open_page: Open, desk: Desk) -> None:
    page = await told(await open_page(), desk, 0)
    lock, hint = page.locator("#lock"), page.locator("#hint")
    await expect(lock).to_be_hidden()
    await desk.show(m.MouseKind(mouse.RELATIVE))
    await lock.click()
    await expect(lock).to_have_attribute("aria-pressed", "true")
    await expect(hint).to_have_text("The mouse is locked to the machine. Press Esc to unlock it")
    desk.seen.clear()
    move, down, up = {"movementX": 3, "movementY": -2}, {"movementX": 1, "buttons": 1}, {"buttons": 0}
    await point(page, ("pointermove", move), ("pointerdown", down), ("pointerup", up))
    heard = [m.MoveBy(3, -2, 0), m.MoveBy(1, 0, 0), m.MoveBy(0, 0, m.LEFT_DOWN), m.MoveBy(0, 0, m.LEFT_UP)]
    await desk.until(lambda: len(desk.of(HANDS)) >= len(heard))
    assert desk.of(HANDS) == heard
    await page.keyboard.press("Control+Alt+Shift")
    await expect(lock).to_have_attribute("aria-pressed", "false")
    await expect(page.locator("#fit")).to_be_focused()
    assert await page.evaluate("document.pointerLockElement") is None
    # A machine that gets itself a tablet needs it no more; nor does one that is gone.
    await lock.click()
    await expect(lock).to_have_attribute("aria-pressed", "true")
    await desk.show(m.MouseKind(0))
    await expect(lock).to_be_hidden()
    await page.wait_for_function("() => document.pointerLockElement === null")


async def test_who_may_only_look_has_no_mouse_to_lock(open_page: Open, desk: Desk, console: object) -> None:
    page = await open_page(console.look_url)  # type: ignore[attr-defined]
    await desk.show(m.MouseKind(mouse.RELATIVE | mouse.HAS_SIDES), m.KeyState(m.CAPS_LOCK))
    await expect(page.locator("#caps")).to_be_visible()
    await expect(page.locator("#lock")).to_be_hidden()
    await point(page, ("pointermove", {"buttons": 8}))
    await wheel(page, {"deltaY": 100})
    assert desk.of(HANDS) == []
