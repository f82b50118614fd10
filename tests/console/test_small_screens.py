"""The page on small screens, zoomed and in forced colours: nothing is cut off, what fingers press is as large as they are."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import expect

from isolation import patient

from .conftest import Open, serving
from .desk import Desk
from .pasteboard import Pasteboard

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOUCHED: dict[str, Any] = {"has_touch": True, "is_mobile": True}
# A window of 1280×800 at 200 % has 640×400 CSS pixels.
SCREENS: tuple[dict[str, Any], ...] = (
    TOUCHED | {"viewport": {"width": 390, "height": 844}},
    TOUCHED | {"viewport": {"width": 844, "height": 390}, "forced_colors": "active"},
    TOUCHED | {"viewport": {"width": 320, "height": 640}},
    TOUCHED | {"viewport": {"width": 360, "height": 740}},
    {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
    {"viewport": {"width": 640, "height": 400}, "forced_colors": "active"},
)

# What reaches out of the window, or out of what hides it; what a menu or the picture scrolls to counts as whole.
CUT = """() => [...document.querySelectorAll("body *")].filter((one) => {
  if (!one.checkVisibility() || one.closest("#frame, #soft")) return false;
  const box = one.getBoundingClientRect();
  if (!box.width || !box.height) return false;
  const menu = one.closest("[popover]");
  if (menu && menu !== one) return box.left < 0 || box.right > innerWidth;
  return box.left < -1 || box.top < -1 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1;
}).map((one) => one.id || one.textContent.trim().slice(0, 30))"""
SMALL = """() => [...document.querySelectorAll("button, select, label.check")].filter((one) => {
  const box = one.getBoundingClientRect();
  return one.checkVisibility() && (box.width < 44 || box.height < 44);
}).map((one) => one.id || one.textContent.trim())"""
# Both lie in the buttons: the picture, and under or beside it the name.
NAMED = """() => [...document.querySelectorAll("header [role=toolbar] button")].filter((one) => {
  if (!one.checkVisibility()) return false;
  const [name, box] = [one.querySelector("span"), one.getBoundingClientRect()].map((each) => each.getBoundingClientRect?.() ?? each);
  return name.width < 8 || name.left < box.left - 4 || name.right > box.right + 4 || name.bottom > box.bottom + 1;
}).map((one) => one.id)"""
ROWS = """() => new Set([...document.querySelectorAll("header [role=toolbar] > *")]
  .filter((one) => one.checkVisibility()).map((one) => Math.round(one.getBoundingClientRect().top))).size"""
DROP = """() => {
  const files = new DataTransfer();
  files.items.add(new File(["x"], "x"));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""
# How many keys are in each line of the row.
LINES = """() => {
  const lines = {};
  for (const key of document.querySelectorAll("#keyrow button")) {
    const { top, width } = key.getBoundingClientRect();
    if (width) lines[top] = (lines[top] ?? 0) + 1;
  }
  return Object.values(lines);
}"""
# By how much an open menu covers what the page says at its foot.
COVERED = """() => document.getElementById("keys-menu").getBoundingClientRect().bottom
  - document.getElementById("toast").getBoundingClientRect().top"""


async def test_nothing_is_cut_and_all_can_be_pressed(open_page: Open, desk: Desk) -> None:
    console = serving(desk, clipboard=Pasteboard())
    await console.start()
    for screen in SCREENS:
        page = await open_page(console.url, **screen)
        await expect(page.locator("#copy")).to_be_visible()
        if screen["viewport"]["width"] in (360, 390):
            assert await page.evaluate(ROWS) == 1, screen
        states = ["", "#keys"]
        if screen.get("has_touch"):
            states += ["#keyboard", "#keyrow [aria-expanded]"]
        for press in states:
            if press:
                await page.evaluate("(what) => document.querySelector(what).click()", press)
            found = [await page.evaluate(what) for what in (CUT, SMALL if screen.get("has_touch") else "[]", NAMED)]
            assert found == [[], [], []], (screen, press)
            if press == "#keys":
                await page.evaluate(DROP)
                await expect(page.locator("#toast")).to_be_visible()
                assert await page.evaluate(COVERED) <= 0, screen
                await page.evaluate("document.getElementById('keys-menu').hidePopover()")
        await page.context.close()
    await console.stop()


async def test_no_key_is_alone_in_a_line(open_page: Open) -> None:
    page = await open_page(has_touch=True, viewport={"width": 1280, "height": 800})
    await page.tap("#keyboard")
    assert await page.evaluate(LINES) == [12]
    await page.tap("#keyrow [aria-expanded]")
    for width, lines in ((1280, [13, 13]), (1340, [26]), (390, [7, 7, 7, 5])):
        await page.set_viewport_size({"width": width, "height": 800})
        async with asyncio.timeout(patient(10)):
            while await page.evaluate(LINES) != lines:
                await asyncio.sleep(0.05)


async def test_the_chosen_quality_stands_over_its_name(open_page: Open) -> None:
    """Chromium puts a select's words at the left, whatever a stylesheet says of its text."""
    page = await open_page(**SCREENS[0])
    for quality in ("low", "medium", "best"):
        await page.select_option("#quality", quality)
        shot = await page.locator("label:has(#quality)").screenshot(scale="css")
        dark = np.asarray(Image.open(io.BytesIO(shot)).convert("L")) < 160
        half = len(dark) * 3 // 5
        middles = [np.flatnonzero(part.any(axis=0)) for part in (dark[:half], dark[half:])]
        chosen, name = ((columns[0] + columns[-1]) / 2 for columns in middles)
        assert abs(chosen - name) <= 2, quality
