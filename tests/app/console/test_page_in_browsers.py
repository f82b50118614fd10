"""What a machine's own page says while its QEMU ends, comes back and ends for good: the real console, a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from chromium import FLAGS
from isolation import patient
from machine.bare import argv, make, short_home
from pommel import locks
from pommel.app.argv.commandline import new_record
from pommel.app.console import page as console
from pommel.app.workspace import Workspace
from pommel.machine import lifecycle, pausing, record
from pommel.machine.stopping import stop
from pommel.paths import MachinePaths
from pommel.process import which
from waits import wait_until


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with short_home() as home:
        (tmp_path / "pommel.toml").write_text("[machine.m]\n")
        made, paths = Workspace(home, tmp_path), make(home)
        record.save(paths.record, new_record(made.spec("m"), bytes(19), created="2026-01-01T00:00:00+00:00"))
        yield made


def start(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, "-vga", "std", "-vnc", f"unix:{paths.vnc}", "-trace", "input_event_key_*"))


@contextlib.asynccontextmanager
async def open_page(url: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=which("chromium"), args=FLAGS)
        page = await browser.new_page()
        await page.goto(url)
        yield page
        await browser.close()


async def says(page: Page, state: str, text: str, commands: list[str]) -> None:
    await page.wait_for_selector(f"body[data-state={state}]", timeout=patient(20) * 1000)
    await expect(page.locator("#notice-text")).to_have_text(text, timeout=patient(20) * 1000)
    assert await page.locator("#notice-more code").all_text_contents() == commands


def keys(paths: MachinePaths) -> list[tuple[str, str]]:
    """What QEMU has handed to its guest's keyboard; F24 is Pommel's own."""
    found = re.findall(r"key qcode (\w+), down (\d)", paths.log.read_text())
    return [(name, down) for name, down in found if name != "f24"]


async def stands_and_goes_on(page: Page, paths: MachinePaths) -> None:
    """Keys that are pressed while the machine is paused are not sent; one that goes up meanwhile is let go after it."""
    await page.keyboard.down("Shift")
    await asyncio.to_thread(wait_until, lambda: keys(paths) == [("shift", "1")])
    await asyncio.to_thread(pausing.pause, paths)
    await says(page, "paused", "m is paused.", ["pommel resume m"])
    await page.keyboard.up("Shift")
    await page.keyboard.press("a")
    await asyncio.to_thread(pausing.resume, paths)
    await page.wait_for_selector("body[data-state=live]", timeout=patient(20) * 1000)
    await page.keyboard.press("b")
    await asyncio.to_thread(wait_until, lambda: ("b", "0") in keys(paths))
    assert keys(paths) == [("shift", "1"), ("shift", "0"), ("b", "1"), ("b", "0")]


async def test_the_page_follows_its_machine_to_the_end(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LINGER_S", patient(5))
    paths = workspace.paths("m")
    await asyncio.to_thread(start, paths)
    opened: asyncio.Future[console.Console] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(patient(40)), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(console.serve(workspace, "m", port=0, on_ready=opened.set_result))
        async with open_page((await opened).url) as page:
            live = "body[data-state=live]"
            await page.wait_for_selector(live, timeout=patient(20) * 1000)
            assert await page.locator("body").get_attribute("data-guest") == "mac"
            await stands_and_goes_on(page, paths)
            os.kill(locks.holder(paths.pidfile) or 0, signal.SIGKILL)
            await says(page, "stopped", "m has crashed.", ["pommel log m", "pommel start m"])
            await asyncio.to_thread(start, paths)
            await page.wait_for_selector(live, timeout=patient(20) * 1000)
            await asyncio.to_thread(stop, paths, force=True)
            await says(page, "stopped", "m has stopped.", ["pommel start m"])
            assert await serving == "m has stopped"
            await page.click("#retry")
            await says(page, "stopped", "m has stopped.", ["pommel start m"])
