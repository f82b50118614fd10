# ruff: noqa: F401
"""The page in Debian's own Firefox: what the tests of the other modules see in Chromium, seen again with one Firefox.

These are the same tests with another `browser`, imported by their names; and some for what its driver does otherwise.
Left out is what that cannot do (a pointer outside of the window, an input method, its own context menu). Of H.264, which it
has where libavcodec is, it shows other colours: so it asks for pictures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, async_playwright

from pommel.console.clipboard import Clip
from pommel.wire import messages as m
from waits import until

from .conftest import Open, serving
from .desk import Desk, patch
from .firefox import launch
from .pasteboard import Pasteboard
from .test_modifiers import (
    test_a_modifier_that_was_down_before_goes_down_with_the_key,
    test_shortcuts_stay_keys_by_what_is_printed_on_them,
)
from .test_page_in_chromium import (
    colour_at,
    frames,
    ready,
    test_a_jumbo_picture_and_a_new_size,
    test_a_key_that_is_held_repeats_but_a_modifier_does_not,
    test_a_new_link_shuts_the_page_and_it_says_what_to_type,
    test_a_program_that_types_shifted_characters_without_shift_is_understood,
    test_all_is_released_when_the_focus_goes,
    test_ctrl_alt_shift_leaves_the_screen_and_its_chords_do_not,
    test_every_picture_is_acknowledged_once_in_order_drawn_or_not,
    test_full_screen_and_back,
    test_keys_are_physical_and_modifiers_a_mac_s,
    test_pictures_land_in_their_places,
    test_pictures_of_other_formats,
    test_pointer_shape_lock_light_and_messages,
    test_quality,
    test_swapped_alt_is_command,
    test_the_displays_menu,
    test_the_page_comes_back_when_the_server_does,
    test_the_wrong_token_is_told_how_to_get_the_right_one,
    test_two_consoles_side_by_side,
    test_typing_a_text,
    test_who_may_only_look_sees_it_said_and_has_no_hands,
)
from .test_pulse import behind, test_a_link_that_stands_still_says_so_and_takes_no_keys
from .test_states import test_after_the_end_nothing_works_on_nothing_and_keys_are_the_browser_s
from .test_video import PICTURES, VIDEO

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firefox")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(folder: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        firefox = await launch(playwright, folder)
        yield firefox
        await firefox.close()


async def test_each_button_of_the_mouse(open_page: Open, desk: Desk) -> None:
    page = await ready(await open_page(), desk)
    for button, number in (
        ("left", m.LEFT_DOWN),
        ("right", m.RIGHT_DOWN),
        ("middle", m.MIDDLE_DOWN),
    ):
        await page.mouse.click(500, 300, button=button)
        await desk.until(lambda number=number: any(one.button == number for one in desk.of(m.Mouse)))


async def test_a_film_in_other_colours_is_not_asked_for(open_page: Open, desk: Desk) -> None:
    """Should it show the right ones one day, this test says so, and then those of test_video belong here too."""
    page = await open_page()
    await desk.until(lambda: desk.of(m.Abilities))
    can = "VideoDecoder.isConfigSupported({ codec: 'avc1.640028' }).then(({ supported }) => supported)"
    assert await page.evaluate(can), "Debian's Firefox decodes by its libavcodec"
    await frames(page, 3)
    assert PICTURES in desk.seen and VIDEO not in desk.seen
    await desk.show(m.Picture(0, 0, patch(640, 400, "blue")))
    await frames(page, 4)
    assert await colour_at(page, 100, 100) == "blue"


async def test_a_screenshot_is_saved(open_page: Open, folder: Path) -> None:
    page = await open_page()
    await page.click("#shot")
    saved = folder / "downloads"
    await until(lambda: [one for one in saved.glob("desk-*.png") if one.stat().st_size], what="nothing was saved")
    (file,) = saved.glob("desk-*.png")
    with Image.open(file) as picture:
        assert picture.size == (640, 400)


async def test_the_clipboard_both_ways(open_page: Open, desk: Desk) -> None:
    board = Pasteboard()
    console = serving(desk, clipboard=board)
    await console.start()
    page = await ready(await open_page(console.url), desk)
    await page.evaluate("navigator.clipboard.writeText('grüße')")
    await page.keyboard.press("Control+v")
    await until(lambda: board.sets, what="nothing was pasted")
    assert board.sets[0].text == "grüße"
    assert [(one.vk, one.down) for one in await desk.next(m.Key, 4)][1:3] == [(0x56, True), (0x56, False)]
    await board.copy(Clip("from there"))
    await page.click("#copy")
    await page.wait_for_function("() => navigator.clipboard.readText().then((text) => text === 'from there')")
    await console.stop()
