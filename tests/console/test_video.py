"""The film in a real Chromium: chunks as the endpoint makes them, drawn in their places and in order."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from playwright.async_api import Page

from pommel.console.files import static_files
from pommel.screen.video import H264Encoder
from pommel.wire import messages as m

from .conftest import Open
from .desk import COLOURS, Desk, patch
from .test_page_in_chromium import colour_at, frames

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDTH, HEIGHT = 256, 128
ALWAYS = m.ACKNOWLEDGES | m.TAKES_WEBP | m.TAKES_PNG | m.SHOWS_POINTER | m.ASKS_OF_MOUSE | m.TAKES_MOVES
PICTURES, VIDEO = m.Abilities(ALWAYS), m.Abilities(ALWAYS | m.TAKES_VIDEO)
BEGINS = m.KEY_FRAME | m.STREAM_BEGINS


class Reel:
    """A film of plain colours at a place of the screen."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y
        self._encoder = H264Encoder(WIDTH, HEIGHT, 18)
        self._flags = BEGINS

    def frame(self, colour: str) -> m.Video:
        pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        pixels[..., :3] = COLOURS[colour][::-1]
        chunk, flags, self._flags = self._encoder.encode(pixels, key=False), self._flags, 0
        return m.Video(self.x, self.y, WIDTH, HEIGHT, m.H264_ANNEX_B, flags, chunk.data)


async def at(desk: Desk, open_page: Open) -> Page:
    desk.seen.clear()
    page = await open_page()
    await desk.until(lambda: VIDEO in desk.seen)
    await frames(page, 3)
    desk.seen.clear()
    return page


async def test_frames_land_in_their_place_and_count_as_shown(open_page: Open, desk: Desk) -> None:
    page = await at(desk, open_page)
    reel = Reel(100, 60)
    for n, colour in enumerate(("green", "white", "blue", "green")):
        await desk.show(reel.frame(colour))
        await frames(page, 4 + n)  # each is drawn before the next is sent
        assert await colour_at(page, 100, 60) == colour == await colour_at(page, 355, 187)
    assert await colour_at(page, 98, 58) == "red"
    await desk.until(lambda: desk.shown[-1] == 8)


async def test_frames_and_pictures_are_drawn_in_the_order_they_came(open_page: Open, desk: Desk) -> None:
    page = await at(desk, open_page)
    reel = Reel(0, 0)
    await desk.show(reel.frame("green"), m.Picture(8, 8, patch(16, 16, "white")))
    await frames(page, 5)
    assert [await colour_at(page, *place) for place in ((12, 12), (100, 100))] == ["white", "green"]
    await desk.show(m.Picture(8, 8, patch(16, 16, "red")), reel.frame("blue"))
    await desk.until(lambda: desk.shown[-1] == 8)
    assert await colour_at(page, 12, 12) == "blue"


async def test_a_chunk_under_a_picture_is_decoded_all_the_same(open_page: Open, desk: Desk) -> None:
    page = await at(desk, open_page)
    reel = Reel(0, 0)
    await desk.show(reel.frame("green"), reel.frame("blue"), m.Picture(0, 0, patch(640, 400, "white")))
    await desk.until(lambda: desk.shown[-1] == 7)
    await desk.show(reel.frame("blue"))
    await desk.until(lambda: desk.shown[-1] == 8)
    assert await colour_at(page, 50, 50) == "blue"
    assert PICTURES not in desk.seen


async def test_a_new_stream_does_not_cut_the_old_one_short(open_page: Open, desk: Desk) -> None:
    page = await at(desk, open_page)
    old, new = Reel(0, 0), Reel(320, 200)
    await desk.show(old.frame("green"), old.frame("white"), new.frame("blue"), new.frame("green"))
    await desk.until(lambda: desk.shown[-1] == 8)
    assert [await colour_at(page, *place) for place in ((50, 50), (400, 300))] == ["white", "green"]
    assert PICTURES not in desk.seen


@pytest.mark.parametrize(
    "nonsense",
    [
        m.Video(0, 0, WIDTH, HEIGHT, m.H264_ANNEX_B, BEGINS, b"\x00\x00\x00\x01\x67\x42\xc0\x1f" + b"nonsense" * 20),
        m.Video(0, 0, WIDTH, HEIGHT, m.H264_ANNEX_B, BEGINS, b"nonsense"),
        m.Video(0, 0, WIDTH, HEIGHT, m.H264_ANNEX_B, 0, b"before any stream began"),
        m.Video(0, 0, WIDTH, HEIGHT, 77, BEGINS, b"some other codec"),
    ],
    ids=["no H.264", "no parameters", "no stream", "no codec"],
)
async def test_what_cannot_be_shown_brings_pictures_back(open_page: Open, desk: Desk, nonsense: m.Video) -> None:
    page = await at(desk, open_page)
    await desk.show(nonsense)
    await desk.until(lambda: m.Refresh() in desk.seen)
    assert desk.seen.index(PICTURES) < desk.seen.index(m.Refresh())
    await frames(page, 7)
    assert await colour_at(page, 12, 12) == "red"
    await desk.until(lambda: desk.shown[-1] == 9)


async def test_a_browser_without_a_decoder_does_not_ask_for_video(open_page: Open) -> None:
    page = await open_page()
    ask = "import(document.baseURI + 'static/video.js').then((module) => module.takesVideo())"
    assert await page.evaluate(ask) is True
    assert await page.evaluate(f"delete window.VideoDecoder; {ask}") is False


async def test_the_page_s_sample_is_a_film_of_ours() -> None:
    """By it the page finds out whether its browser shows the colours that are sent."""
    script = static_files()["video.js"][0].decode()
    (sample,) = re.findall(r'SAMPLE = "([^"]+)"', script)
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., :3] = COLOURS["green"][::-1]
    made = H264Encoder(64, 64, 18).encode(pixels, key=False).data

    def parameters(film: bytes) -> list[bytes]:
        units = film.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
        return [unit for unit in units if unit and unit[0] & 31 in (7, 8)]

    assert parameters(base64.b64decode(sample)) == parameters(made)
    assert f"SAMPLE_COLOUR = [{', '.join(map(str, COLOURS['green']))}]" in script
