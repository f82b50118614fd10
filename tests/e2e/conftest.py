"""The trial machine, brought up once by the real command, and a real Chromium to look at it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

import chromium
import hung
from driver import Shell
from isolation import patient
from pommel.app.machine import making
from pommel.app.workspace import Workspace
from pommel.paths import Home
from pommel.progress import ignore
from waits import wait_until

# What Pommel waits for a boot, and more than that for the command: its own error is what is seen, not its end.
BOOT_S = 300
UP_S = BOOT_S + 60
STUCK_TRIES = 3
BUILD_S = 420  # the base image, where the tests' cache has none


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test of this room is the first has the machine made and booted within its time."""
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here) and item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.timeout(patient(BUILD_S + UP_S + float(item.config.getini("timeout")))))


def up(shell: Shell, name: str, *words: str, timeout_s: float = BUILD_S + UP_S) -> CompletedProcess[str]:
    """`pommel up NAME WORDS --json`, which waits as much longer for the guest as this host is busy.

    About once in a hundred boots QEMU 7.2's emulation of several vCPUs has one of them meet the same page fault for
    ever: the guest's kernel tells a soft lockup, and `up` says so. Then the machine is started anew.
    """
    waits = ("--wait-timeout", f"{patient(BOOT_S):.0f}")
    for _ in range(STUCK_TRIES):
        child = shell.popen("up", name, *words, "--json", *waits, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        done = shell.ended(child, timeout_s=timeout_s, status=None)
        if done.returncode == 0 or "soft lockup" not in done.stdout + done.stderr:
            break
        shell.run("stop", name, "--force")
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{hung.home(shell)}"
    return done


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

    @property
    def ssh_port(self) -> int:
        """The port it has now: while it is down, a machine of another home may take its former one."""
        return int(self.shell.json("status", "trial")["ssh_port"])

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
        done = up(shell, "trial")
        yield Trial(shell, json.loads(done.stdout.splitlines()[-1]), done.stderr)
    finally:
        shell.close()


@pytest.fixture(scope="session")
def warm() -> Iterator[Shell]:
    """A home with a trial machine that has saved memory: one boot for all that goes on from there."""
    shell = Shell(share_base=True)
    shell.config("[machine.trial]\nthreads = 1\n")  # one vCPU: a boot on a busy host is surer, and as quick
    workspace = Workspace(Home.find(shell.env), shell.cwd, shell.env)
    try:
        making.make(workspace, workspace.spec("trial"), report=ignore)
        waits = f"{patient(BOOT_S):.0f}"
        shell.run("golden", "trial", "--memory", "--wait-timeout", waits, timeout_s=BUILD_S + UP_S)
        yield shell
    finally:
        shell.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium.headless(), args=chromium.FLAGS)
        yield browser
        await browser.close()
