"""The main job, as a person does it: the page in a real browser, the real machine behind it."""

from __future__ import annotations

import asyncio
import re
import struct
import urllib.error
import urllib.request

import pytest
from playwright.async_api import Browser, Page
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from chromium import page_ms
from isolation import patient
from waits import wait_until

from .conftest import Trial

pytestmark = pytest.mark.e2e

# How many different colours a 40×25 sample of the canvas has, and where it is not black.
SAMPLE = """() => {
  const c = document.getElementById('screen'), x = c.getContext('2d'), seen = new Set();
  for (let i = 0; i < 40; i++) for (let j = 0; j < 25; j++) {
    const p = x.getImageData(Math.floor((i + .5) * c.width / 40), Math.floor((j + .5) * c.height / 25), 1, 1).data;
    seen.add(((p[0] >> 5) << 6) | ((p[1] >> 5) << 3) | (p[2] >> 5));
  }
  return [c.width, c.height, seen.size];
}"""


async def open_page(browser: Browser, url: str, width: int = 1400, height: int = 950) -> Page:
    page = await browser.new_page(viewport={"width": width, "height": height})
    await page.goto(url)
    await is_live(page)
    return page


async def is_live(page: Page) -> None:
    """Wait until pictures are shown. By attributes: the page's policy forbids the eval that waiting on a script takes."""
    await page.wait_for_selector("body[data-state=live]:not([data-frames='0'])", timeout=page_ms(20))


async def click_screen(page: Page, x: int, y: int, button: str = "left") -> None:
    """Click a point of the machine's screen, wherever the page has put it."""
    box = await page.locator("#screen").bounding_box()
    assert box is not None
    size = await page.evaluate("[document.getElementById('screen').width, document.getElementById('screen').height]")
    await page.mouse.click(box["x"] + x * box["width"] / size[0], box["y"] + y * box["height"] / size[1], button=button)


async def test_page_shows_the_desktop_and_typing_makes_a_file(trial: Trial, browser: Browser) -> None:
    page = await open_page(browser, trial.url)
    assert "token" not in page.url, "the token does not stay in the address bar"
    await click_screen(page, 320, 400)  # X blanks a screen that nobody has touched for ten minutes
    async with asyncio.timeout(patient(20)):
        while (seen := await page.evaluate(SAMPLE))[2] < 3:  # a desktop, not a blank screen
            await asyncio.sleep(0.2)
    assert seen[:2] == [1280, 800]
    await page.keyboard.type("echo Typed-in-the-Page_42 > ~/from-page\n")
    assert wait_until(lambda: trial.guest("cat from-page", status=None), 20) == "Typed-in-the-Page_42\n"
    await page.close()


async def has_focus(page: Page, x: int) -> None:
    """Wait until the title bar above `x` is orange. Keys that come sooner are rightly the other window's."""
    context = "document.getElementById('screen').getContext('2d')"
    pixel = f"Array.from({context}.getImageData({x - 200}, 93, 1, 1).data)"
    for _ in range(400):
        red, green, blue, _alpha = await page.evaluate(pixel)
        if red > 180 and blue < 120:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the window at {x} never got the focus: {red}, {green}, {blue}")


async def test_a_click_moves_focus(trial: Trial, browser: Browser) -> None:
    page = await open_page(browser, trial.url)
    ttys = {}
    for side, x in (("left", 320), ("right", 960)):
        await click_screen(page, x, 400)
        await has_focus(page, x)
        await page.keyboard.type(f"tty > ~/focus-{side}\n")
        ttys[side] = wait_until(lambda side=side: trial.guest(f"cat focus-{side}", status=None), 20)
    assert ttys["left"].startswith("/dev/pts/") and ttys["right"].startswith("/dev/pts/")
    assert ttys["left"] != ttys["right"], "each terminal has its own"
    await page.close()


async def show_the_same(one: Page, two: Page) -> None:
    """Wait until both show one picture. Not at once: each is sent its pictures at its own time while text still runs."""
    for _ in range(400):
        shown = await one.evaluate(SAMPLE), await two.evaluate(SAMPLE)
        if shown[0] == shown[1]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"twenty seconds later they still differ: {shown}")


async def test_two_viewers_see_the_same_and_a_reload_reconnects(trial: Trial, browser: Browser) -> None:
    # The second has its own cookie jar: another browser, so to speak.
    one = await open_page(browser, trial.url)
    other_context = await browser.new_context(viewport={"width": 1400, "height": 950})
    two = await other_context.new_page()
    await two.goto(trial.url)
    await is_live(two)
    await click_screen(one, 320, 400)
    await one.keyboard.type("clear; seq 1 30\n")
    picture = "document.getElementById('screen').toDataURL()"
    before = await two.evaluate(picture)
    await one.keyboard.type("seq 100 130\n")
    while await two.evaluate(picture) == before:
        await asyncio.sleep(0.05)
    await show_the_same(one, two)
    await one.reload()
    await is_live(one)
    assert (await one.evaluate(SAMPLE))[:2] == [1280, 800]
    await one.close()
    await other_context.close()


def test_without_the_token_nothing_is_served(trial: Trial) -> None:
    base = trial.url.split("?")[0]
    for url in (base, base + "?token=wrong", base + "kvm", base + "api/status", base + "static/app.css"):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(url)
        assert refusal.value.code == 403
        refusal.value.close()


async def test_a_foreign_origin_is_refused_and_a_bare_client_is_not(trial: Trial) -> None:
    with pytest.raises(InvalidStatus):
        await connect(trial.ws, origin=Origin("http://evil.example"))
    async with connect(trial.ws) as any_client:
        first = await any_client.recv()
        while isinstance(first, str):
            first = await any_client.recv()
    assert first == struct.pack(">4H", 7, 8, 1280, 800), "Screen comes first"


def test_up_tells_where_it_is(trial: Trial) -> None:
    assert trial.told["name"] == "trial"
    assert trial.told["state"] == "running"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", trial.url)
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/kvm\?token=[\w-]{43}", trial.ws)


async def test_links_to_look_by_who_looks_and_new_links(trial: Trial, browser: Browser) -> None:
    look = trial.shell.json("console", "trial", "--view-only")
    assert look["view_only"] is True
    page = await open_page(browser, look["url"])
    assert await page.locator("#looking").is_visible()
    assert (await page.evaluate(SAMPLE))[:2] == [1280, 800]
    seen = trial.shell.json("console", "trial", "--who")["looking"]
    assert [one["view_only"] for one in seen if "Chrome" in one["name"]] == [True]
    renewed = trial.shell.json("console", "trial", "--new-token")
    await page.wait_for_selector("body[data-state=refused]", timeout=page_ms(20))
    assert trial.shell.json("console", "trial")["url"] == renewed["url"] != trial.url
    for old in (trial.url, look["url"]):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(old)
        assert refusal.value.code == 403
        refusal.value.close()
    trial.told |= {"url": renewed["url"], "ws": renewed["ws"]}
    await page.close()
