"""A real console server over a stand-in desk, and a real Chromium."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

import chromium
from pommel.console.server import ConsoleInfo, ConsoleServer, new_token

from .desk import Desk

Open = Callable[..., Awaitable[Page]]


def serving(desk: Desk, **changes: Any) -> ConsoleServer:
    options: dict[str, Any] = {
        "info": ConsoleInfo("desk", "A <Desk>"),
        "token": new_token(),
        "serve_viewer": desk.serve,
        "status": desk.status,
        "port": 0,
    }
    return ConsoleServer(**(options | changes))


def a_pass(console: ConsoleServer, *, view_only: bool = False) -> dict[str, str]:
    secret, _ = console.secrets.issue(view_only=view_only, now_s=time.time())
    return {"Cookie": f"pommel_{console.port}={secret}"}


@pytest_asyncio.fixture(loop_scope="module")
async def desk() -> Desk:
    return Desk()


@pytest_asyncio.fixture(loop_scope="module")
async def console(desk: Desk) -> AsyncIterator[ConsoleServer]:
    server = serving(desk)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium.headless(), args=chromium.FLAGS)
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, console: ConsoleServer) -> AsyncIterator[Open]:
    """Open the console's page in a browser context of its own; the page must log no error."""
    contexts, errors = [], []
    expect.set_options(timeout=chromium.page_ms(10))

    async def open_page(url: str | None = None, *, state: str = "live", **options: Any) -> Page:
        context = await browser.new_context(**({"viewport": {"width": 1000, "height": 600}} | options))
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
        await page.goto(url or console.url)
        if state:
            await page.wait_for_selector(f"body[data-state={state}]")
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert errors == []
