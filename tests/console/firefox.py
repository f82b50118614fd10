"""Debian's own Firefox for Playwright: called in Firefox's place, it starts that and stands between the two.

Playwright speaks WebDriver BiDi with a Firefox as it is (channel `moz-firefox`), and is ahead of the Firefox that
distributions have: it begins with a command that an ESR does not know (emulation.setMediaFeaturesOverride, Firefox 153),
and gives up. Commands that Firefox does not know are answered here as done; all else goes through as it is.
"""

from __future__ import annotations

import asyncio
import json
import re
import stat
import sys
from pathlib import Path

from playwright.async_api import Browser, Playwright
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from pommel.process import which

LISTENING = re.compile(rb"WebDriver BiDi listening on ws://127\.0\.0\.1:(\d+)")
# Answers to what a page asks for when nobody is there to say yes; and no first page, no updates, no reports.
PREFERENCES: dict[str, bool | int | str] = {
    "dom.events.asyncClipboard.readText": True,
    "dom.events.testing.asyncClipboard": True,
    "full-screen-api.allow-trusted-requests-only": False,
    "full-screen-api.warning.timeout": 0,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
}


async def launch(playwright: Playwright, folder: Path) -> Browser:
    """Start Firefox, with what is needed for it in `folder`; what it saves is in `downloads` there."""
    (folder / "downloads").mkdir()
    program = folder / "firefox"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{__file__}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return await playwright.firefox.launch(
        channel="moz-firefox",
        executable_path=program,
        firefox_user_prefs=dict(PREFERENCES),
        downloads_path=folder / "downloads",  # Playwright does not understand what this Firefox tells of downloads
    )


async def relay(firefox: asyncio.subprocess.Process) -> None:
    """Between the Playwright that comes and the Firefox that has been started, until that ends."""
    assert firefox.stderr is not None
    while not (found := LISTENING.search(line := await firefox.stderr.readline())):
        if not line:
            raise SystemExit("firefox ended before it listened")

    async def between(playwright: ServerConnection) -> None:
        assert playwright.request is not None
        address = f"ws://127.0.0.1:{found[1].decode()}{playwright.request.path}"
        async with connect(address, max_size=None, ping_interval=None) as browser, asyncio.TaskGroup() as both:
            both.create_task(pump(playwright, browser))
            both.create_task(pump(browser, playwright))

    async with serve(between, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"WebDriver BiDi listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        while await firefox.stderr.read(1 << 16):
            pass
        await firefox.wait()


async def pump(source: ServerConnection | ClientConnection, target: ServerConnection | ClientConnection) -> None:
    async for message in source:
        await target.send(done_if_unknown(message) if isinstance(message, str) else message)
    await target.close()


def done_if_unknown(message: str) -> str:
    said = json.loads(message)
    if said.get("type") == "error" and said.get("error") == "unknown command":
        return json.dumps({"type": "success", "id": said["id"], "result": {}})
    return message


async def main() -> None:
    program = which("firefox-esr") or which("firefox")
    await relay(await asyncio.create_subprocess_exec(str(program), *sys.argv[1:], stderr=asyncio.subprocess.PIPE))


if __name__ == "__main__":
    asyncio.run(main())
