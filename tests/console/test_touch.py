"""Gestures, zoom and pan in a real Chromium that is told of fingers: exactly the buttons that are meant, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, expect

from isolation import patient
from pommel.wire import messages as m

from .conftest import Open
from .desk import Desk
from .fingers import Fingers, Point
from .test_page_in_chromium import HANDS, box_of, ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 3,
}
LANDSCAPE = PHONE | {"viewport": {"width": 844, "height": 390}}
SCALE = "document.getElementById('screen').getBoundingClientRect().width / document.getElementById('screen').width"


async def phone(open_page: Open, desk: Desk, **options: Any) -> tuple[Page, Fingers]:
    page = await ready(await open_page(**(LANDSCAPE | options)), desk)
    return page, await Fingers.on(page)


async def point(page: Page, x: float, y: float) -> Point:
    """Where the middle of a pixel of the machine's is on the page."""
    box = await box_of(page)
    scale = box["width"] / await page.evaluate("document.getElementById('screen').width")
    return box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale


async def scale_of(page: Page) -> float:
    return float(await page.evaluate(SCALE))


def click(x: int, y: int, down: int = m.LEFT_DOWN, up: int = m.LEFT_UP) -> list[m.Mouse]:
    return [m.Mouse(x, y, down), m.Mouse(x, y, up)]


async def settled(page: Page, desk: Desk) -> list[Any]:
    """What the hands did, once the page has told all of it: what it is asked last comes after."""
    seen = len(desk.of(m.Refresh))
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await desk.until(lambda: len(desk.of(m.Refresh)) > seen)
    told = desk.of(HANDS)
    desk.seen.clear()
    return told


async def rung(page: Page) -> None:
    await expect(page.locator("#ring")).to_be_visible(timeout=patient(5) * 1000)


async def test_taps(open_page: Open, desk: Desk) -> None:
    page, fingers = await phone(open_page, desk)
    at = await point(page, 100, 50)
    await fingers.tap(at)
    assert await settled(page, desk) == [m.Mouse(100, 50), *click(100, 50)]
    # The second of two taps counts where the first did: no two land on one pixel.
    far = await point(page, 400, 300)
    await fingers.tap(far)
    await fingers.tap((far[0] + 9, far[1] - 9))
    assert await settled(page, desk) == [m.Mouse(400, 300), *click(400, 300), *click(400, 300)]
    # A finger trembles.
    await asyncio.sleep(0.4)
    await fingers.put(at)
    await fingers.move((at[0] + 6, at[1] + 6))
    await fingers.lift()
    assert await settled(page, desk) == [m.Mouse(100, 50), *click(100, 50)]


async def test_the_right_button(open_page: Open, desk: Desk) -> None:
    page, fingers = await phone(open_page, desk)
    right = click(100, 50, m.RIGHT_DOWN, m.RIGHT_UP)
    at = await point(page, 100, 50)
    await fingers.put(at)
    await rung(page)
    assert await settled(page, desk) == [], "it may still become a drag"
    await fingers.lift()
    assert await settled(page, desk) == [m.Mouse(100, 50), *right]
    await expect(page.locator("#ring")).to_be_hidden()
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    # Two fingers, which neither come nor go in one moment; what they do is done in the middle between them.
    one, two = (at[0] - 30, at[1]), (at[0] + 30, at[1])
    await fingers.put(one)
    await fingers.put(one, two)
    await fingers.lift(two)
    await fingers.lift()
    assert await settled(page, desk) == right


async def test_dragging(open_page: Open, desk: Desk) -> None:
    page, fingers = await phone(open_page, desk)
    begin, end = await point(page, 100, 50), await point(page, 300, 250)
    await fingers.put(begin)
    await rung(page)
    await fingers.slide([begin], [end])
    await fingers.lift()
    told = await settled(page, desk)
    assert told[:2] == [m.Mouse(100, 50), m.Mouse(100, 50, m.LEFT_DOWN)]
    assert {one.button for one in told[2:-1]} == {0}
    assert told[-2:] == [m.Mouse(300, 250), m.Mouse(300, 250, m.LEFT_UP)]
    # A tap, and at once a finger that moves: what a double click and a drag do.
    await fingers.tap(begin)
    await fingers.put(begin)
    await fingers.slide([begin], [end])
    await fingers.lift()
    told = await settled(page, desk)
    assert told[:4] == [m.Mouse(100, 50), *click(100, 50), m.Mouse(100, 50, m.LEFT_DOWN)]
    assert {one.button for one in told[4:-1]} == {0}
    assert told[-1] == m.Mouse(300, 250, m.LEFT_UP)
    # The browser takes the finger away in the middle of it: the button does not stay down.
    await asyncio.sleep(0.4)
    await fingers.put(begin)
    await rung(page)
    await fingers.slide([begin], [end])
    await fingers.lose()
    told = await settled(page, desk)
    assert [one.button for one in told if one.button] == [m.LEFT_DOWN, m.LEFT_UP]


async def test_one_finger_points_where_all_is_shown_and_two_turn_the_wheel(open_page: Open, desk: Desk) -> None:
    page, fingers = await phone(open_page, desk)
    begin, end = await point(page, 100, 300), await point(page, 300, 100)
    await fingers.put(begin)
    await fingers.slide([begin], [end])
    await fingers.lift()
    told = await settled(page, desk)
    assert {one.button for one in told} == {0} and told[-1] == m.Mouse(300, 100)
    one, two = await point(page, 200, 200), await point(page, 260, 200)
    down = (await scale_of(page)) * 200  # of the machine's pixels: four notches
    await fingers.put(one, two)
    await fingers.slide([one, two], [(one[0], one[1] + down), (two[0], two[1] + down)])
    await fingers.lift()
    told = await settled(page, desk)
    assert told[0] == m.Mouse(230, 200)
    assert {type(one) for one in told[1:]} == {m.MouseWheel} and {(one.x, one.y) for one in told} == {(230, 200)}
    assert 360 <= sum(one.delta for one in told[1:]) <= 480, "what is there goes down with the fingers"
    assert await page.evaluate("document.getElementById('stage').scrollTop") == 0


@pytest.mark.parametrize(("mode", "taps"), [("Fit", 0), ("1:1", 2)])
async def test_pinched_and_panned_the_pixel_under_the_finger_is_exact(
    open_page: Open, desk: Desk, mode: str, taps: int
) -> None:
    page, fingers = await phone(open_page, desk)
    for _ in range(taps):
        await page.tap("#fit")
    before = await scale_of(page)
    stage = await page.locator("#stage").bounding_box()
    assert stage
    middle = (stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    held = await page.evaluate(
        """async ([clientX, clientY]) => {
        const box = document.getElementById("screen").getBoundingClientRect();
        return [(clientX - box.left) / box.width * 640, (clientY - box.top) / box.height * 400]; }""",
        list(middle),
    )
    near = [(middle[0] - 20, middle[1]), (middle[0] + 20, middle[1])]
    apart = [(middle[0] - 160, middle[1]), (middle[0] + 160, middle[1])]
    await fingers.put(*near)
    await fingers.slide(near, apart)
    await fingers.lift()
    assert await settled(page, desk) == [], "a zoom is the page's own affair"
    assert await scale_of(page) == pytest.approx(min(before * 8, 4), rel=0.01)
    x, y = await point(page, held[0] - 0.5, held[1] - 0.5)
    assert (x, y) == (pytest.approx(middle[0], abs=1), pytest.approx(middle[1], abs=1)), "what was held stays there"
    # One finger pans it now, and presses nothing.
    await fingers.put(middle)
    await fingers.slide([middle], [(middle[0] + 50, middle[1] + 30)])
    await fingers.lift()
    assert await settled(page, desk) == []
    moved = await point(page, held[0] - 0.5, held[1] - 0.5)
    assert (moved[0] - x, moved[1] - y) == (pytest.approx(50, abs=1), pytest.approx(30, abs=1))
    for wanted in ((int(held[0]) - 9, int(held[1]) - 7), (int(held[0]) + 11, int(held[1]) + 3)):
        await asyncio.sleep(0.4)  # no double tap
        await fingers.tap(await point(page, *wanted))
        assert await settled(page, desk) == [m.Mouse(*wanted), *click(*wanted)]
    # The button leads back.
    await expect(page.locator("#fit span")).to_contain_text("%")
    await page.tap("#fit")
    assert await scale_of(page) == pytest.approx(before)
    await expect(page.locator("#fit span")).to_have_text(mode)


async def test_a_phone_held_upright_uses_its_height(open_page: Open, desk: Desk) -> None:
    page, fingers = await phone(open_page, desk, **PHONE)
    box, stage = await box_of(page), await page.locator("#stage").bounding_box()
    assert stage and box["height"] == pytest.approx(stage["height"], abs=1) and box["width"] > 2 * stage["width"]
    await expect(page.locator("#fit span")).to_have_text("Fill")
    at = (200.0, 400.0)
    await fingers.put(at)
    await fingers.slide([at], [(20, 400)])
    await fingers.lift()
    assert (await box_of(page))["x"] == pytest.approx(box["x"] - 180, abs=1)
    # Turned, it is all to be seen, until the person says otherwise.
    await page.set_viewport_size(LANDSCAPE["viewport"])
    await expect(page.locator("#fit span")).to_have_text("Fit")
    await page.set_viewport_size(PHONE["viewport"])
    await expect(page.locator("#fit span")).to_have_text("Fill")
    for name in ("1:1", "Fit"):
        await page.click("#fit")
        await expect(page.locator("#fit span")).to_have_text(name)
    await page.reload()
    await expect(page.locator("#fit span")).to_have_text("Fit")


async def test_a_tap_right_after_a_swipe_is_a_click(open_page: Open, desk: Desk) -> None:
    """Chromium takes the swipe for one that coasts on, though nothing scrolls, and the tap for what stops that."""
    page, fingers = await phone(open_page, desk)
    for name in ("#fit", "#keyrow [data-modifier] >> nth=0"):
        if "#keyrow" in name:
            await page.tap("#keyboard")
        button = page.locator(name)
        box = await button.bounding_box()
        assert box
        clicked = asyncio.ensure_future(
            button.evaluate("(button) => new Promise((done) => button.addEventListener('click', done, { once: true }))")
        )
        for _ in range(2):
            await fingers.put((400, 120))
            await fingers.slide([(400, 120)], [(560, 120)], 6)
            await fingers.lift()
        await fingers.tap((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
        await asyncio.wait_for(clicked, patient(5))


async def test_who_only_looks_zooms_and_does_nothing(open_page: Open, desk: Desk, console: Any) -> None:
    page = await open_page(console.look_url, **LANDSCAPE)
    await desk.until(lambda: m.Pause(False) in desk.seen)
    fingers = await Fingers.on(page)
    await fingers.tap((400, 200))
    near, apart = [(380.0, 200.0), (420.0, 200.0)], [(320.0, 200.0), (480.0, 200.0)]
    before = await scale_of(page)
    await fingers.put(*near)
    await fingers.slide(near, apart)
    await fingers.lift()
    assert await scale_of(page) > 2 * before
    assert await settled(page, desk) == []
