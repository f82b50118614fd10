"""Terminals on the page in a real Chromium, with real shells: keys, sizes, floods, tabs, ends; and who has none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from isolation import patient
from pommel.app.console.terminal import Terminals
from pommel.console.server import ConsoleServer
from pommel.terminal.pty import ShellPlan
from waits import until

from .conftest import Open, serving
from .desk import Desk
from .test_axe import Judge
from .test_page_in_chromium import HANDS, ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "PS1": "> "}
TEXT = "() => document.querySelector('.terminals > :not([hidden]) .xterm-rows')?.textContent ?? ''"


@pytest_asyncio.fixture(loop_scope="module")
async def terminals() -> Terminals:
    return Terminals(lambda: ShellPlan(["sh"], ENV, lambda status, _: f"the shell has ended with {status}"))


@pytest_asyncio.fixture(loop_scope="module")
async def console(desk: Desk, terminals: Terminals) -> AsyncIterator[ConsoleServer]:
    server = serving(desk)
    server.offer_terminals(terminals.serve)
    await server.start()
    yield server
    await server.stop()


async def shows(page: Page, text: str) -> None:
    await page.wait_for_function(
        "(text) => document.querySelector('.terminals > :not([hidden]) .xterm-rows')?.textContent.includes(text)",
        arg=text,
    )


async def opened(page: Page) -> Page:
    await page.click("#to-terminal")
    await shows(page, ">")
    return page


async def enter(page: Page, line: str) -> None:
    await page.keyboard.insert_text(line)
    await page.keyboard.press("Enter")


async def test_a_shell_takes_keys_and_nothing_of_it_reaches_the_machine(open_page: Open, desk: Desk) -> None:
    page = await opened(await ready(await open_page(), desk))
    desk.seen.clear()
    await page.keyboard.type("echo $((40+2))é\n")
    await shows(page, "42é")
    await enter(page, "printf '\\033[38;2;200;10;10mcoloured\\033[0m'")
    await shows(page, "coloured")
    # By a style attribute, which the page's policy forbids; the page that opened it must log no violation.
    await page.wait_for_function(
        "() => [...document.querySelectorAll('.xterm-rows span')].some((one) => one.style.color.startsWith('rgb'))"
    )
    await enter(page, "cat -v")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await shows(page, "^[")
    await expect(page.locator("#terminal")).to_be_visible()
    await page.keyboard.press("Control+c")
    await page.keyboard.press("Control+Alt+Shift")
    await expect(page.locator("#to-terminal")).to_be_focused()
    assert [command for command in desk.seen if isinstance(command, HANDS)] == []


async def test_its_size_is_the_panels(open_page: Open) -> None:
    page = await opened(await open_page())
    size = "() => document.querySelectorAll('.xterm-rows > div').length"
    before = await page.evaluate(size)
    await page.set_viewport_size({"width": 1000, "height": 900})
    await page.wait_for_function(
        "(before) => document.querySelectorAll('.xterm-rows > div').length > before", arg=before
    )
    rows = await page.evaluate(size)
    async with asyncio.timeout(patient(30)):
        while f"{rows} " not in await page.evaluate(TEXT):
            await enter(page, "stty size")
            await asyncio.sleep(0.2)


async def test_a_paste_is_one_and_a_flood_can_be_stopped(open_page: Open, terminals: Terminals) -> None:
    page = await opened(await open_page())
    await enter(page, "stty -echo; wc -c; stty echo")
    paste = """(text) => {
      const data = new DataTransfer();
      data.setData("text/plain", text);
      document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    }"""
    await page.evaluate(paste, ("x" * 99 + "\n") * 2000)
    await page.keyboard.press("Control+d")
    await shows(page, "200000")
    await enter(page, "yes")
    await shows(page, "yyyy")
    await page.keyboard.press("Control+c")
    await enter(page, "echo $((1+1))end")
    await shows(page, "2end")


async def test_several_at_once_and_each_ends_by_itself(open_page: Open, terminals: Terminals) -> None:
    page = await opened(await open_page())
    await enter(page, "echo $((100+11))")
    await shows(page, "111")
    await page.click("#terminal .new")
    await shows(page, ">")
    assert "111" not in await page.evaluate(TEXT)
    await until(lambda: terminals.now == 2)
    await enter(page, "exit 3")
    await expect(page.locator(".over:visible p")).to_have_text("The shell has ended with 3.")
    await expect(page.locator(".over:visible button")).to_be_focused()
    assert terminals.now == 1
    await page.keyboard.press("Enter")  # open again
    await until(lambda: terminals.now == 2)
    await page.click("#terminal .end")
    await shows(page, "111")
    await page.click("#terminal .close")
    await expect(page.locator("#field")).to_be_focused()
    await until(lambda: terminals.now == 1)  # hidden, it goes on
    await page.click("#to-terminal")
    await shows(page, "111")
    await page.click("#terminal .end")
    await expect(page.locator("#dock")).to_be_hidden()
    await until(lambda: terminals.now == 0)


async def test_it_ends_with_its_page_and_with_the_link(
    open_page: Open, terminals: Terminals, console: ConsoleServer
) -> None:
    page = await opened(await open_page())
    await page.reload()
    await until(lambda: terminals.now == 0)
    page = await opened(await open_page())
    async with aiohttp.ClientSession() as http:
        url = console.url.replace("/?", "/api/new-token?")
        assert (await http.post(url)).status == 200
    await expect(page.locator(".over p")).to_have_text("the console has a new link; this link no longer works")
    await until(lambda: terminals.now == 0)


async def test_other_pages_are_told(open_page: Open) -> None:
    other = await open_page()
    await opened(await open_page())
    await expect(other.locator("#toast")).to_contain_text("(127.0.0.1) has opened a terminal in the machine")


HOSTILE = (
    "\\033]0;TITLE\\007\\033]52;c;aGVsbG8=\\007\\033]8;;javascript:document.title=1\\007script\\033]8;;\\007 "
    "\\033]8;;https://example.invalid\\007site\\033]8;;\\007"
    "\\033[8;500;1000t\\033[5i\\033[?1049h\\033[?1049l<img src=x onerror=document.title=2>\\033P$q\\033\\\\done"
)


async def test_hostile_output_does_only_what_a_terminal_does(open_page: Open, console: ConsoleServer) -> None:
    page = await opened(await open_page(permissions=["clipboard-read", "clipboard-write"]))
    await page.evaluate("navigator.clipboard.writeText('mine')")
    title, size = await page.title(), await page.evaluate(TEXT.replace("textContent ?? ''", "children.length"))
    popups: list[object] = []
    page.on("popup", lambda popup: popups.append(popup))
    page.on("dialog", lambda dialog: popups.append(dialog))
    await enter(page, f"printf '{HOSTILE}'")
    await shows(page, "onerror=document.title=2>done")
    for text, is_link in (("script", False), ("site", True)):
        # In one look: xterm.js makes the elements of a line anew whenever the pointer comes to a link or leaves it.
        found = await page.wait_for_function(
            """(text) => {
              const found = [...document.querySelectorAll(".xterm-rows span")].findLast((one) => one.textContent === text);
              const box = found?.getBoundingClientRect();
              return box && [box.x + box.width / 2, box.y + box.height / 2];
            }""",
            arg=text,
        )
        at = await found.json_value()
        await page.mouse.move(*at)
        if is_link:
            await page.wait_for_selector(".xterm-cursor-pointer")
        await page.mouse.click(*at)
    await expect(page.locator("#toast")).to_contain_text("Links in a terminal are not opened")
    assert await page.title() == title
    assert await page.evaluate("navigator.clipboard.readText()") == "mine"
    assert await page.evaluate(TEXT.replace("textContent ?? ''", "children.length")) == size
    assert await page.locator("#terminal img").count() == 0
    assert popups == []


async def test_a_view_only_viewer_has_none(open_page: Open, console: ConsoleServer) -> None:
    page = await open_page(console.look_url)
    await expect(page.locator("#to-terminal")).to_be_hidden()
    async with aiohttp.ClientSession() as http:
        for token in (console.secrets.look_token, "wrong"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await http.ws_connect(f"http://127.0.0.1:{console.port}/terminal?token={token}")
            assert refusal.value.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            address = f"http://127.0.0.1:{console.port}/terminal?token={console.token}"
            await http.ws_connect(address, headers={"Origin": "http://elsewhere"})
        assert refusal.value.status == 403


@pytest.mark.parametrize("viewport", [{"width": 1000, "height": 600}, {"width": 390, "height": 700}])
async def test_everybody_can_use_it(open_page: Open, viewport: dict[str, int]) -> None:
    page = await opened(await open_page(viewport=viewport, permissions=[]))
    judge = Judge()
    await enter(page, "exit 3")
    await expect(page.locator(".over")).to_be_visible()
    await judge.look(page, "a terminal that has ended")
    await page.click("#terminal .new")
    await shows(page, ">")
    await judge.look(page, "a terminal")
    assert judge.found == []
    cut = "() => [...document.querySelectorAll('#dock button')].filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth).length"
    assert await page.evaluate(cut) == 0
