"""Two real X servers with a clipboard each: the person's, with a Chromium that has a window, and the machine's.

Keys come by XTEST, copies by xclip. What a paste in the machine gives is what its clipboard has when the key arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Page, async_playwright
from Xlib import X
from Xlib.error import XError
from Xlib.ext import xtest

from chromium import FLAGS
from clipboard.conftest import Clip
from isolation import patient
from pommel.app.console.desktop_clipboard import desktop_clipboard
from pommel.console.server import ConsoleServer
from pommel.process import end_group, which
from pommel.wire import messages as m
from screen.x_server import Painter, XServer, painter, x_server

from .conftest import serving
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTROL, SHIFT, KEY_V, INSERT, F9 = 37, 50, 55, 118, 75  # X11's keycodes
# Chromium tells the page of a change a moment after the X server has told Chromium.
LISTEN = """() => {
  window.changes = 0;
  navigator.clipboard.addEventListener("clipboardchange", () => (window.changes += 1));
}"""


@pytest.fixture(scope="module")
def here() -> Iterator[XServer]:
    with x_server(screen="1100x800x24") as one:
        yield one


@pytest.fixture(scope="module")
def there() -> Iterator[XServer]:
    with x_server() as one:
        yield one


@pytest.fixture(scope="module")
def hand(here: XServer) -> Iterator[Painter]:
    with painter(here) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def console(there: XServer, desk: Desk) -> AsyncIterator[ConsoleServer]:
    async with desktop_clipboard(there.name) as clipboard:
        server = serving(desk, clipboard=clipboard)
        await server.start()
        yield server
        await server.stop()


@contextlib.asynccontextmanager
async def browsing(here: XServer, address: str, folder: Path) -> AsyncIterator[None]:
    """A Chromium that nobody drives: Playwright would have its page believe that it always has the focus."""
    argv = [which("chromium"), *FLAGS, f"--user-data-dir={folder}", "--window-position=0,0"]
    env = {**os.environ, "DISPLAY": here.name}
    child = await asyncio.create_subprocess_exec(
        *argv,
        "--window-size=1100,800",
        f"--app={address}",
        env=env,
        start_new_session=True,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        end_group(child.pid, signal.SIGKILL)
        await child.wait()


@pytest_asyncio.fixture(loop_scope="module")
async def page(here: XServer, hand: Painter, console: ConsoleServer) -> AsyncIterator[Page]:
    flags = [*FLAGS, "--window-position=0,0", "--window-size=1100,800"]
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=which("chromium"), args=flags, headless=False, env={"DISPLAY": here.name}
        )
        page = await chromium.new_page(no_viewport=True)
        await page.goto(console.url)
        await page.evaluate(LISTEN)
        await page.wait_for_selector("body[data-state=live]")
        await page.locator("#copy").wait_for()
        yield page
        await chromium.close()


class Person:
    """Who sits at the page: their hands, and what their pastes give in the machine."""

    def __init__(self, desk: Desk, hand: Painter, there: Clip) -> None:
        self.desk, self.hand = desk, hand
        self.pasted: list[bytes | None] = []
        self.target = "UTF8_STRING"
        note = desk._note

        async def noting(command: m.Command | None) -> None:
            if isinstance(command, m.Key) and command.down and command.vk in (0x56, 0x2D):
                self.pasted.append(await asyncio.to_thread(there.paste, self.target))
            await note(command)

        desk._note = noting  # type: ignore[method-assign]

    def focus(self, window: Any) -> None:
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self.hand.display.sync()

    async def browser(self) -> Any:
        """The browser's window, once it is there."""
        async with asyncio.timeout(patient(60)):
            while True:
                for window in self.hand.root.query_tree().children:
                    with contextlib.suppress(XError):
                        if window.get_attributes().map_state == X.IsViewable and window.get_geometry().width > 500:
                            return window
                await asyncio.sleep(0.05)

    def strikes(self, *keys: int) -> None:
        for down, code in [*((True, code) for code in keys), *((False, code) for code in reversed(keys))]:
            xtest.fake_input(self.hand.display, X.KeyPress if down else X.KeyRelease, code)
        self.hand.display.sync()

    async def pastes(self, *keys: int, target: str = "UTF8_STRING") -> bytes | None:
        count, self.target = len(self.pasted) + 1, target
        keys = keys or (CONTROL, KEY_V)
        self.strikes(*keys)
        await self.desk.until(lambda: len(self.pasted) >= count)
        return self.pasted[-1]


async def test_what_was_copied_last_is_pasted_whoever_copied_it_and_by_which_chord(
    page: Page, desk: Desk, hand: Painter, here: XServer, there: XServer
) -> None:
    mine, theirs = Clip(here.name), Clip(there.name)
    person = Person(desk, hand, theirs)

    async def copies(data: bytes, target: str = "UTF8_STRING") -> None:
        before = await page.evaluate("window.changes")
        await asyncio.to_thread(mine.copy, data, target)
        await page.wait_for_function("before => window.changes > before", arg=before)

    async def copies_there(data: bytes) -> None:
        await page.evaluate("document.getElementById('copy').removeAttribute('data-new')")
        await asyncio.to_thread(theirs.copy, data)
        await page.wait_for_selector("#copy[data-new]")

    person.focus(await person.browser())
    await page.locator("#field").focus()
    await copies(b"A")
    assert await person.pastes() == b"A"
    await copies_there(b"B")
    assert await person.pastes() == b"B"
    await copies(b"A")  # the same again
    assert await person.pastes() == b"A"
    await copies(b"old")
    await copies_there(b"C")
    assert await person.pastes(SHIFT, INSERT) == b"C"
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), (0, 200, 0)).save(picture, "PNG")
    await copies(picture.getvalue(), "image/png")
    with Image.open(io.BytesIO(await person.pastes(target="image/png") or b"")) as pasted:
        assert (pasted.size, pasted.convert("RGB").getpixel((3, 3))) == ((40, 30), (0, 200, 0))


async def test_who_was_elsewhere_pastes_what_they_copied_there_or_what_the_machine_did_since(
    console: ConsoleServer, desk: Desk, hand: Painter, here: XServer, there: XServer, tmp_path: Path
) -> None:
    """The keys come at once when they are back: what the browser has not told by then is waited for."""
    mine, theirs = Clip(here.name), Clip(there.name)
    person = Person(desk, hand, theirs)
    elsewhere = hand.open((1000, 700, 50, 50), 0)  # type: ignore[arg-type]
    async with browsing(here, console.url, tmp_path):
        await desk.until(lambda: m.Pause(False) in desk.seen)
        window = await person.browser()
        person.focus(window)
        async with asyncio.timeout(patient(60)):
            while not desk.of(m.Key):  # until the page has the keyboard
                person.strikes(F9)
                await asyncio.sleep(0.1)
        for copied in ("H", "T", "H", "HT", "-", "TH", "H", "T"):
            person.focus(elsewhere)
            for number, who in enumerate(copied):
                if who != "-":
                    await asyncio.to_thread((mine if who == "H" else theirs).copy, f"{copied}{number}".encode())
            before = await asyncio.to_thread(theirs.paste)
            person.focus(window)
            got = await person.pastes()
            if "H" in copied:  # where both did, theirs counts that the browser tells of when they are back
                assert got == f"{copied}{copied.index('H')}".encode(), copied
            else:
                assert got == before, copied
