"""Fingers and a soft keyboard on the page of a real X session: what its windows hear is what was meant, and nothing else."""

from __future__ import annotations

import asyncio

from playwright.async_api import Browser
from Xlib import XK, X

from console.fingers import Fingers, Point
from isolation import patient
from pommel.screen.geometry import Rect
from screen.x_server import Painter, painter

from .test_kvm_serve import Served, desk  # noqa: F401
from .test_page import is_live

PHONE = {"width": 844, "height": 390}
MASK = X.KeyPressMask | X.KeyReleaseMask | X.ButtonPressMask | X.ButtonReleaseMask
KINDS = {X.KeyPress: "down", X.KeyRelease: "up", X.ButtonPress: "press", X.ButtonRelease: "release"}


async def hear(window: Painter, count: int, but: int = 0) -> list[tuple[object, ...]]:
    """The next `count` events: buttons (`but` one) with their places, keys with their keysyms."""
    heard: list[tuple[object, ...]] = []
    async with asyncio.timeout(patient(20)):
        while len(heard) < count:
            if not window.display.pending_events():
                await asyncio.sleep(0.02)
                continue
            event = window.display.next_event()
            if event.type in (X.ButtonPress, X.ButtonRelease):
                if event.detail == but:
                    continue
                heard.append((KINDS[event.type], event.detail, event.event_x, event.event_y))
            elif event.type in KINDS:
                heard.append((KINDS[event.type], window.display.get_keyboard_mapping(event.detail, 1)[0][0]))
    return heard


async def test_an_x_session_hears_fingers_exactly(desk: Served, browser: Browser) -> None:  # noqa: F811
    with painter(desk.server) as window:
        shown = window.open(Rect(0, 0, 800, 600), 0x2060C0, events=MASK)
        shown.set_input_focus(X.RevertToParent, X.CurrentTime)
        window.display.sync()
        context = await browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=3)  # type: ignore[arg-type]
        page = await context.new_page()
        await page.goto(desk.told["url"])
        await is_live(page)
        fingers = await Fingers.on(page)

        async def at(x: int, y: int) -> Point:
            box = await page.locator("#screen").bounding_box()
            assert box is not None
            return box["x"] + (x + 0.5) * box["width"] / 800, box["y"] + (y + 0.5) * box["height"] / 600

        await fingers.tap(await at(123, 456))
        assert await hear(window, 2) == [("press", 1, 123, 456), ("release", 1, 123, 456)]
        x, y = await at(300, 200)
        await fingers.tap((x - 30, y), (x + 30, y))
        assert await hear(window, 2) == [("press", 3, 300, 200), ("release", 3, 300, 200)]
        # Zoomed in, to the pixel.
        await fingers.put((x - 20, y), (x + 20, y))
        await fingers.slide([(x - 20, y), (x + 20, y)], [(x - 100, y), (x + 100, y)])
        await fingers.lift()
        await fingers.tap(await at(311, 207))
        assert await hear(window, 2) == [("press", 1, 311, 207), ("release", 1, 311, 207)]
        begin, end = await at(290, 190), await at(320, 210)
        await fingers.put(begin)
        await page.wait_for_selector("#ring:not([hidden])")
        await fingers.slide([begin], [end])
        await fingers.lift()
        assert await hear(window, 2) == [("press", 1, 290, 190), ("release", 1, 320, 210)]
        # Two fingers that go up turn the wheel down (button 5).
        one, two = await at(290, 220), await at(310, 220)
        await fingers.put(one, two)
        await fingers.slide([one, two], [(one[0], one[1] - 120), (two[0], two[1] - 120)])
        await fingers.lift()
        assert {event[1] for event in await hear(window, 4)} == {5}
        await page.click("#keyboard")
        await page.wait_for_selector("#keyrow:not([hidden])")
        session = await context.new_cdp_session(page)
        for text in ("h", "ho"):
            await session.send(
                "Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
            )
        await page.keyboard.press("Backspace")
        await page.get_by_role("button", name="Control").click()
        await session.send("Input.insertText", {"text": "c"})
        keys = [XK.XK_h, XK.XK_o, XK.XK_BackSpace]
        heard = [one for key in keys for one in (("down", key), ("up", key))]
        heard += [("down", XK.XK_Control_L), ("down", XK.XK_c), ("up", XK.XK_c), ("up", XK.XK_Control_L)]
        assert await hear(window, len(heard), but=5) == heard, "the wheel may still turn"
        await context.close()
