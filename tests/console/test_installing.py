"""The page as an installed app: what Chromium finds of it, and whether its address opens once the browser has ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from chromium import FLAGS
from pommel.console.server import ConsoleServer
from pommel.process import which

from .conftest import Open
from .test_behind_a_proxy import behind  # noqa: F401

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_page_can_be_installed_and_has_no_service_worker(open_page: Open) -> None:
    page = await open_page()
    session = await page.context.new_cdp_session(page)
    found = await session.send("Page.getAppManifest")
    assert found["errors"] == []
    assert found["url"] == page.url + "manifest.webmanifest"
    manifest = json.loads(found["data"])
    assert manifest["start_url"] == manifest["scope"] == "./", "the page's own address, and no token"
    assert (manifest["name"], manifest["display"]) == ("A <Desk> · Pommel", "standalone")
    faults = (await session.send("Page.getInstallabilityErrors"))["installabilityErrors"]
    assert [one["errorId"] for one in faults if one["errorId"] != "in-incognito"] == []
    for icon in manifest["icons"]:
        answer = await page.context.request.get(page.url + icon["src"])
        assert (answer.status, answer.headers["content-type"]) == (200, icon["type"])
        size = await page.evaluate(
            """async (src) => { const image = new Image(); image.src = src; await image.decode();
            return `${image.naturalWidth}x${image.naturalHeight}`; }""",
            icon["src"],
        )
        assert size == icon["sizes"]
    assert await page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0


async def test_an_installed_page_opens_after_its_browser_has_ended(
    console: ConsoleServer, tmp_path: Path, browser: Browser
) -> None:
    address = ""
    for url in (console.url, None):
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch_persistent_context(
                tmp_path, executable_path=which("chromium"), args=FLAGS
            )
            page = await chromium.new_page()
            await page.goto(url or address)
            await page.wait_for_selector("body[data-state=live]")
            address = page.url
            kept = [one for one in await chromium.cookies() if one.get("name") == f"pommel_{console.port}"]
            assert kept[0].get("expires", -1) > 0 and kept[0].get("httpOnly") and kept[0].get("sameSite") == "Strict"
            await chromium.close()


async def test_it_can_be_installed_below_a_prefix_and_behind_tls(
    behind: tuple[str, ConsoleServer],  # noqa: F811
    browser: Browser,
) -> None:
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await page.goto(behind[0])
    await page.wait_for_selector("body[data-state=live]")
    found = await (await context.new_cdp_session(page)).send("Page.getAppManifest")
    assert found["errors"] == [] and "/desk/at/" in found["url"] and found["url"].startswith("https:")
    assert found["manifest"]["startUrl"] == page.url
    assert all("/desk/at/" in icon["url"] for icon in found["manifest"]["icons"])
    await context.close()
