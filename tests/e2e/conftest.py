"""The trial machine, brought up once by the real command, and a real Chromium to look at it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from driver import Shell, wait_until

CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Trial:
    """The running trial machine and what `up` said about it."""

    def __init__(self, shell: Shell, told: dict[str, Any], progress: str) -> None:
        self.shell = shell
        self.told = told
        self.progress = progress

    @property
    def url(self) -> str:
        return str(self.told["url"])

    @property
    def ws(self) -> str:
        return str(self.told["ws"])

    def await_desktop(self) -> None:
        """Wait until both terminals of the desktop have their shell."""
        wait_until(lambda: self.guest('pgrep -c -P "$(pgrep -d, xterm)" bash', status=None).strip() == "2", 120, 1.0)

    def guest(self, command: str, status: int | None = 0) -> str:
        """Run a command by the guest's shell, over `pommel ssh`."""
        return self.shell.run("ssh", "trial", "--", command, status=status).stdout


@pytest.fixture(scope="session")
def trial() -> Iterator[Trial]:
    """`pommel up trial` from an empty home; the base image comes from the tests' cache or is built."""
    shell = Shell(share_base=True)
    try:
        done = shell.run("up", "trial", "--json", "--wait", "ssh", timeout_s=900)
        trial = Trial(shell, json.loads(done.stdout.splitlines()[-1]), done.stderr)
        trial.await_desktop()
        yield trial
    finally:
        shell.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGS)
        yield browser
        await browser.close()
