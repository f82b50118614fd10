"""The Keys menu: each guest has its own, and each chord of it arrives where it is sent, in QEMU and at an X server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect
from Xlib import X

from isolation import patient
from pommel.console.server import ConsoleInfo, ConsoleServer
from pommel.console.telling import Guest, of_display, of_host, of_machine
from pommel.screen.endpoint import Endpoint
from pommel.screen.geometry import Rect
from pommel.screen.sources.vnc import connect_vnc
from pommel.screen.sources.x11 import connect_x11
from pommel.wire import messages as m
from pommel.wire.keymap import KEYBOARD, PhysicalKey
from screen.bare_qemu import bare_qemu
from screen.x_server import painter, x_server

from .conftest import Open, serving
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = {key.code: key for key in KEYBOARD}
GUESTS: tuple[Guest, ...] = ("mac", "linux", "windows")
MENU = """() => [...document.querySelectorAll("#keys-menu [data-keys]")].map((one) => ({
  codes: one.dataset.keys.split(" "), name: one.ariaLabel, shown: one.checkVisibility() }))"""


async def menu_of(page: Page, guest: str) -> list[dict[str, Any]]:
    """Choose a guest in the open menu; what it then has."""
    await page.locator("#keys-menu select").select_option(guest)
    return list(await page.evaluate(MENU))


async def press_all(page: Page, guest: str) -> list[tuple[PhysicalKey, bool]]:
    """Click all buttons of a guest's menu, one after the other; the keys that this is to press and let go of."""
    await page.click("#keys")
    menu = await menu_of(page, guest)
    await page.evaluate("document.querySelectorAll('#keys-menu [data-keys]').forEach((one) => one.click())")
    return [stroke for one in menu for stroke in strokes(one["codes"])]


def strokes(codes: list[str]) -> list[tuple[PhysicalKey, bool]]:
    return [(KEY[code], True) for code in codes] + [(KEY[code], False) for code in reversed(codes)]


async def test_each_guest_has_its_own_and_all_are_keys_that_the_wire_has(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await page.click("#keys")
    has = {}
    for guest in GUESTS:
        menu = await menu_of(page, guest)
        assert all(one["shown"] for one in menu)
        assert all(code in KEY for one in menu for code in one["codes"])
        for one in menu:  # in words: a screen reader has none for ⌘
            assert one["name"].isascii() or one["name"] == "Menu", one
        assert len({one["name"] for one in menu}) == len(menu)
        has[guest] = {" ".join(one["codes"]) for one in menu}
    assert {"MetaLeft Space", "MetaLeft AltLeft Escape", "ShiftLeft MetaLeft Digit4", "ControlLeft ArrowUp"} <= has[
        "mac"
    ]
    assert {"ControlLeft AltLeft Backspace", "ControlLeft AltLeft F1", "PrintScreen", "MetaLeft"} <= has["linux"]
    assert {"ControlLeft AltLeft Delete", "MetaLeft KeyR", "AltLeft F4", "MetaLeft KeyL"} <= has["windows"]
    assert "ControlLeft AltLeft F1" not in has["mac"] | has["windows"]


async def test_the_server_s_guest_is_chosen_first_and_a_person_s_choice_is_remembered_by_page(
    open_page: Open, desk: Desk
) -> None:
    told = {
        "mac": of_machine("mac"),
        "trial": of_machine("trial", guest="linux"),
        "display": of_display([":7"]),
        "far": of_host(["ann@far"]),
    }
    async with contextlib.AsyncExitStack() as stack:
        served: dict[str, ConsoleServer] = {}
        for name, telling in told.items():
            served[name] = serving(desk, info=ConsoleInfo(name, name, telling))
            await served[name].start()
            stack.push_async_callback(served[name].stop)
        desk.guest = "mac"  # what far's system turns out to be
        page = await open_page(served["mac"].url)
        choice = page.locator("#keys-menu select")
        for name, guest in (("mac", "mac"), ("trial", "linux"), ("display", "linux"), ("far", "mac")):
            await page.goto(served[name].url)
            await page.wait_for_selector("body[data-state=live]")
            await expect(choice).to_have_value(guest)
        await page.click("#keys")
        await expect(page.locator("#swap-row")).to_be_visible()
        await choice.select_option("windows")
        await expect(page.locator("#swap-row")).to_be_hidden()  # another guest has Alt where it is
        await page.reload()
        await page.wait_for_selector("body[data-state=live]")
        await expect(choice).to_have_value("windows")


async def test_the_menu_is_worked_by_keys_alone(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await expect(page.locator("#field")).to_be_focused()
    await page.locator("#keys").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.locator("#keys-menu select")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Force quit: Command Option Escape")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#keys-menu")).to_be_hidden()
    await expect(page.locator("#keys")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    desk.seen.clear()
    await page.keyboard.press("Enter")
    wanted = [(key.vk, down) for key, down in strokes(["MetaLeft", "AltLeft", "Escape"])]
    assert [(one.vk, one.down) for one in await desk.next(m.Key, 6) if isinstance(one, m.Key)] == wanted
    await expect(page.locator("#field")).to_be_focused()


# --- that they arrive ---


@contextlib.asynccontextmanager
async def shown(connection: Any) -> AsyncIterator[ConsoleServer]:
    """A real endpoint behind a real page."""
    endpoint = Endpoint(connection.source, connection.sink)
    server = ConsoleServer(
        info=ConsoleInfo("there"), token="t" * 43, serve_viewer=endpoint.serve, status=running, port=0
    )
    await server.start()
    pumping = asyncio.ensure_future(endpoint.run())
    try:
        yield server
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
        await server.stop()
        await connection.close()


async def running() -> dict[str, object]:
    return {"state": "running"}


async def test_every_chord_of_every_guest_arrives_at_qemu_s_keyboard(open_page: Open) -> None:
    with bare_qemu() as qemu:
        async with shown(await connect_vnc(qemu.vnc)) as server:
            page = await open_page(server.url)
            for guest in GUESTS:
                qemu.forget()
                pressed = await press_all(page, guest)
                wanted = [f"key {key.qcode} {'-+'[down]}" for key, down in pressed]
                async with asyncio.timeout(patient(10)):
                    while len(qemu.input_log()) < len(wanted):
                        await asyncio.sleep(0.02)
                assert qemu.input_log() == wanted, guest


async def test_every_chord_of_an_x_session_arrives_at_its_window(open_page: Open) -> None:
    with x_server("-r") as server, painter(server) as paint:  # no key repeats while this host is slow
        window = paint.open(Rect(0, 0, 320, 240), 0, events=X.KeyPressMask | X.KeyReleaseMask)
        paint.display.sync()
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
        paint.display.sync()
        async with shown(await connect_x11(server.name)) as console:
            page = await open_page(console.url)
            pressed = [(8 + key.evdev, down) for key, down in await press_all(page, "linux")]
            # With Ctrl and Alt a function key's press is the server's own (XKB's action XF86Switch_VT), its release is not.
            held = [(8 + KEY[code].evdev, True) for code in ("ControlLeft", "AltLeft")]
            functions = {(8 + KEY[f"F{number}"].evdev, True) for number in range(1, 13)}
            wanted = [
                one for at, one in enumerate(pressed) if not (one in functions and pressed[max(at - 2, 0) : at] == held)
            ]
            assert len(pressed) - len(wanted) == 12
            heard: list[tuple[int, bool]] = []
            async with asyncio.timeout(patient(10)):
                while len(heard) < len(wanted):
                    paint.display.sync()
                    for event in [paint.display.next_event() for _ in range(paint.display.pending_events())]:
                        if event.type in (X.KeyPress, X.KeyRelease):
                            heard.append((event.detail, event.type == X.KeyPress))
                    await asyncio.sleep(0.02)
            assert heard == wanted
