"""The page in a real Chromium, over a desk that knows what it showed and writes down what it was told."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser, Page, expect

from pommel.console.server import Admission, ConsoleServer, Secrets
from pommel.wire import messages as m
from pommel.wire.codec import encode

from .conftest import Open, serving
from .desk import COLOURS, Desk, patch

pytestmark = pytest.mark.asyncio(loop_scope="module")

PIXEL = """([x, y]) => {
  const data = document.getElementById("screen").getContext("2d").getImageData(x, y, 1, 1).data;
  return [data[0], data[1], data[2]];
}"""
HANDS = (m.Key, m.KeyUnicode, m.Mouse, m.MouseWheel, m.Turn, m.SideButton, m.MoveBy)


async def colour_at(page: Page, x: int, y: int) -> str:
    """The nearest of the desk's colours at a pixel of the canvas, exact to JPEG's losses."""
    found = await page.evaluate(PIXEL, [x, y])
    for name, colour in COLOURS.items():
        if all(abs(a - b) <= 6 for a, b in zip(found, colour, strict=True)):
            return name
    return str(found)


async def ready(page: Page, desk: Desk) -> Page:
    """Forget what a page does when it opens."""
    await expect(page.locator("#field")).to_be_focused()
    await desk.until(lambda: m.Pause(False) in desk.seen)
    desk.seen.clear()
    return page


async def frames(page: Page, more_than: int) -> None:
    await page.wait_for_function("(count) => Number(document.body.dataset.frames) > count", arg=more_than)


async def box_of(page: Page) -> dict[str, float]:
    box = await page.locator("#screen").bounding_box()
    assert box is not None
    return dict(box)


# --- the picture ---


async def test_pictures_land_in_their_places(open_page: Open) -> None:
    page = await open_page()
    await frames(page, 3)
    places = {(0, 0): "red", (319, 199): "red", (320, 0): "green", (639, 199): "green", (0, 200): "blue"}
    places |= {(319, 399): "blue", (320, 200): "white", (639, 399): "white"}
    for (x, y), colour in places.items():
        assert await colour_at(page, x, y) == colour, (x, y)
    assert await page.title() == "A <Desk>"
    assert await page.evaluate("location.search") == ""


async def test_the_newest_picture_is_on_top_whatever_decodes_first(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await frames(page, 3)
    # The large one takes longer to decode than the small one that follows it.
    await desk.show(m.Picture(0, 0, patch(640, 400, "blue")), m.Picture(8, 8, patch(16, 16, "green")))
    await frames(page, 5)
    assert await colour_at(page, 12, 12) == "green"
    assert await colour_at(page, 100, 100) == "blue"


async def test_a_jumbo_picture_and_a_new_size(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await frames(page, 3)
    picture = m.Picture(0, 0, patch(2000, 1200, "green") + bytes(70_000))  # bytes after a JPEG's end are no part of it
    assert encode(picture)[:4] == b"\x00\x1b\x00\x08"
    await desk.show(m.Screen(2000, 1200), picture)
    await frames(page, 4)
    assert await page.evaluate("(({width, height}) => [width, height])(document.getElementById('screen'))") == [
        2000,
        1200,
    ]
    assert await colour_at(page, 1999, 1199) == "green"


async def test_a_screen_that_repeats_itself_keeps_the_picture(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await frames(page, 3)
    await desk.show(m.Screen(640, 400), m.Picture(0, 0, patch(8, 8, "blue")))
    await frames(page, 4)
    assert await colour_at(page, 639, 399) == "white"


async def test_a_broken_picture_is_asked_for_again_once(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await ready(page, desk)
    await desk.show(m.Picture(0, 0, b"no JPEG"), m.Picture(0, 0, b"nor this"), m.Picture(0, 0, patch(8, 8, "blue")))
    await desk.next(m.Refresh, 1)
    await frames(page, 8)  # the four quarters twice, and the blue one
    assert desk.of(m.Refresh) == []
    assert await colour_at(page, 2, 2) == "red", "the picture is whole again"


async def test_pointer_shape_lock_light_and_messages(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await expect(page.locator("#caps")).to_be_hidden()
    await desk.show(m.MouseCursor(m.CursorShape.NONE), m.KeyState(m.CAPS_LOCK | m.NUM_LOCK), m.Alert("Oops <b>"))
    note = page.locator("#note")
    await expect(note).to_have_text("Oops <b>")
    await expect(page.locator("#caps")).to_be_visible()
    await expect(page.locator("#screen")).to_have_css("cursor", "none")
    await desk.show(m.MouseCursor(m.CursorShape.TEXT), m.KeyState(0), m.Message("Hello"))
    await expect(page.locator("#note p")).to_have_text("Oops <b>\nHello")
    await expect(page.locator("#caps")).to_be_hidden()
    await expect(page.locator("#screen")).to_have_css("cursor", "text")
    await desk.say('{"ctrlChannel":"102938","type":"console","msg":"cannot type: é"}')
    await expect(note).to_contain_text("cannot type: é")
    await desk.say('{"ctrlChannel":"102938","type":"console","msg":null}')
    await expect(note).to_be_hidden()
    await desk.say("{")
    await desk.show(m.Alert(".for the log only"))
    await expect(note).to_be_hidden()


async def test_what_the_endpoint_says_stands_until_pictures_come_again(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await page.clock.install()
    note = page.locator("#note")
    await desk.say('{"ctrlChannel":"102938","type":"console","msg":"switching session…"}')
    await expect(note).to_have_text("switching session…")
    await page.clock.fast_forward(60_000)
    await expect(note).to_be_visible()
    await desk.show(m.Screen(640, 400))
    await expect(note).to_be_visible()
    await desk.show(m.Picture(0, 0, patch(8, 8, "blue")))
    await expect(note).to_be_hidden()
    # The next session may be there at once; then it has been switched.
    await page.clock.pause_at(await page.evaluate("Date.now() + 1000"))
    await desk.say('{"ctrlChannel":"102938","type":"console","msg":"switching session…"}')
    await expect(note).to_be_visible()
    await desk.show(m.Screen(640, 400), m.Picture(0, 0, patch(8, 8, "blue")))
    await expect(note).to_be_hidden()


async def test_what_the_endpoint_says_while_pictures_come_can_be_read(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await page.clock.install()
    note = page.locator("#note")
    seen = int(await page.evaluate("document.body.dataset.frames"))
    await desk.show(m.Message("cannot type: é"), m.Picture(0, 0, patch(8, 8, "blue")))
    await frames(page, seen)
    await expect(note).to_have_text("cannot type: é")
    await page.clock.fast_forward(5_000)
    await expect(note).to_be_hidden()
    await desk.show(m.Message("by hand"))
    await page.get_by_role("button", name="Dismiss").click()
    await expect(note).to_be_hidden()


# --- the acknowledgements ---


async def test_the_page_says_what_it_can_before_anything_else(open_page: Open, desk: Desk) -> None:
    await open_page()
    await desk.until(lambda: m.Pause(False) in desk.seen)
    assert desk.seen[0] == m.Abilities(
        m.ACKNOWLEDGES | m.TAKES_WEBP | m.TAKES_PNG | m.TAKES_VIDEO | m.SHOWS_POINTER | m.ASKS_OF_MOUSE | m.TAKES_MOVES
    )
    assert [type(command) for command in desk.seen] == [m.Abilities, m.Compression, m.GetDisplays, m.Pause]


async def test_every_picture_is_acknowledged_once_in_order_drawn_or_not(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await desk.until(lambda: desk.shown[-1:] == [4])
    small = [m.Picture(8 * n, 0, patch(8, 8, "green")) for n in range(50)]
    await desk.show(m.Picture(0, 0, patch(640, 400, "blue")), *small, m.Picture(0, 0, patch(640, 400, "white")))
    await desk.until(lambda: desk.shown[-1:] == [56])
    assert desk.shown == sorted(set(desk.shown)), "it only grows"
    assert await colour_at(page, 4, 4) == await colour_at(page, 399, 4) == "white"
    desk.seen.clear()
    await desk.show(m.Picture(0, 0, b"no picture"))
    await desk.next(m.Refresh, 1)
    await desk.until(lambda: desk.shown[-1:] == [61])
    # A new connection counts from nothing.
    desk.shown.clear()
    await desk.viewers[0].close(1001, "")
    await desk.until(lambda: desk.shown[-1:] == [4])


async def test_a_hidden_page_acknowledges_too(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await desk.until(lambda: desk.shown[-1:] == [4])
    await page.evaluate("window.requestAnimationFrame = () => 0")
    await desk.show(*[m.Picture(8 * n, 0, patch(8, 8, "green")) for n in range(10)])
    await desk.until(lambda: desk.shown[-1:] == [14])


async def test_an_older_picture_that_is_covered_is_neither_waited_for_nor_drawn(open_page: Open) -> None:
    page = await open_page()
    drawn = await page.evaluate(
        """async () => {
          const { Picture } = await import(document.baseURI + "static/picture.js");
          const real = window.createImageBitmap;
          const waiting = [];
          const colours = ["red", "green", "blue"];
          window.createImageBitmap = () => new Promise((done) => waiting.push(done));
          const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
          const counts = [];
          const picture = new Picture(canvas, document.getElementById("stage"), {
            drawn: (count, shown) => counts.push([count, shown]), broken: () => counts.push("broken"),
            laidOut: () => {} });
          const solid = async (width, height, colour) => {
            const one = Object.assign(new OffscreenCanvas(width, height));
            const context = one.getContext("2d");
            context.fillStyle = colour;
            context.fillRect(0, 0, width, height);
            return real(one);
          };
          const at = (x, y) => [...canvas.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3);
          const settle = () => new Promise((done) => setTimeout(done, 0));
          picture.add(0, 0, new Uint8Array());     // not decoded before the end
          picture.add(20, 20, new Uint8Array());
          picture.add(0, 0, new Uint8Array());
          picture.add(0, 0, new Uint8Array());
          waiting[1](await solid(10, 10, "#f00"));
          await settle();
          const before = structuredClone(counts);
          waiting[2](await solid(20, 20, "#0f0"));  // covers neither of the first two for certain
          await settle();
          const still = structuredClone(counts);
          waiting[3](await solid(40, 40, "#00f"));
          await settle();
          const after = [structuredClone(counts), at(0, 0), at(25, 25)];
          waiting[0](await solid(40, 40, "#f0f"));  // late: it must not go over what is newer
          await settle();
          return [before, still, after, counts, at(0, 0)];
        }"""
    )
    blue = [0, 0, 255]
    assert drawn == [[], [], [[[4, 1]], blue, blue], [[4, 1]], blue]


async def test_pictures_of_other_formats(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await frames(page, 3)
    for count, (kind, colour) in enumerate({"PNG": "green", "WEBP": "blue"}.items()):
        image = io.BytesIO()
        Image.new("RGB", (640, 400), COLOURS[colour]).save(image, kind, lossless=True)
        await desk.show(m.Picture(0, 0, image.getvalue()))
        await frames(page, 4 + count)
        assert await colour_at(page, 320, 200) == colour


# --- the displays ---

TWO = (m.Display(1, 0, 0, 1920, 1080), m.Display(2, 1920, 0, 1280, 1024))


async def test_one_display_is_no_choice(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await desk.show(m.DisplayInfo(TWO[:1]), m.DisplayList((1, m.ALL_DISPLAYS), 1), m.KeyState(m.CAPS_LOCK))
    await expect(page.locator("#caps")).to_be_visible()
    await expect(page.locator("#displays")).to_be_hidden()


async def test_the_displays_menu(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await desk.show(m.DisplayInfo(TWO), m.DisplayList((1, 2, m.ALL_DISPLAYS), m.ALL_DISPLAYS))
    button = page.locator("#displays")
    await expect(button).to_have_text("All displays")
    await button.click()
    rows = page.locator("#displays-menu button")
    assert await rows.all_inner_texts() == ["Display 1\n1920 × 1080", "Display 2\n1280 × 1024", "All displays"]
    await expect(page.locator("#displays-menu [aria-pressed=true]")).to_have_text("All displays")
    assert await page.locator("#displays-menu rect.shown").count() == 2
    await page.get_by_role("button", name="Display 2").click()
    assert await desk.next(m.SetDisplay, 1) == [m.SetDisplay(2)]
    await expect(page.locator("#field")).to_be_focused()
    await expect(page.locator("#displays-menu")).to_be_hidden()
    await expect(button).to_have_text("All displays")  # what is shown, the machine says
    await desk.show(m.SetDisplay(2))
    await expect(button).to_have_text("Display 2")
    assert await page.locator("#displays-menu rect.shown").count() == 1
    # By the keyboard alone, and while the list changes under it.
    await button.focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(rows.nth(0)).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await desk.show(m.DisplayList((1, 2, m.ALL_DISPLAYS), 1))
    await expect(button).to_have_text("Display 1")
    await expect(rows.nth(2)).to_be_focused()
    await page.keyboard.press("Enter")
    assert await desk.next(m.SetDisplay, 1) == [m.SetDisplay(m.ALL_DISPLAYS)]
    # The map's displays can be clicked too; one that is unplugged takes the menu with it.
    await button.click()
    await page.locator("#displays-menu rect").nth(1).click()
    assert await desk.next(m.SetDisplay, 1) == [m.SetDisplay(2)]
    await button.click()
    await desk.show(m.DisplayList((), 0))
    await expect(button).to_be_hidden()
    await expect(page.locator("#displays-menu")).to_be_hidden()


# --- the pointer ---


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("mode", ["fit", "1:1"])
async def test_the_pixel_under_the_pointer(open_page: Open, desk: Desk, ratio: int, mode: str) -> None:
    page = await ready(await open_page(device_scale_factor=ratio), desk)
    if mode == "1:1":
        await page.click("#fit")
    box = await box_of(page)
    if mode == "1:1":
        assert box["width"] == pytest.approx(640 / ratio)
        assert box["height"] == pytest.approx(400 / ratio)
    else:
        assert box["height"] == pytest.approx(await page.evaluate("document.getElementById('stage').clientHeight"))
    assert box["width"] / box["height"] == pytest.approx(1.6, rel=0.01)
    for x, y in ((0, 0), (639, 399), (123, 321), (320, 200)):
        desk.seen.clear()
        scale = box["width"] / 640
        await page.mouse.move(box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale)
        assert await desk.next(m.Mouse, 1) == [m.Mouse(x, y)]


async def test_a_screen_larger_than_the_window_is_fitted_or_scrolled(open_page: Open, desk: Desk) -> None:
    desk.width, desk.height = 1600, 1200
    page = await ready(await open_page(viewport={"width": 500, "height": 400}), desk)
    stage = "document.getElementById('stage')"
    assert await page.evaluate(
        f"{stage}.scrollWidth <= {stage}.clientWidth && {stage}.scrollHeight <= {stage}.clientHeight"
    )
    await page.click("#fit")
    await expect(page.locator("#fit")).to_have_text("1:1")
    await page.evaluate(f"{stage}.scrollTo(10000, 10000)")
    box = await box_of(page)
    assert (box["width"], box["height"]) == (1600, 1200)
    desk.seen.clear()
    await page.mouse.move(box["x"] + 1590.5, box["y"] + 1180.5)
    assert await desk.next(m.Mouse, 1) == [m.Mouse(1590, 1180)]
    # What was chosen is still so after a reload.
    await page.reload()
    await expect(page.locator("#fit")).to_have_text("1:1")


async def test_buttons_and_dragging_out_of_the_picture(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    box = await box_of(page)
    scale = box["width"] / 640

    async def move(x: float, y: float) -> None:
        await page.mouse.move(box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale)

    await move(10, 20)
    assert await desk.next(m.Mouse, 1) == [m.Mouse(10, 20)]
    for button, down, up in (
        ("left", m.LEFT_DOWN, m.LEFT_UP),
        ("right", m.RIGHT_DOWN, m.RIGHT_UP),
        ("middle", m.MIDDLE_DOWN, m.MIDDLE_UP),
    ):
        await page.mouse.down(button=button)  # type: ignore[arg-type]
        await page.mouse.up(button=button)  # type: ignore[arg-type]
        assert await desk.next(m.Mouse, 2) == [m.Mouse(10, 20, down), m.Mouse(10, 20, up)]
    await page.mouse.down()
    await move(-50, 390)
    await page.mouse.down(button="right")
    await page.mouse.up()
    await page.mouse.up(button="right")
    assert await desk.next(m.Mouse, 5) == [
        m.Mouse(10, 20, m.LEFT_DOWN),
        m.Mouse(0, 390),
        m.Mouse(0, 390, m.RIGHT_DOWN),
        m.Mouse(0, 390, m.LEFT_UP),
        m.Mouse(0, 390, m.RIGHT_UP),
    ]
    assert desk.of(HANDS) == []


async def test_the_wheel(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    box = await box_of(page)
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for delta_y, wanted in ((120, -120), (-120, 120)):
        desk.seen.clear()
        await page.mouse.wheel(0, delta_y)
        assert await desk.next(m.MouseWheel, 1) == [m.MouseWheel(320, 200, wanted)]
    # A touchpad's small steps add up to whole notches, for an endpoint that tells of no better wheel.
    turn = """(steps) => steps.forEach((deltaY) => document.getElementById("screen").dispatchEvent(
      new WheelEvent("wheel", { deltaY, clientX: innerWidth / 2, clientY: innerHeight / 2 })))"""
    await page.evaluate(turn, [20, 20, 20, 20, 20, 20, -10, 20, 20, 20, 20, 19, 300])
    turned = await desk.next(m.MouseWheel, 3)
    assert [command.delta for command in turned if isinstance(command, m.MouseWheel)] == [-120, -120, -360]


# --- the keyboard ---


def keys(*pressed: tuple[int, bool] | tuple[int, bool, bool]) -> list[m.Key]:
    return [m.Key(vk, down, *extended) for vk, down, *extended in pressed]


async def test_keys_are_physical_and_modifiers_a_mac_s(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.keyboard.press("a")
    assert await desk.next(m.Key, 2) == keys((0x41, True), (0x41, False))
    await page.keyboard.press("Meta+Alt+Escape")
    assert await desk.next(m.Key, 6) == keys(
        (0x5B, True, True), (0x12, True), (0x1B, True), (0x1B, False), (0x12, False), (0x5B, False, True)
    )  # fmt: skip
    await page.keyboard.press("Shift+Digit4")
    assert await desk.next(m.Key, 4) == keys((0x10, True), (0x34, True), (0x34, False), (0x10, False))
    for code, vk, extended in (
        ("ControlRight", 0x11, True), ("AltRight", 0x12, True), ("NumpadEnter", 0x0D, True), ("Tab", 0x09, False),
        ("Enter", 0x0D, False), ("ArrowLeft", 0x25, True), ("F5", 0x74, False), ("Backspace", 0x08, False),
        ("ShiftRight", 0xA1, False), ("Delete", 0x2E, True), ("Backquote", 0xC0, False),
    ):  # fmt: skip
        await page.keyboard.press(code)
        assert await desk.next(m.Key, 2) == [m.Key(vk, True, extended), m.Key(vk, False, extended)], code
    assert desk.of(HANDS) == []
    await expect(page.locator("#field")).to_be_focused()


async def test_swapped_alt_is_command(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.click("#keys")
    await page.check("#swap")
    await page.keyboard.press("Escape")
    await page.locator("#field").focus()
    desk.seen.clear()
    await page.keyboard.press("AltLeft")
    await page.keyboard.press("MetaLeft")
    await page.keyboard.press("AltRight")
    assert await desk.next(m.Key, 6) == keys(
        (0x5B, True, True), (0x5B, False, True), (0x12, True), (0x12, False), (0x5C, True, True), (0x5C, False, True)
    )  # fmt: skip


async def test_a_key_that_is_held_repeats_but_a_modifier_does_not(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    for key in ("Shift", "Shift", "x", "x"):
        await page.keyboard.down(key)
    for key in ("x", "Shift"):
        await page.keyboard.up(key)
    assert await desk.next(m.Key, 5) == keys((0x10, True), (0x58, True), (0x58, True), (0x58, False), (0x10, False))


async def test_all_is_released_when_the_focus_goes(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.mouse.move(500, 300)
    await page.mouse.down()
    await page.keyboard.down("Meta")
    await page.keyboard.down("s")
    await desk.next(m.Key, 2)
    await page.evaluate("document.getElementById('field').blur()")
    await desk.until(lambda: len(desk.of((m.Key, m.Mouse))) >= 3)
    assert desk.of(m.Key) == keys((0x53, False), (0x5B, False, True))
    assert [command.button for command in desk.of(m.Mouse) if isinstance(command, m.Mouse)] == [m.LEFT_UP]
    await page.mouse.up()
    await page.keyboard.up("s")


async def test_all_is_released_when_the_window_loses_the_focus(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.keyboard.down("Control")
    await page.evaluate("window.dispatchEvent(new Event('blur'))")
    assert await desk.next(m.Key, 2) == keys((0x11, True), (0x11, False))


async def test_ctrl_alt_shift_leaves_the_screen_and_its_chords_do_not(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(viewport={"width": 1100, "height": 600}), desk)
    await expect(page.locator("#hint")).to_be_visible()
    await page.keyboard.press("Control+Alt+Shift+KeyK")
    assert len(await desk.next(m.Key, 8)) == 8
    await expect(page.locator("#field")).to_be_focused()
    for key in ("Control", "Alt", "Shift"):
        await page.keyboard.down(key)
    await page.keyboard.up("Alt")
    await expect(page.locator("#fit")).to_be_focused()
    await expect(page.locator("#hint")).to_be_hidden()
    down = {command.vk for command in desk.of(m.Key) if isinstance(command, m.Key) and command.down}
    up = {command.vk for command in desk.of(m.Key) if isinstance(command, m.Key) and not command.down}
    assert down == up == {0x10, 0x11, 0x12}
    for key in ("Control", "Shift"):
        await page.keyboard.up(key)
    desk.seen.clear()
    await page.keyboard.press("Tab")
    await expect(page.locator("#quality")).to_be_focused()
    assert desk.of(HANDS) == []


async def test_every_control_is_reached_by_tab_and_has_a_name(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(viewport={"width": 500, "height": 400}), desk)
    await page.locator("#fit").focus()
    order = ["fit"]
    for _ in range(6):
        await page.keyboard.press("Tab")
        order.append(await page.evaluate("document.activeElement.id"))
    assert order == ["fit", "quality", "keys", "type", "shot", "full", "field"]
    for id in order:
        name = await page.evaluate(
            "(id) => { const e = document.getElementById(id); return e.ariaLabel ?? e.labels?.[0]?.innerText ?? e.innerText; }",
            id,
        )
        assert name.strip(), id


async def test_a_program_that_types_shifted_characters_without_shift_is_understood(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.keyboard.type(">A")  # Playwright claims `>` of the key Period, and presses no Shift
    typed = await desk.next(m.KeyUnicode, 4)
    assert typed == [m.KeyUnicode(ord(char), down) for char in ">A" for down in (True, False)]
    await page.keyboard.press("Shift+Period")  # a person's
    assert await desk.next(m.Key, 4) == keys((0x10, True), (0xBE, True), (0xBE, False), (0x10, False))
    assert desk.of(HANDS) == []


async def test_text_of_an_input_method_and_pasted_text_is_typed(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.keyboard.insert_text("né\n")
    typed = await desk.next(m.KeyUnicode, 6)
    assert typed == [m.KeyUnicode(ord(char), down) for char in "né\n" for down in (True, False)]
    session = await page.context.new_cdp_session(page)
    await session.send("Input.imeSetComposition", {"text": "に", "selectionStart": 1, "selectionEnd": 1})
    await session.send("Input.insertText", {"text": "日"})
    assert await desk.next(m.KeyUnicode, 2) == [m.KeyUnicode(ord("日"), True), m.KeyUnicode(ord("日"), False)]
    assert desk.of(HANDS) == []
    assert await page.input_value("#field") == ""


# --- the toolbar ---


async def test_typing_a_text(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.click("#type")
    await page.fill("#type-text", "Hi 😀\r\nthere")
    await page.keyboard.press("Control+Enter")
    text = "Hi 😀\nthere".encode("utf-16-be")
    units = struct.unpack(f">{len(text) // 2}H", text)
    typed = await desk.next(m.KeyUnicode, 2 * len(units))
    assert typed == [m.KeyUnicode(unit, down) for unit in units for down in (True, False)]
    await expect(page.locator("#type-dialog")).to_be_hidden()
    await expect(page.locator("#field")).to_be_focused()
    await page.click("#type")
    await page.fill("#type-text", "never")
    await page.keyboard.press("Escape")
    await expect(page.locator("#field")).to_be_focused()
    assert desk.of(m.KeyUnicode) == []


async def test_quality(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await desk.until(lambda: desk.of(m.Compression))
    assert desk.of(m.Compression) == [m.Compression(m.ImageFormat.JPEG, 75, m.SCALE_ONE, 33)]
    desk.seen.clear()
    await page.select_option("#quality", "low")
    assert await desk.next(m.Compression, 1) == [m.Compression(m.ImageFormat.JPEG, 30, m.SCALE_ONE, 100)]
    await page.reload()
    assert await desk.next(m.Compression, 1) == [m.Compression(m.ImageFormat.JPEG, 30, m.SCALE_ONE, 100)]
    await page.evaluate("localStorage.setItem('pommel', '{\"quality\":\"silly\"}')")
    await page.reload()
    assert await desk.next(m.Compression, 1) == [m.Compression(m.ImageFormat.JPEG, 75, m.SCALE_ONE, 33)]


async def test_a_screenshot_is_the_machine_s_pixels(open_page: Open) -> None:
    page = await open_page(viewport={"width": 500, "height": 300})
    await frames(page, 3)
    async with page.expect_download() as waiting:
        await page.click("#shot")
    download = await waiting.value
    assert download.suggested_filename.startswith("desk-20")
    assert download.suggested_filename.endswith(".png")
    data = (await download.path()).read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (640, 400)


async def test_full_screen_and_back(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    await page.click("#full")
    await page.wait_for_function("() => document.fullscreenElement !== null")
    await expect(page.locator("#full")).to_have_attribute("aria-pressed", "true")
    await expect(page.locator("#field")).to_be_focused()
    await page.evaluate("document.exitFullscreen()")
    await expect(page.locator("#full")).to_have_attribute("aria-pressed", "false")


# --- the connection ---


async def test_a_hidden_page_asks_for_no_pictures(open_page: Open, desk: Desk, browser: Browser) -> None:
    page = await ready(await open_page(), desk)
    await page.keyboard.down("Shift")
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await page.evaluate(hide, True)
    await desk.until(lambda: m.Pause(True) in desk.seen)
    assert desk.seen == [m.Key(0x10, True), m.Key(0x10, False), m.Pause(True)]
    desk.seen.clear()
    await page.evaluate(hide, False)
    await desk.until(lambda: m.Refresh() in desk.seen)
    assert desk.seen == [m.Pause(False), m.Refresh()]


async def test_the_page_comes_back_when_the_server_does(open_page: Open, desk: Desk, console: ConsoleServer) -> None:
    page = await ready(await open_page(), desk)
    await page.keyboard.down("Shift")
    await console.stop()
    await page.wait_for_selector("body[data-state=ended]")
    await expect(page.locator("#notice-text")).to_have_text("The console has been closed.")
    await expect(page.locator("#retry")).to_be_visible()
    await expect(page.locator("#type")).to_be_disabled()
    again = serving(desk, token=Admission(Secrets.read(console.secrets.document())), port=console.port)
    await again.start()
    assert again.port == console.port
    desk.seen.clear()
    await page.wait_for_selector("body[data-state=live]")
    await desk.until(lambda: desk.of(m.Compression))
    await expect(page.locator("#notice")).to_be_hidden()
    await page.locator("#field").focus()
    desk.seen.clear()
    await page.keyboard.up("Shift")  # went down before the break: the machine has long let go of it
    await page.keyboard.press("b")
    assert await desk.next(m.Key, 2) == keys((0x42, True), (0x42, False))
    await again.stop()


async def test_a_server_with_another_token_refuses_and_the_page_says_what_to_do(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page = await open_page()
    await console.stop()
    again = serving(desk, port=console.port)
    await again.start()
    await page.wait_for_selector("body[data-state=refused]")
    await expect(page.locator("#notice")).to_contain_text("pommel console desk")
    await again.stop()


async def test_a_machine_that_is_stopped_and_one_that_comes_up(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    desk.state = "stopped"
    await desk.viewers[0].close(1001, "desk has stopped")
    await page.wait_for_selector("body[data-state=stopped]")
    await expect(page.locator("#notice-text")).to_have_text("desk has stopped.")
    await expect(page.locator("#note")).to_be_hidden()  # said once
    desk.state, desk.silent = "starting", True
    await page.wait_for_selector("body[data-state=waiting]")
    await expect(page.locator("#notice-text")).to_have_text("desk is starting…")
    await desk.picture_to(desk.viewers[0])
    await page.wait_for_selector("body[data-state=live]")


async def test_a_person_need_not_wait_for_the_next_try(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await page.clock.install()
    await page.clock.pause_at(await page.evaluate("Date.now() + 1000"))  # it never tries again by itself
    desk.state = "stopped"
    await desk.viewers[0].close(1001, "")
    await page.wait_for_selector("body[data-state=stopped]")
    desk.state = "running"
    await page.click("#retry")
    await page.wait_for_selector("body[data-state=live]")
    await expect(page.locator("#field")).to_be_focused()


async def test_a_server_that_speaks_nonsense_is_left_and_tried_again(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    came = desk.came
    await desk.viewers[0].send(b"\x00\x07\x00\x03")
    await desk.until(lambda: desk.came > came)
    await page.wait_for_selector("body[data-state=live]")


async def test_two_consoles_side_by_side(open_page: Open, desk: Desk, console: ConsoleServer) -> None:
    other_desk = Desk(320, 200)
    other = serving(other_desk)
    await other.start()
    page = await open_page()
    second = await page.context.new_page()
    await second.goto(other.url)
    await second.wait_for_selector("body[data-state=live]")
    size: Any = "document.getElementById('screen').width"
    for _ in range(2):
        assert (await page.evaluate(size), await second.evaluate(size)) == (640, 320)
        await page.reload()
        await second.reload()
        await page.wait_for_selector("body[data-state=live]")
        await second.wait_for_selector("body[data-state=live]")
    await second.close()
    await other.stop()


async def test_a_link_from_another_site_opens_the_console(open_page: Open, desk: Desk, console: ConsoleServer) -> None:
    elsewhere = serving(desk, host="localhost")
    await elsewhere.start()
    page = await open_page(f"{elsewhere.url}", state="live")
    await page.evaluate(
        """(url) => {
          const link = Object.assign(document.createElement("a"), { href: url, textContent: "go", id: "go" });
          document.querySelector("header").prepend(link);
        }""",
        console.url,
    )
    await page.click("#go")
    await page.wait_for_url(re.compile(rf"http://127\.0\.0\.1:{console.port}/at/[^/]+/$"))
    await page.wait_for_selector("body[data-state=live]")
    await elsewhere.stop()


async def test_the_wrong_token_is_told_how_to_get_the_right_one(open_page: Open, console: ConsoleServer) -> None:
    page = await open_page(console.url[:-1] + "!", state="")
    await expect(page.locator("h1")).to_have_text("This console needs its access token")
    await expect(page.locator("code")).to_have_text("pommel console desk")
    assert await page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "544px"


async def test_another_site_s_page_cannot_frame_or_reach_the_console(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page = await open_page()
    came = desk.came
    stranger = await page.context.new_page()
    refused = await stranger.evaluate(
        """(ws) => new Promise((done) => {
          const socket = new WebSocket(ws);
          socket.onopen = () => done("open");
          socket.onerror = () => done("refused");
        })""",
        console.ws,
    )
    assert refused == "refused"
    assert desk.came == came
    await stranger.close()


async def test_who_may_only_look_sees_it_said_and_has_no_hands(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page = await open_page(console.look_url)
    await expect(page.locator("#looking")).to_be_visible()
    await expect(page.locator("#looking")).to_have_text("View only")
    for gone in ("#field", "#keys", "#type", "#copy", "#displays", "#hint"):
        await expect(page.locator(gone)).to_be_hidden()
    for stays in ("#shot", "#full", "#fit", "#quality"):
        await expect(page.locator(stays)).to_be_visible()
    await page.mouse.click(500, 300)
    await page.mouse.wheel(0, 300)
    await page.keyboard.press("a")
    await page.keyboard.press("Control+v")
    await page.locator("#quality").select_option("low")
    await desk.until(lambda: any(c.quality == 30 for c in desk.of(m.Compression)))
    kinds = {type(command) for command in desk.seen}
    assert kinds <= {m.Abilities, m.Compression, m.GetDisplays, m.Pause, m.Refresh}


async def test_a_page_with_hands_does_not_say_so(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await expect(page.locator("#looking")).to_be_hidden()
    await expect(page.locator("#keys")).to_be_visible()


async def test_a_new_link_shuts_the_page_and_it_says_what_to_type(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page = await open_page()
    renewed = console.url.replace("/?", "/api/new-token?")
    status = await page.context.request.post(renewed, headers={"Origin": renewed.split("/api")[0]})
    assert status.ok
    await page.wait_for_selector("body[data-state=refused]")
    await expect(page.locator("#notice")).to_contain_text("pommel console desk")
    await page.goto(console.url)
    await page.wait_for_selector("body[data-state=live]")
