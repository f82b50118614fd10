"""Panels in the dock of the real page: one at a time, the keyboard theirs while the focus is in them, Esc and × close."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from pommel.wire import messages as m

from .conftest import Open
from .desk import Desk
from .test_page_in_chromium import HANDS, ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Two panels of the test's own, in the page's dock, by the page's module. What was called is written down.
TWO_PANELS = """async () => {
  const { Dock } = await import(new URL("static/dock.js", document.baseURI).href);
  const dock = new Dock(document.getElementById("dock"), { leave: () => document.getElementById("field").focus() });
  window.called = [];
  for (const name of ["first", "second"]) {
    const button = Object.assign(document.createElement("button"), { id: `to-${name}`, textContent: name, hidden: true });
    document.querySelector("[role=toolbar]").append(button);
    const place = Object.assign(document.createElement("section"), { id: name, className: "panel", hidden: true });
    place.innerHTML = '<div class="head"><h2></h2><button class="close" aria-label="Close">×</button></div><textarea></textarea>';
    document.getElementById("dock").append(place);
    const note = (what) => () => window.called.push(`${name} ${what}`);
    const focus = () => place.querySelector("textarea").focus();
    dock.add({ button, place, opened: note("opened"), closed: note("closed"), focus });
  }
}"""


async def with_panels(page: Page) -> Page:
    await page.evaluate(TWO_PANELS)
    return page


def pressed(desk: Desk) -> list[m.Command]:
    return [command for command in desk.seen if isinstance(command, HANDS)]


async def test_one_panel_is_shown_and_has_the_keyboard(open_page: Open, desk: Desk) -> None:
    page = await with_panels(await ready(await open_page(), desk))
    await page.click("#to-first")
    await page.click("#to-second")
    await expect(page.locator("#first")).to_be_hidden()
    await expect(page.locator("#second textarea")).to_be_focused()
    desk.seen.clear()  # the pointer has been over the picture
    await page.keyboard.type("abc")
    assert await page.locator("#second textarea").input_value() == "abc"
    assert [await page.get_attribute(f"#to-{name}", "aria-expanded") for name in ("first", "second")] == [
        "false",
        "true",
    ]
    await page.keyboard.press("Escape")
    await expect(page.locator("#dock")).to_be_hidden()
    await expect(page.locator("#field")).to_be_focused()
    assert await page.evaluate("called") == ["first opened", "first closed", "second opened", "second closed"]
    assert pressed(desk) == []  # neither the letters nor Esc
    await page.keyboard.press("x")
    await desk.until(lambda: len(pressed(desk)) == 2)


async def test_a_close_button_and_the_panels_own_button_close_it(open_page: Open) -> None:
    page = await with_panels(await open_page())
    for close in ("#first .close", "#to-first"):
        await page.click("#to-first")
        await expect(page.locator("#first")).to_be_visible()
        await page.click(close)
        await expect(page.locator("#dock")).to_be_hidden()
        await expect(page.locator("#field")).to_be_focused()


async def test_an_escape_that_a_panel_uses_itself_closes_nothing(open_page: Open) -> None:
    page = await with_panels(await open_page())
    await page.click("#to-first")
    await page.evaluate(
        "() => { document.querySelector('#first textarea').onkeydown = (event) => event.preventDefault() }"
    )
    await page.keyboard.press("Escape")
    await expect(page.locator("#first")).to_be_visible()
    await expect(page.locator("#first textarea")).to_be_focused()


@pytest.mark.parametrize(("width", "height", "beside"), [(1000, 600, False), (1400, 700, True), (390, 700, False)])
async def test_the_whole_picture_stays_in_sight(open_page: Open, width: int, height: int, beside: bool) -> None:
    page = await with_panels(await open_page(viewport={"width": width, "height": height}))
    await page.click("#to-first")
    await page.wait_for_function(
        """(beside) => {
          const [screen, dock] = ["screen", "dock"].map((id) => document.getElementById(id).getBoundingClientRect());
          const apart = beside ? screen.right <= dock.left + 1 : screen.bottom <= dock.top + 1;
          return apart && screen.width > 50 && dock.right <= innerWidth + 1 && dock.bottom <= innerHeight + 1;
        }""",
        arg=beside,
    )
