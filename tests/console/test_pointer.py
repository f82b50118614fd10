"""The machine's pointer in a real Chromium: its pixels, its size and its hot spot in the CSS cursor of the screen."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Page

from pommel.wire import messages as m

from .conftest import Open
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

CURSOR = re.compile(
    r'(?:image-set\()?url\("data:image/png;base64,([^"]+)"\)(?: ([\d.]+)(?:x|dppx)\))? (\d+) (\d+), ([\w-]+)'
)


@dataclass
class Shown:
    """What the CSS cursor says."""

    pixels: np.ndarray
    density: float
    hot: tuple[int, int]
    shape: str


def arrow(width: int = 24, height: int = 20, hot: tuple[int, int] = (3, 2)) -> m.Pointer:
    """Something of all kinds of alpha."""
    y, x = np.mgrid[:height, :width]
    rgba = np.stack((x * 10 % 256, y * 10 % 256, (x + y) * 5 % 256, (x * y * 3) % 256), axis=2).astype(np.uint8)
    return m.Pointer(width, height, *hot, rgba.tobytes())


def pixels_of(pointer: m.Pointer) -> np.ndarray:
    return np.frombuffer(pointer.rgba, np.uint8).reshape(pointer.height, pointer.width, 4)


def multiplied(pixels: np.ndarray) -> np.ndarray:
    """What can be seen of them: a canvas keeps no more."""
    return pixels[:, :, :3].astype(float) * pixels[:, :, 3:] / 255


async def opened(open_page: Open, desk: Desk, mode: str = "actual", **options) -> Page:
    page = await open_page(**options)
    await desk.until(lambda: m.Pause(False) in desk.seen)
    if mode == "actual":
        await page.click("#fit")
    return page


async def cursor(page: Page) -> Shown | str:
    style: str = await page.evaluate("document.getElementById('screen').style.cursor")
    # What the browser understands of it, and not only what was written.
    computed: str = await page.evaluate("getComputedStyle(document.getElementById('screen')).cursor")
    found = CURSOR.fullmatch(style)
    if not found:
        assert computed == style
        return style
    assert found[1] in computed and computed.endswith(f" {found[3]} {found[4]}, {found[5]}")
    image = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGBA")
    return Shown(np.asarray(image), float(found[2] or 1), (int(found[3]), int(found[4])), found[5])


async def until_cursor(page: Page, style: str) -> None:
    """Wait until the cursor's style has this in it."""
    await page.wait_for_function(
        "(part) => document.getElementById('screen').style.cursor.includes(part)", arg=style, timeout=5000
    )


async def shown(page: Page) -> Shown:
    found = await cursor(page)
    assert isinstance(found, Shown), found
    return found


async def test_its_pixels_and_its_hot_spot_are_the_machine_s(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk)
    pointer = arrow()
    await desk.show(m.MouseCursor(m.CursorShape.TEXT), pointer)
    await until_cursor(page, "url")
    found = await shown(page)
    assert (found.density, found.hot, found.shape) == (1, (3, 2), "text")
    wanted = pixels_of(pointer)
    assert (found.pixels[:, :, 3] == wanted[:, :, 3]).all()
    assert np.abs(multiplied(found.pixels) - multiplied(wanted)).max() <= 1
    solid = wanted[:, :, 3] == 255
    assert solid.any() and (found.pixels[solid] == wanted[solid]).all()


async def test_a_shape_of_none_hides_it_and_another_brings_it_back(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk)
    await desk.show(arrow(), m.MouseCursor(m.CursorShape.NONE))
    await until_cursor(page, "none")
    assert await cursor(page) == "none"
    await desk.show(arrow(8, 8))
    await desk.show(m.MouseCursor(m.CursorShape.HELP))
    await until_cursor(page, "help")
    assert (await shown(page)).pixels.shape == (8, 8, 4)


async def test_without_a_picture_the_shape_counts(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk)
    await desk.show(m.MouseCursor(m.CursorShape.WAIT), m.Pointer(0, 0, 0, 0, b""))
    await until_cursor(page, "wait")
    assert await cursor(page) == "wait"
    await desk.show(arrow())
    await until_cursor(page, "url")
    await desk.show(m.Pointer(0, 0, 0, 0, b""))
    await page.wait_for_function("() => document.getElementById('screen').style.cursor === 'wait'")


async def test_a_new_connection_knows_nothing_of_the_old_one_s(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk)
    await desk.show(m.MouseCursor(m.CursorShape.CROSSHAIR), arrow())
    await until_cursor(page, "url")
    came = desk.came
    await desk.viewers[0].close(1001, "elsewhere")
    await desk.until(lambda: desk.came > came)
    await page.wait_for_function("() => document.getElementById('screen').style.cursor === 'crosshair'")


async def test_it_is_as_large_as_the_screen_is_shown(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk, "fit", viewport={"width": 320, "height": 600})
    await desk.show(arrow(24, 20, (11, 19)))
    await until_cursor(page, "url")
    found = await shown(page)
    assert found.pixels.shape == (10, 12, 4) and found.hot == (5, 9)  # half as wide, half as high
    await page.set_viewport_size({"width": 1280, "height": 2000})
    await page.wait_for_function("() => document.getElementById('screen').clientWidth === 1280")
    found = await shown(page)
    assert found.pixels.shape == (40, 48, 4) and found.hot == (23, 39)  # within the pixel that it points with
    await page.click("#fit")
    found = await shown(page)
    assert found.pixels.shape == (20, 24, 4) and found.hot == (11, 19)


async def test_it_never_vanishes_for_being_small(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk, "fit", viewport={"width": 100, "height": 900})
    await desk.show(m.Pointer(2, 30, 9, 99, b"\x00\x80\xff\xff" * 60))
    await until_cursor(page, "url")
    found = await shown(page)
    assert found.pixels.shape == (5, 1, 4) and found.hot == (0, 4)
    assert (found.pixels == (0, 0x80, 0xFF, 0xFF)).all()


async def test_one_that_browsers_leave_out_is_shown_by_its_shape(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk, "fit", viewport={"width": 640, "height": 900})
    await desk.show(m.MouseCursor(m.CursorShape.MOVE), arrow(128, 128, (64, 64)))
    await until_cursor(page, "url")
    assert (await shown(page)).pixels.shape == (128, 128, 4)
    await page.set_viewport_size({"width": 660, "height": 900})
    await page.wait_for_function("() => document.getElementById('screen').style.cursor === 'move'")
    await desk.show(arrow(256, 256))
    await page.set_viewport_size({"width": 320, "height": 900})
    await page.wait_for_function("() => document.getElementById('screen').clientWidth === 320")
    assert (await shown(page)).pixels.shape == (128, 128, 4)


@pytest.mark.parametrize(("ratio", "mode"), [(2, "actual"), (2, "fit"), (1.5, "fit")])
async def test_on_a_dense_screen_it_is_as_sharp_as_that_is(
    open_page: Open, desk: Desk, ratio: float, mode: str
) -> None:
    options = {"viewport": {"width": 640, "height": 900}, "device_scale_factor": ratio}
    page = await opened(open_page, desk, mode, **options)
    pointer = arrow(24, 20, (20, 18))
    await desk.show(pointer)
    await until_cursor(page, "image-set")
    found = await shown(page)
    assert found.density == ratio
    if mode == "actual":  # one pixel is one of the screen's, half a CSS pixel
        assert found.hot == (10, 9)
        assert (found.pixels[:, :, 3] == pixels_of(pointer)[:, :, 3]).all()
    else:
        assert found.hot == (20, 18) and found.pixels.shape == (20 * ratio, 24 * ratio, 4)


async def test_of_many_the_newest_is_shown(open_page: Open, desk: Desk) -> None:
    page = await opened(open_page, desk)
    await desk.show(*(arrow(n, 7) for n in range(1, 40)), m.MouseCursor(m.CursorShape.COPY))
    await until_cursor(page, "copy")
    assert (await shown(page)).pixels.shape == (7, 39, 4)
