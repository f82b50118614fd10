"""`pommel kvm serve`: a session of this host, with a real X server behind it and real viewers before it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser
from websockets.asyncio.client import ClientConnection, connect

from chromium import page_ms
from driver import Shell
from isolation import patient
from pommel.console.stream import ENDED
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from screen.x_server import XServer, painter, x_server
from waits import wait_until

from .test_page import SAMPLE, click_screen, open_page


@dataclass
class Served:
    server: XServer
    child: subprocess.Popen[bytes]
    told: dict[str, Any]

    def end(self, how: int) -> tuple[int, str]:
        """Signal the process; return its exit status and what it said to people."""
        self.child.send_signal(how)
        _, said = self.child.communicate(timeout=20)
        return self.child.returncode, said.decode()


@contextlib.contextmanager
def serving(shell: Shell, server: XServer, *words: str) -> Iterator[Served]:
    child = shell.popen(
        "kvm", "serve", "--display", server.name, "--listen", "127.0.0.1:0", "--json", *words,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        yield Served(server, child, json.loads(child.stdout.readline()))
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def desk(shell: Shell) -> Iterator[Served]:
    """A screen of 800×600 that is served."""
    with x_server(screen="800x600x24") as server, serving(shell, server) as served:
        yield served


class Looker:
    """A viewer that speaks the protocol itself."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.decoder = Decoder(wire.Direction.TO_VIEWER)

    async def say(self, *commands: wire.Command) -> None:
        for command in commands:
            await self.socket.send(encode(command))

    async def until(self, true: Callable[[wire.Command], bool]) -> wire.Command:
        async with asyncio.timeout(patient(20)):
            async for message in self.socket:
                assert isinstance(message, bytes)
                self.decoder.receive_data(message)
                for command in list(self.decoder.events()):
                    if true(command):
                        return command
        raise AssertionError("it closed the connection")


@contextlib.asynccontextmanager
async def looking(served: Served) -> AsyncIterator[Looker]:
    async with connect(str(served.told["ws"]), max_size=None) as socket:
        yield Looker(socket)


async def test_the_page_shows_the_session_and_typing_makes_a_file(desk: Served, browser: Browser, shell: Shell) -> None:
    env = {**shell.env, "DISPLAY": desk.server.name, "SHELL": "/bin/sh"}
    terminal = subprocess.Popen(["xterm", "-geometry", "80x24+0+0", "-e", "sh"], env=env, cwd=shell.root)
    try:
        page = await open_page(browser, str(desk.told["url"]))
        assert (await page.evaluate(SAMPLE))[:2] == [800, 600]
        assert await page.title() != ""
        with painter(desk.server) as pen:
            wait_until(lambda: pen.root.query_tree().children, 20)
        await click_screen(page, 200, 200)
        await page.keyboard.type("echo Zu-Fuß_42 > typed\n")
        typed = shell.root / "typed"
        while not typed.exists() or not typed.read_text():
            await asyncio.sleep(0.05)
        assert typed.read_text() == "Zu-Fuß_42\n", "also what no key of this keyboard makes"
        await page.close()
    finally:
        terminal.kill()
        terminal.wait()


async def test_the_session_s_own_clipboard_is_on_the_page(desk: Served, browser: Browser) -> None:
    env = {**os.environ, "DISPLAY": desk.server.name}
    read = ["xclip", "-selection", "clipboard", "-o"]
    page = await open_page(browser, str(desk.told["url"]))
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.evaluate("navigator.clipboard.writeText('Grüße vom Browser')")
    await click_screen(page, 400, 300)
    await page.keyboard.press("Control+v")
    async with asyncio.timeout(patient(20)):
        while subprocess.run(read, env=env, capture_output=True, timeout=20).stdout.decode() != "Grüße vom Browser":
            await asyncio.sleep(0.05)
    subprocess.run(["xclip", "-selection", "clipboard"], env=env, input=b"aus X\n", check=True)
    await page.wait_for_selector("#copy[data-new]")
    await page.click("#copy")
    async with asyncio.timeout(patient(20)):
        while await page.evaluate("navigator.clipboard.readText()") != "aus X\n":
            await asyncio.sleep(0.05)
    await page.close()


async def test_the_page_has_the_user_s_files_but_never_root_s(desk: Served, browser: Browser) -> None:
    page = await open_page(browser, str(desk.told["url"]))
    own = os.geteuid() != 0
    assert await page.is_visible("#files") is own
    there = await page.evaluate("fetch('api/files/list?path=~').then((answer) => answer.status)")
    assert there == (200 if own else 404)
    await page.close()


async def test_one_of_two_displays_is_shown_alone_and_a_smaller_desktop_is_followed(desk: Served) -> None:
    desk.server.run("xrandr", "--setmonitor", "left", "400/100x600/150+0+0", "screen")
    desk.server.run("xrandr", "--setmonitor", "right", "400/100x600/150+400+0", "none")
    async with looking(desk) as looker:
        await looker.until(lambda c: isinstance(c, wire.DisplayInfo) and len(c.displays) == 2)
        await looker.say(wire.GetDisplays())
        asked = await looker.until(lambda c: isinstance(c, wire.DisplayList))
        assert asked == wire.DisplayList((1, 2, wire.ALL_DISPLAYS), wire.ALL_DISPLAYS)
        await looker.say(wire.SetDisplay(2))
        await looker.until(lambda c: c == wire.Screen(400, 600))
        await looker.say(wire.Mouse(10, 20))
        with painter(desk.server) as pen:
            wait_until(lambda: (pen.root.query_pointer().root_x, pen.root.query_pointer().root_y) == (410, 20), 10)
        await looker.say(wire.SetDisplay(wire.ALL_DISPLAYS))
        await looker.until(lambda c: c == wire.Screen(800, 600))
        for name in ("left", "right"):
            desk.server.run("xrandr", "--delmonitor", name)
        desk.server.run("xrandr", "--newmode", "small", "1", "640", "0", "0", "640", "480", "0", "0", "480")
        desk.server.run("xrandr", "--addmode", "screen", "small")
        desk.server.run("xrandr", "--output", "screen", "--mode", "small")
        await looker.until(lambda c: c == wire.Screen(640, 480))


async def test_view_only_takes_no_hands(shell: Shell) -> None:
    with x_server() as server, serving(shell, server, "--view-only") as served, painter(server) as pen:
        before = pen.root.query_pointer()
        async with looking(served) as looker:
            await looker.until(lambda c: isinstance(c, wire.Picture))
            await looker.say(wire.Mouse(before.root_x + 20, before.root_y + 20), wire.Refresh())
            await looker.until(lambda c: isinstance(c, wire.Picture))
        after = pen.root.query_pointer()
        assert (after.root_x, after.root_y) == (before.root_x, before.root_y)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_when_asked_and_leaves_no_key_down(desk: Served, how: int) -> None:
    with painter(desk.server) as pen:
        async with looking(desk) as looker:
            await looker.until(lambda c: isinstance(c, wire.Picture))
            await looker.say(wire.Key(0x41, True))
            wait_until(lambda: any(pen.display.query_keymap()), 10)
            assert (await asyncio.to_thread(desk.end, how))[0] == 0
            await looker.socket.wait_closed()
            assert (looker.socket.close_code, looker.socket.close_reason) == (ENDED, "the session is no longer served")
        assert not any(pen.display.query_keymap())


async def test_a_session_that_ends_is_told_and_not_looked_for_as_if_it_were_a_machine(
    shell: Shell, browser: Browser
) -> None:
    words = ("--allow-host", "desk.example")
    with x_server() as server, serving(shell, server, *words) as served:
        again = f"pommel kvm serve --display {server.name} --listen 127.0.0.1:0 --allow-host desk.example"
        page = await open_page(browser, str(served.told["url"]))
        assert await page.locator("body").get_attribute("data-guest") == "linux"
        server.kill()
        await page.wait_for_selector("body[data-state=ended]", timeout=page_ms(20))
        assert await page.locator("#notice-text").text_content() == "The X server closed the connection."
        assert await page.locator("#notice-more code").all_text_contents() == [again]
        _, said = await asyncio.to_thread(served.child.communicate, timeout=20)
        assert served.child.returncode == 0
        assert said.decode().strip().splitlines()[-2:] == [
            "the X server closed the connection; the page is no longer served",
            f"to serve it again: {again}",
        ]
        await page.close()


def test_it_ends_with_its_session_though_nobody_looks(desk: Served) -> None:
    desk.server.kill()
    _, said = desk.child.communicate(timeout=20)
    assert desk.child.returncode == 0
    assert "the page is no longer served" in said.decode()


def test_without_a_session_it_says_what_to_name(shell: Shell) -> None:
    done = shell.run("kvm", "serve", "--json", status=3)
    assert "--display :0" in done.stderr
    assert json.loads(done.stdout)["exit"] == 3
    assert "there is no X server at :4242" in shell.run("kvm", "serve", "--display", ":4242", status=3).stderr
