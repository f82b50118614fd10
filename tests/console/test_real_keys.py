"""A real keyboard's keys and a real mouse's buttons, by XTEST into a Chromium with a window, on a desk of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright, expect
from Xlib import X
from Xlib.ext import xtest

from chromium import FLAGS
from pommel.console.server import ConsoleServer
from pommel.process import which
from pommel.wire import messages as m
from pommel.wire import mouse
from screen.x_server import Painter, XServer, painter, x_server

from .desk import Desk
from .test_page_in_chromium import HANDS, keys, ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALT_GR, SHIFT_L, SHIFT_R, CAPS, KEY_Q, KEY_Y, KEY_E, ISO = 108, 50, 62, 66, 24, 29, 26, 94  # X11's keycodes
DEAD_ACUTE = 21  # on a German keyboard
CONTROL, ALT, LEFT, ESCAPE, KEY_W = 37, 64, 113, 9, 25

Strike = Callable[..., None]


@pytest.fixture(scope="module")
def own_desk() -> Iterator[XServer]:
    with x_server(screen="1100x800x24") as one:
        yield one


@pytest.fixture(scope="module")
def keyboard(own_desk: XServer) -> Iterator[Painter]:
    with painter(own_desk) as one:
        yield one


@pytest.fixture
def strike(keyboard: Painter) -> Strike:
    """Press keys one after the other and let them go in reverse."""

    def play(*codes: int) -> None:
        for down, code in [*((True, code) for code in codes), *((False, code) for code in reversed(codes))]:
            xtest.fake_input(keyboard.display, X.KeyPress if down else X.KeyRelease, code)
        keyboard.display.sync()

    return play


@pytest.fixture
def hold(keyboard: Painter) -> Strike:
    """Press a key or let it go."""

    def play(code: int, down: bool) -> None:
        xtest.fake_input(keyboard.display, X.KeyPress if down else X.KeyRelease, code)
        keyboard.display.sync()

    return play


@pytest.fixture
def click(keyboard: Painter) -> Strike:
    """Press a mouse's buttons one after the other; 4 to 7 are the wheel's."""

    def play(*numbers: int) -> None:
        for number in numbers:
            for kind in (X.ButtonPress, X.ButtonRelease):
                xtest.fake_input(keyboard.display, kind, number)
        keyboard.display.sync()

    return play


async def point_at(page: Page, keyboard: Painter, selector: str) -> None:
    """Put the mouse on the middle of an element."""
    x, y = await page.evaluate(
        """(selector) => { const box = document.querySelector(selector).getBoundingClientRect();
          const [left, top] = [screenX + (outerWidth - innerWidth) / 2, screenY + outerHeight - innerHeight];
          return [left + box.x + box.width / 2, top + box.y + box.height / 2].map(Math.round); }""",
        selector,
    )
    xtest.fake_input(keyboard.display, X.MotionNotify, 0, root=keyboard.root, x=x, y=y)
    keyboard.display.sync()


@pytest_asyncio.fixture(loop_scope="module")
async def page(own_desk: XServer, keyboard: Painter, console: ConsoleServer, desk: Desk) -> AsyncIterator[Page]:
    """The console's page in a window that has the keyboard, on a desk with a German one."""
    own_desk.run("setxkbmap", "-layout", "de", "-variant", "", "-option", "")
    flags = [*FLAGS, "--window-position=0,0", "--window-size=1100,800"]
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=which("chromium"), args=flags, headless=False, env={"DISPLAY": own_desk.name}
        )
        page = await chromium.new_page(no_viewport=True)
        await page.goto(console.url)
        await page.wait_for_selector("body[data-state=live]")
        for window in keyboard.root.query_tree().children:  # there is no window manager to do it
            if window.get_attributes().map_state == X.IsViewable and window.get_geometry().width > 500:
                window.set_input_focus(X.RevertToParent, X.CurrentTime)
        keyboard.display.sync()
        await page.wait_for_function("() => document.hasFocus()")
        await page.locator("#field").focus()
        yield await ready(page, desk)
        await chromium.close()


async def test_keys_as_pressed_by_their_places_with_alt_gr(page: Page, desk: Desk, strike: Strike) -> None:
    strike(KEY_Y)  # a z is printed on it
    strike(ISO)
    strike(ALT_GR, KEY_Q)
    strike(SHIFT_L, KEY_E)
    heard = keys(
        *[(vk, down) for vk in (0x59, 0xE2) for down in (True, False)],
        (0x12, True, True), (0x51, True), (0x51, False), (0x12, False, True),
        (0x10, True), (0x45, True), (0x45, False), (0x10, False),
    )  # fmt: skip
    assert await desk.next(m.Key, len(heard)) == heard
    assert desk.of(HANDS) == []


async def test_both_shifts_and_what_is_typed_after(page: Page, desk: Desk, strike: Strike) -> None:
    strike(SHIFT_L, SHIFT_R, KEY_E)
    strike(KEY_E)
    await desk.until(lambda: len([one for one in desk.of(m.Key) if one == m.Key(0x45, False)]) == 2)
    down: set[int] = set()
    held_with_e = []
    for command in desk.of(m.Key):
        assert isinstance(command, m.Key)
        (down.add if command.down else down.discard)(command.vk)
        if command == m.Key(0x45, True):
            held_with_e.append(down - {0x45})
    assert held_with_e[0] and held_with_e[1] == set() and down == set()


async def test_characters_as_written_with_alt_gr_and_a_dead_key(page: Page, desk: Desk, strike: Strike) -> None:
    await page.evaluate("document.getElementById('as-written').click()")
    await page.locator("#field").focus()
    strike(KEY_Y)
    strike(ALT_GR, KEY_Q)
    strike(DEAD_ACUTE)
    await asyncio.sleep(0.05)  # as fast as a person, since the browser asks its input method about each
    strike(KEY_E)
    strike(SHIFT_L, KEY_E)
    await desk.until(lambda: len(desk.of(m.KeyUnicode)) >= 8)
    typed = "".join(chr(one.code_unit) for one in desk.of(m.KeyUnicode) if isinstance(one, m.KeyUnicode) and one.down)
    assert typed == "z@éE"
    await desk.until(lambda: m.Key(0x10, False) in desk.seen)
    assert desk.of(m.Key) == keys((0x10, True), (0x10, False)), "Shift is a key too, for the arrows"


async def test_caps_lock_changed_elsewhere(page: Page, desk: Desk, strike: Strike) -> None:
    await desk.show(m.KeyState(m.CAPS_LOCK))
    await page.wait_for_selector("#caps:not([hidden])")
    strike(KEY_E)
    assert await desk.next(m.Key, 4) == keys((0x14, True), (0x14, False), (0x45, True), (0x45, False))
    strike(CAPS)
    strike(KEY_E)
    strike(CAPS)
    strike(KEY_E)
    tapped = [(vk, down) for vk in (0x14, 0x45, 0x14, 0x45) for down in (True, False)]
    assert await desk.next(m.Key, 8) == keys(*tapped)


async def test_a_mouse_s_wheels_and_sides_reach_the_machine_and_nothing_leaves_the_page(
    page: Page, desk: Desk, keyboard: Painter, click: Strike, strike: Strike, hold: Strike
) -> None:
    shown = page.url
    await page.goto(f"{shown}static/favicon.svg")  # to which there is a way back now
    await page.goto(shown)
    await page.locator("#field").focus()
    await ready(page, desk)
    await page.evaluate("window.mark = 1")
    await desk.show(m.MouseKind(mouse.HAS_SIDES), m.KeyState(m.CAPS_LOCK))
    await page.wait_for_selector("#caps:not([hidden])")
    await point_at(page, keyboard, "#screen")
    (at,) = await desk.next(m.Mouse, 1)
    assert isinstance(at, m.Mouse)
    click(4, 5)
    assert await desk.next(m.Turn, 2) == [m.Turn(at.x, at.y, up, 0) for up in (120, -120)]
    # With Shift Chromium says that it turned sideways; the machine gets Shift and the turn as it was. (Sideways wheels
    # it hears of from devices that have one, which XTEST's has not.)
    hold(SHIFT_L, True)
    click(5)
    await desk.until(lambda: desk.of(m.Turn))
    hold(SHIFT_L, False)
    await desk.until(lambda: m.Key(0x10, False) in desk.seen)
    shift = keys((0x10, True), (0x10, False))
    assert desk.of(HANDS) == [shift[0], m.Turn(at.x, at.y, -120, 0), shift[1]]
    desk.seen.clear()
    click(8, 9)
    sides = [(mouse.BACK, True), (mouse.BACK, False), (mouse.FORWARD, True), (mouse.FORWARD, False)]
    assert await desk.next(m.SideButton, 4) == [m.SideButton(at.x, at.y, *side) for side in sides]
    await point_at(page, keyboard, "header h1")  # beside the screen they are nobody's
    click(8)  # and 9 would come back before one is gone
    await page.locator("#keys").focus()
    strike(ALT, LEFT)
    await page.locator("#field").focus()
    strike(ALT, LEFT)
    await desk.until(lambda: m.Key(0x25, False, True) in desk.seen)
    assert await page.evaluate("window.mark") == 1
    assert desk.of(m.SideButton) == []


async def test_in_full_screen_the_browsers_own_keys_are_the_machines(
    page: Page, desk: Desk, strike: Strike, keyboard: Painter
) -> None:
    await page.evaluate("window.mark = 1")
    await page.locator("#full").click()
    await page.wait_for_function("() => document.fullscreenElement !== null")
    toast = page.locator("#toast")
    await expect(toast).to_have_text(
        "All keys go to the machine, including Esc, Alt+Tab and Ctrl+W. Hold Esc to leave full screen."
    )
    await expect(page.locator("#field")).to_be_focused()
    desk.seen.clear()
    strike(ESCAPE)
    strike(CONTROL, KEY_W)
    heard = keys((0x1B, True), (0x1B, False), (0x11, True), (0x57, True), (0x57, False), (0x11, False))
    assert await desk.next(m.Key, len(heard)) == heard
    assert await page.evaluate("document.fullscreenElement !== null && window.mark === 1")
