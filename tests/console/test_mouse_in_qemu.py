"""The page's mouse in a real Chromium, down to what a real QEMU hands to its guest's mouse: one that knows only movements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from chromium import FLAGS
from isolation import patient
from pommel.console.server import ConsoleServer
from pommel.machine.mouse import MonitorMouse
from pommel.process import which
from pommel.screen.endpoint import Endpoint
from pommel.screen.sources.vnc import connect_vnc
from screen.bare_qemu import BareQemu, bare_qemu

from .conftest import serving
from .desk import Desk
from .test_mouse_in_chromium import wheel
from .test_page_in_chromium import box_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium itself: its headless shell tells of a locked mouse's first movement as if it came from elsewhere."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=which("chromium"), args=FLAGS)
        yield chromium
        await chromium.close()


@pytest.fixture(scope="module")
def qemu() -> Iterator[BareQemu]:
    with bare_qemu() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def console(qemu: BareQemu) -> AsyncIterator[ConsoleServer]:
    connection = await connect_vnc(qemu.vnc, monitor=MonitorMouse(qemu.qmp))
    endpoint = Endpoint(connection.source, connection.sink)
    server = serving(Desk(), serve_viewer=endpoint.serve)
    pumping = asyncio.ensure_future(endpoint.run())
    await server.start()
    yield server
    await server.stop()
    pumping.cancel()
    await connection.close()


async def logged(qemu: BareQemu, *lines: str) -> None:
    """Wait until QEMU's mouse has heard exactly this, not counting movements by nothing."""

    def heard() -> list[str]:
        return [line for line in qemu.input_log() if not line.endswith(" 0")]

    try:
        async with asyncio.timeout(patient(10)):
            while len(heard()) < len(lines):
                await asyncio.sleep(0.02)
    finally:
        assert heard() == list(lines)
    qemu.forget()


async def side(page: Page, button: str, x: float, y: float) -> None:
    session = await page.context.new_cdp_session(page)
    for kind in ("mousePressed", "mouseReleased"):
        await session.send(
            "Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": button, "clickCount": 1}
        )


async def test_wheels_sides_and_a_locked_mouse_reach_the_guest(
    browser: Browser, console: ConsoleServer, qemu: BareQemu
) -> None:
    page = await browser.new_page(viewport={"width": 1000, "height": 600})
    await page.goto(console.url)
    await page.wait_for_selector("body[data-state=live]")
    box = await box_of(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.mouse.move(x, y)
    qemu.forget()
    await page.mouse.wheel(0, -120)
    await logged(qemu, "btn wheel-up +", "btn wheel-up -")
    await wheel(page, {"deltaX": 40, "deltaY": 25}, {"deltaX": 40, "deltaY": 50}, {"deltaX": 20, "deltaY": 25})
    await logged(qemu, *(f"btn {name} {way}" for name in ("wheel-down", "wheel-right") for way in "+-"))
    for button in ("back", "forward"):
        await side(page, button, x, y)
    await logged(qemu, "btn side +", "btn side -", "btn extra +", "btn extra -")
    lock = page.locator("#lock")
    await lock.click()
    await expect(lock).to_have_attribute("aria-pressed", "true")
    await page.mouse.move(x, y)
    await asyncio.sleep(0.1)  # the first movement is counted from wherever the button was
    qemu.forget()
    await page.mouse.move(x + 30, y - 8)
    await page.mouse.down()
    await page.mouse.up()
    await logged(qemu, "rel x 30", "rel y -8", "btn left +", "btn left -")
    await page.close()
