"""Moves in a real Chromium: the same pixels as in memory, in the order in which everything came."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from playwright.async_api import Page

from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, Size
from pommel.screen.pictures import Format, lossless
from pommel.wire import messages as m

from .conftest import Open
from .desk import Desk, patch
from .test_page_in_chromium import colour_at, frames
from .test_video import Reel

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = Size(640, 400)
CANVAS = """() => {
  const { width, height } = document.getElementById("screen");
  const { data } = document.getElementById("screen").getContext("2d").getImageData(0, 0, width, height);
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
}"""
MOVES = [
    m.Move(0, 12, 640, 388, 0, 0),  # up by 12: the places overlap
    m.Move(0, 0, 640, 347, 0, 53),  # down
    m.Move(17, 33, 301, 200, 26, 33),  # sideways, on no grid
    m.Move(400, 10, 90, 90, 5, 301),  # far away
    m.Move(3, 3, 500, 300, 4, 4),
]


async def seen(page: Page) -> Pixels:
    data = np.frombuffer(base64.b64decode(await page.evaluate(CANVAS)), np.uint8)
    return data.reshape(SIZE.height, SIZE.width, 4)[:, :, :3]


async def at(desk: Desk, open_page: Open) -> Page:
    page = await open_page()
    await frames(page, 3)
    await desk.until(lambda: desk.shown[-1:] == [4])
    return page


def noise() -> Frame:
    frame = Frame(np.random.default_rng(3).integers(0, 256, (SIZE.height, SIZE.width, 4), np.uint8))
    frame.pixels[:, :, 3] = 255
    return frame


def made(frame: Frame, move: m.Move) -> None:
    frame.copy_within(move.x, move.y, Rect(move.to_x, move.to_y, move.width, move.height))


async def test_moves_show_exactly_the_pixels_that_they_take_along(open_page: Open, desk: Desk) -> None:
    page, frame = await at(desk, open_page), noise()
    await desk.show(m.Picture(0, 0, lossless(frame.pixels, Format.PNG)))
    await desk.until(lambda: desk.shown[-1] == 5)
    for move in MOVES:
        made(frame, move)
    await desk.show(*MOVES, m.Picture(0, 0, lossless(frame.view(Rect(0, 0, 1, 1)), Format.PNG)))
    await desk.until(lambda: desk.shown[-1] == 6)  # moves are not counted
    assert np.array_equal(await seen(page), frame.pixels[:, :, 2::-1])


async def test_a_move_takes_along_a_picture_that_a_later_one_covers(open_page: Open, desk: Desk) -> None:
    page, frame = await at(desk, open_page), noise()
    # A large picture takes longer to decode than the small one that covers its place after the move.
    await desk.show(
        m.Picture(0, 0, lossless(frame.view(Rect(0, 0, 320, 200)), Format.PNG)),
        m.Move(0, 0, 320, 200, 320, 200),
        m.Picture(0, 0, patch(640, 200, "green")),
    )
    await desk.until(lambda: desk.shown[-1] == 6)
    pixels = await seen(page)
    assert np.array_equal(pixels[200:, 320:], frame.view(Rect(0, 0, 320, 200))[:, :, 2::-1])
    assert await colour_at(page, 50, 50) == "green"


async def test_a_frame_of_the_film_is_moved_too(open_page: Open, desk: Desk) -> None:
    page, reel = await at(desk, open_page), Reel(0, 0)
    await desk.show(reel.frame("white"), m.Move(0, 0, 256, 128, 320, 0), reel.frame("green"))
    await desk.until(lambda: desk.shown[-1] == 6)
    assert [await colour_at(page, *place) for place in ((330, 10), (570, 120), (10, 10))] == ["white", "white", "green"]


async def test_a_move_past_the_edge_changes_what_is_inside_and_nothing_breaks(open_page: Open, desk: Desk) -> None:
    page = await at(desk, open_page)
    await desk.show(
        m.Move(0, 0, 65535, 65535, 320, 65535), m.Move(0, 0, 0, 0, 5, 5), m.Picture(0, 0, patch(8, 8, "white"))
    )
    await desk.until(lambda: desk.shown[-1] == 5)
    assert [await colour_at(page, *place) for place in ((4, 4), (330, 10), (10, 390))] == ["white", "green", "blue"]
