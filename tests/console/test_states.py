"""What the page says in each state and what still works then, in a real Chromium, for each kind of console."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pommel.console.server import Admission, ConsoleInfo, ConsoleServer
from pommel.console.stream import ENDED
from pommel.console.telling import of_display, of_host, of_installed, of_machine
from pommel.wire import messages as m

from .conftest import Open, serving
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOLBAR = "header [role=toolbar] :is(button, select)"
WORKS = f"[...document.querySelectorAll('{TOOLBAR}')].filter((one) => !one.disabled).map((one) => one.id)"
OPEN_MENUS = "document.querySelectorAll(':popover-open, dialog[open]').length"
DISPLAY = ("--display", ":7", "--listen", "127.0.0.1:0")
# Which command is named when the console has ended, and when its link is over.
KINDS = {
    "machine": (of_machine("my mac"), "pommel console 'my mac'", "pommel console 'my mac'"),
    "display": (of_display(DISPLAY), "pommel kvm serve --display :7 --listen 127.0.0.1:0", None),
    "host": (of_host(["ann@far"]), "pommel kvm view ann@far", None),
    "installed": (of_installed("desk", guest="linux"), "sudo pommel kvm status --id desk", None),
}


async def state(page: Page, name: str) -> None:
    await page.wait_for_selector(f"body[data-state={name}]")


def commands(page: Page) -> Any:
    return page.locator("#notice-more code")


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_tells_its_own_end_and_how_to_come_back(open_page: Open, desk: Desk, kind: str) -> None:
    telling, again, _ = KINDS[kind]
    server = serving(desk, info=ConsoleInfo("my mac", "Mine", telling))
    await server.start()
    page = await open_page(server.url)
    for menu in ("#keys", "#type"):
        await expect(page.locator(menu)).to_be_enabled()
    await page.click("#keys")
    await server.stop("the X server closed the connection")
    await state(page, "ended")
    await expect(page.locator("#notice-text")).to_have_text("The X server closed the connection.")
    assert await commands(page).all_text_contents() == [again]
    await expect(page.locator("#notice-more")).to_contain_text("The picture is the last one, from ")
    await expect(page.locator("#notice-next")).to_contain_text("Trying to reconnect")
    assert await page.evaluate(OPEN_MENUS) == 0
    renewed = serving(desk, info=ConsoleInfo("my mac", "Mine", telling), port=server.port)
    await renewed.start()  # with another token: the page must not take it for its own
    await page.click("#retry")
    await state(page, "refused")
    assert await commands(page).all_text_contents() == [again]
    await expect(page.locator("#retry")).to_be_hidden()
    stranger = await page.context.new_page()
    await stranger.goto(renewed.url.split("?")[0])
    assert await stranger.locator("code").text_content() == telling.door[1]
    await renewed.stop()


async def test_after_the_end_nothing_works_on_nothing_and_keys_are_the_browser_s(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await expect(page.locator("#field")).to_be_focused()
    works = await page.evaluate(WORKS)
    assert {"fit", "quality", "keys", "type", "shot", "full"} <= set(works)
    await page.click("#full")
    await page.wait_for_function("() => document.fullscreenElement !== null")
    await page.click("#type")
    desk.state = "stopped"
    await desk.viewers[0].close(1001, "desk has stopped")
    await state(page, "stopped")
    assert await page.evaluate(WORKS) == []
    assert await page.evaluate(OPEN_MENUS) == 0
    await page.wait_for_function("() => document.fullscreenElement === null")
    await expect(page.locator("#notice")).to_be_focused()
    await page.evaluate(
        """() => {
          window.kept = [];
          const note = (event) => setTimeout(() => window.kept.push(event.type, event.defaultPrevented));
          for (const type of ["keydown", "contextmenu", "wheel"]) window.addEventListener(type, note);
        }"""
    )
    desk.seen.clear()
    await page.keyboard.press("F8")  # of no use to a browser: F6 takes the focus to its own bar, and Firefox's obeys
    await page.mouse.move(500, 500)
    await page.mouse.click(500, 500, button="right")
    await page.wait_for_function("() => window.kept.length === 4")
    assert await page.evaluate("window.kept") == ["keydown", False, "contextmenu", False]
    await page.keyboard.press("Tab")
    await expect(page.locator("#retry")).to_be_focused()
    desk.state = "running"
    await state(page, "live")  # a machine that comes back is noticed
    assert await page.evaluate(WORKS) == works
    await expect(page.locator("#field")).to_be_focused()
    await page.keyboard.press("x")
    assert len(await desk.next(m.Key, 2)) == 2


@pytest.mark.parametrize(
    ("rests", "word", "text", "typed"),
    [
        ("stopped", "Stopped", "desk has stopped.", ["pommel start desk"]),
        ("asleep", "Asleep", "desk sleeps.", ["pommel start desk"]),
        ("crashed", "Crashed", "desk has crashed.", ["pommel log desk", "pommel start desk"]),
        ("absent", "Deleted", "desk no longer exists.", []),
    ],
)
async def test_a_machine_that_rests_says_how_and_still_does_when_its_console_has_gone(
    open_page: Open, desk: Desk, console: ConsoleServer, rests: str, word: str, text: str, typed: list[str]
) -> None:
    page, looker = await open_page(), await open_page(console.look_url)
    desk.state = rests
    await asyncio.gather(*(viewer.close(1001, "desk has stopped") for viewer in tuple(desk.viewers)))
    for one in (page, looker):
        await state(one, "stopped")
        await expect(one.locator("#state-text")).to_have_text(word)
        await expect(one.locator("#notice-text")).to_have_text(text)
    assert await commands(page).all_text_contents() == typed
    assert await commands(looker).all_text_contents() == [], "they cannot type it"
    await console.stop()
    await page.click("#retry")
    await expect(page.locator("#notice-next")).to_contain_text("Trying to reconnect in")
    await expect(page.locator("#notice-text")).to_have_text(text)


async def test_what_stands_still_says_so_takes_no_keys_and_goes_on(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page, looker = await open_page(), await open_page(console.look_url)
    shown = page.locator("#notice-text")
    await page.keyboard.down("Shift")
    await page.mouse.move(500, 300)
    await page.mouse.down()
    await desk.until(lambda: any(one.button == m.LEFT_DOWN for one in desk.of(m.Mouse)))
    desk.seen.clear()
    for stands, text, typed in (
        ("paused", "desk is paused.", ["pommel resume desk"]),
        ("no-room", "desk is paused: its disk cannot be written.", ["pommel resume desk"]),
        ("stuck", "desk is paused and cannot continue.", ["pommel stop desk"]),
    ):
        desk.state = stands
        await expect(shown).to_contain_text(text)
        await state(page, "paused")
        assert await commands(page).all_text_contents() == typed
        await expect(page.locator("#notice-more")).to_contain_text("not sent: they would be lost.")
    await expect(page.locator("#state-text")).to_have_text("Paused")
    await expect(looker.locator("#notice-text")).to_have_text("desk is paused and cannot continue.")
    assert await commands(looker).all_text_contents() == []
    late = await open_page(console.look_url, state="paused")
    assert "grayscale" in await page.evaluate("getComputedStyle(document.getElementById('screen')).filter")
    works = await page.evaluate(WORKS)
    assert "shot" in works and not {"keys", "type"} & set(works)
    await page.keyboard.up("Shift")
    await page.keyboard.press("a")
    await page.keyboard.down("Control")  # and it stays down
    desk.state = "running"
    for one in (page, looker, late):
        await state(one, "live")
    await page.mouse.up()
    await page.keyboard.press("b")
    await desk.until(lambda: len(desk.of(m.Key)) >= 4)
    assert [(key.vk, key.down) for key in desk.of(m.Key) if isinstance(key, m.Key)][:4] == [
        (0x10, False),  # it went up meanwhile, and is told now: before, it would have been lost
        (0x11, True),
        (0x42, True),
        (0x42, False),
    ]
    assert [one.button for one in desk.of(m.Mouse) if isinstance(one, m.Mouse) and one.button] == [m.LEFT_UP]


async def test_looking_whether_it_is_back_becomes_seldom_and_ends(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page = await open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("api/status") else None)
    await page.clock.install()
    await console.stop()
    await state(page, "ended")
    next_line = page.locator("#notice-next")
    for minutes, most in ((2, 60), (10, 45), (20, 85)):
        asked.clear()
        for _ in range(minutes * 12):
            await page.clock.run_for(5_000)
        assert len(asked) <= most, minutes
    await expect(next_line).to_have_text("This page has stopped trying to reconnect.")
    asked.clear()
    await page.clock.run_for(600_000)
    assert asked == []
    again = serving(desk, token=Admission(console.secrets), port=console.port)
    await again.start()
    await page.click("#retry")
    await state(page, "live")
    await again.stop()


async def test_a_console_that_vanished_is_looked_for_and_then_said_to_be_gone(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page = await open_page()
    await page.clock.install()
    await page.context.set_offline(True)
    for viewer in tuple(desk.viewers):
        viewer._transport.abort()  # type: ignore[attr-defined]
    await state(page, "reconnecting")
    await expect(page.locator("#notice-text")).to_have_text("The console does not answer.")
    assert await commands(page).all_text_contents() == ["pommel console desk"]
    await expect(page.locator("#type")).to_be_disabled()
    await expect(page.locator("#fit")).to_be_enabled()
    for _ in range(14):
        await page.clock.run_for(5_000)
    await state(page, "gone")
    assert await page.evaluate(WORKS) == []
    await page.context.set_offline(False)
    await page.clock.run_for(16_000)
    await state(page, "live")


async def test_too_many_is_said_and_waited_for(open_page: Open, desk: Desk) -> None:
    page = await open_page()

    async def full(route: Any) -> None:
        await route.fulfill(status=503, content_type="text/html", headers={"Server": "pommel"}, body="<p>no place")

    await page.route("**/api/status", full)
    await desk.viewers[0].close(1001, "")
    await expect(page.locator("#notice-text")).to_have_text("Too many pages already show this.")
    await page.unroute("**/api/status")
    await state(page, "live")


async def test_who_may_only_look_is_told_so_when_they_type_or_click(
    open_page: Open, desk: Desk, console: ConsoleServer
) -> None:
    page = await open_page(console.look_url)
    toast = page.locator("#toast")
    await expect(page.locator("#looking")).to_be_visible()
    for gone in ("#keys", "#type", "#copy", "#field", "#displays", "#hint"):
        await expect(page.locator(gone)).to_be_hidden()
    await page.keyboard.press("Control+a")
    await page.locator("#fit").focus()
    await page.keyboard.press("Enter")  # works the button
    await expect(toast).to_be_hidden()
    for doing in (page.keyboard.press("a"), page.mouse.click(500, 300)):
        await page.evaluate("document.activeElement.blur()")
        await doing
        await expect(toast).to_have_text("View only: your input is not sent.")
        await page.evaluate("document.getElementById('toast').hidden = true")
    renewed = console.url.replace("/?", "/api/new-token?")
    await page.context.request.post(renewed, headers={"Origin": renewed.split("/api")[0]})
    await state(page, "refused")
    await expect(page.locator("#notice-more")).to_contain_text("Ask the person who sent you the link")
    assert await commands(page).all_text_contents() == ["pommel console desk --view-only"]
    kinds = {type(command) for command in desk.seen}
    assert kinds <= {m.Abilities, m.Compression, m.GetDisplays, m.Pause, m.Refresh}


async def test_a_reason_is_said_once_to_who_hears_the_page(open_page: Open, desk: Desk) -> None:
    page = await open_page()
    await page.evaluate(
        """() => {
          window.said = 0;
          const parts = ["notice-text", "notice-more"].map((id) => document.getElementById(id));
          const count = new MutationObserver(() => (window.said += 1));
          for (const part of parts) count.observe(part, { childList: true, subtree: true, characterData: true });
        }"""
    )
    desk.state = "stopped"
    await desk.viewers[0].close(ENDED, "it ended")
    await state(page, "stopped")
    said = await page.evaluate("window.said")
    shown = await page.locator("#notice-next").text_content()
    await expect(page.locator("#notice-next")).not_to_have_text(str(shown))  # a second later
    assert await page.evaluate("window.said") == said
    assert await page.locator("#notice-next").get_attribute("aria-live") == "off"
