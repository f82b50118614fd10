"""Every state of the page by axe-core, in light, in dark and with forced colours, in a real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from chromium import page_ms
from pommel.console.clipboard import Clip, ClipFile
from pommel.console.server import ConsoleServer
from pommel.wire import messages as m

from .conftest import Open, serving
from .desk import Desk
from .pasteboard import Pasteboard
from .shelf import Shelf, shelf_at
from .test_page_in_chromium import TWO

pytestmark = pytest.mark.asyncio(loop_scope="module")

Mode = Literal["light", "dark", "forced"]
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
# All that it knows in the first mode; in the others what may be otherwise there.
LOOK = """async (only) => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"], ...(only && {runOnly: [only]})});
  return violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target} ${node.any[0]?.message ?? ""}`));
}"""


SHOW = "import(new URL('static/states.js', document.baseURI).href).then(({showState}) => showState(%s, null))"
SILENT = SHOW % "'silent', {about: 'silent', text: 'There is no answer.', next: 'For 4 s now.'}"
LIVE = SHOW % "'live', {about: 'live', text: 'Live', next: ''}"


class Judge:
    """Looks at pages and writes down what is wrong; at the end there is to be nothing."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.seen: list[str] = []

    async def look(self, page: Page, state: str) -> None:
        if not await page.evaluate("'axe' in window"):
            await page.evaluate(AXE)
        for mode in get_args(Mode):
            await page.emulate_media(
                color_scheme="dark" if mode == "dark" else "light",
                forced_colors="active" if mode == "forced" else "none",
            )
            # What fades from one colour to another is looked at when it has.
            await page.evaluate("Promise.all(document.getAnimations().map((one) => one.playState === 'running' && "
                                "one.effect.getTiming().iterations !== Infinity ? one.finished.catch(() => 0) : 0))")  # fmt: skip
            wrong = await page.evaluate(LOOK, None if mode == "light" else "wcag2aa")
            self.found += [f"{state}, {mode}: {one}" for one in wrong]
        self.seen.append(state)


@pytest_asyncio.fixture(loop_scope="module")
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelf_at(tmp_path / "home") as made:
        yield made


async def at(page: Page, state: str) -> None:
    await page.wait_for_selector(f"body[data-state={state}]")


async def menus(page: Page, judge: Judge, desk: Desk) -> None:
    await desk.show(m.DisplayInfo(TWO), m.DisplayList((1, 2, m.ALL_DISPLAYS), m.ALL_DISPLAYS))
    await expect(page.locator("#displays")).to_be_visible()
    for name in ("keys", "displays", "pulse"):
        await page.click(f"#{name}")
        await expect(page.locator(f"#{name}-menu")).to_be_visible()
        await judge.look(page, f"the {name} menu")
        await page.keyboard.press("Escape")
    await page.click("#type")
    await judge.look(page, "the dialog that types")
    await page.click("#type-cancel")
    await page.click("#copy")
    await expect(page.locator("#note, #toast").filter(visible=True)).to_have_count(1)
    await judge.look(page, "what the clipboard has to say")


async def files(page: Page, judge: Judge, board: Pasteboard) -> None:
    await board.copy(
        Clip(files=(ClipFile("größe.txt", 150_000), ClipFile("pictures", folder=True), ClipFile("p", why="no file")))
    )
    await page.click("#copy")
    await expect(page.locator("#files-dialog li")).to_have_count(3)
    await judge.look(page, "the files to download")
    await page.locator("#files-dialog").get_by_role("button", name="Close").click()


async def files_panel(page: Page, judge: Judge, shelf: Shelf) -> None:
    (shelf.home / "folder").mkdir()
    (shelf.home / "file").touch()
    (shelf.home / "lost").symlink_to("nowhere")
    await page.click("#files")
    await expect(page.locator("#files-rows tr")).to_have_count(3)
    await page.check("#files-rows tr:first-child input")
    await page.fill("#files-path", "none")
    await page.press("#files-path", "Enter")
    await expect(page.locator("#files-trouble")).to_be_visible()
    await judge.look(page, "the files")
    await page.click("#files-new")
    await judge.look(page, "a question about files")
    await page.keyboard.press("Escape")
    await page.set_input_files("#files-choose", {"name": "file", "mimeType": "text/plain", "buffer": b"x"})
    await expect(page.get_by_role("dialog", name="Replace file?")).to_be_visible()
    await judge.look(page, "files that are sent, and a question about them")
    await page.keyboard.press("Escape")
    await page.click("#files")


async def key_row(page: Page, judge: Judge) -> None:
    """As of one who has a touch screen beside the mouse: the button is not there without."""
    press = "(what) => document.querySelector(what).click()"
    await page.evaluate(press, "#keyboard")
    for also in ("[data-modifier]", "[aria-expanded]"):
        await page.evaluate(press, f"#keyrow {also}")
    await expect(page.get_by_role("button", name="Insert")).to_be_visible()
    await judge.look(page, "the keys beside a soft keyboard")
    await page.evaluate(press, "#keyboard")


async def stands(page: Page, judge: Judge, desk: Desk) -> None:
    desk.state = "no-room"
    await at(page, "paused")
    await judge.look(page, "paused")
    desk.state = "running"
    await at(page, "live")
    # Shown here by the page's own means: a link that is silent for long is given up, and axe takes its time.
    await page.evaluate(SILENT)
    await at(page, "silent")
    await judge.look(page, "silent")
    await page.evaluate(LIVE)


async def audience(page: Page, judge: Judge, console: ConsoleServer) -> None:
    async with aiohttp.ClientSession() as http:

        async def call(method: str, what: str, said: dict[str, Any]) -> None:
            address = console.url.replace("/?", f"/api/{what}?")
            async with http.request(method, address, json=said) as answer:
                assert answer.status == 200

        asking = asyncio.ensure_future(
            call("POST", "question", {"title": "MeshCentral", "text": "May ann look on?", "timeout_s": 60})
        )
        await expect(page.locator("#question-allow")).to_be_enabled()
        await judge.look(page, "a question")
        await page.click("#question-refuse")
        await asking
        await call("POST", "notice", {"title": "Update", "text": "tonight", "must_close": True})
        await expect(page.locator("#question")).to_be_visible()
        await judge.look(page, "a message")
        await page.click("#question-close")
        await call("PUT", "bar", {"text": "ann looks on", "for_s": 60})
        await expect(page.locator("#shared")).to_be_visible()
        await judge.look(page, "the bar of who looks on")


async def test_every_state_of_the_page(open_page: Open, desk: Desk, browser: Browser, shelf: Shelf) -> None:
    judge, board = Judge(), Pasteboard()
    await board.copy(Clip("hello"))
    console = serving(desk, clipboard=board)
    console.share_files(shelf.files)
    await console.start()
    desk.silent = True
    page = await open_page(console.url, state="")
    await judge.look(page, "before the first picture")
    desk.silent = False
    await desk.picture_to(desk.viewers[0])
    await at(page, "live")
    await expect(page.locator("#pulse")).to_be_visible(timeout=page_ms(10))
    await judge.look(page, "live")
    await menus(page, judge, desk)
    await files(page, judge, board)
    await files_panel(page, judge, shelf)
    await key_row(page, judge)
    await stands(page, judge, desk)
    await audience(page, judge, console)
    looker = await open_page(console.look_url)
    await expect(looker.locator("#looking")).to_be_visible()
    await judge.look(looker, "view only")
    await looker.context.set_offline(True)
    desk.state = "stopped"
    for viewer in tuple(desk.viewers):
        await viewer.close(1001, "desk has stopped")
    await at(looker, "reconnecting")
    await judge.look(looker, "reconnecting")
    await at(page, "stopped")
    await judge.look(page, "stopped")
    desk.state = "running"
    await at(page, "live")
    await console.stop("the X server closed the connection")
    await at(page, "ended")
    await judge.look(page, "ended")
    other = serving(desk, port=console.port)
    await other.start()
    await at(page, "refused")
    await judge.look(page, "the link is over")
    stranger = await open_page(other.url.partition("?")[0], state="")
    await judge.look(stranger, "without the token")
    await other.stop()
    assert not judge.found, "\n".join(judge.found)
