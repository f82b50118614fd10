"""One clipboard for a real X desktop here and the real trial machine, as a person uses it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from chromium import page_ms
from clipboard.conftest import Clip, x_server
from driver import Shell
from isolation import patient
from pommel.clipboard.uris import paths_of, uri_list
from waits import wait_until

from .conftest import Trial
from .test_page import click_screen, is_live

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def desk() -> Iterator[str]:
    """An X server for this host."""
    with x_server() as name:
        yield name


@pytest.fixture
def clip(desk: str, trial: Trial) -> Iterator[Clip]:
    """This host's clipboard, on which the trial's shell has its desktop."""
    trial.shell.env["DISPLAY"] = desk
    yield Clip(desk)
    trial.shell.run("clip", "stop", "--all")
    trial.shell.env.pop("DISPLAY")


def synced(shell: Shell, state: str = "syncing", timeout_s: float = 120) -> None:
    wait_until(lambda: shell.json("clip", "status", "trial")["state"] == state, timeout_s, 0.5)


def test_both_ways_and_again_after_a_kill(trial: Trial, clip: Clip) -> None:
    shell = trial.shell
    clip.copy("from the host ü\n\n".encode())
    told = shell.json("clip", "sync", "trial")
    assert (told["guest"], told["state"], told["kind"]) == ("trial", "syncing", "posix")
    wait_until(lambda: trial.guest("pbpaste") == "from the host ü\n\n", 20)
    trial.guest("printf 'from the guest ü\\n\\n' | pbcopy")
    wait_until(lambda: clip.paste() == "from the guest ü\n\n".encode(), 20)
    wait_until(lambda: shell.json("clip", "status", "trial")["to_host"] == 1, 10)
    assert shell.run("clip", "pull").stdout == "trial: pulled (both sides already have it)\n"
    assert "is already synced" in shell.run("clip", "sync", "trial", status=3).stderr
    os.kill(told["sync_pid"], signal.SIGKILL)
    assert shell.json("clip", "status", "trial")["state"] == "stopped"
    clip.copy(b"after the kill")
    assert shell.json("clip", "sync", "trial")["state"] == "syncing"
    wait_until(lambda: trial.guest("pbpaste") == "after the kill", 20)
    assert shell.run("clip", "stop").stdout == "trial: clipboard sync ended\n"
    clip.copy(b"alone")
    assert trial.guest("pbpaste") == "after the kill"


def test_once(trial: Trial, clip: Clip) -> None:
    clip.copy(b"pushed\n")
    assert trial.shell.run("clip", "push", "trial").stdout == "trial: pushed (text, 7 bytes)\n"
    assert trial.guest("pbpaste") == "pushed\n"
    trial.guest("printf pulled | pbcopy")
    assert trial.shell.run("clip", "pull", "trial").stdout == "trial: pulled (text, 6 bytes)\n"
    assert clip.paste() == b"pulled"
    mine = trial.shell.cwd / "mine"
    mine.write_text("carried\n")
    clip.copy(uri_list([os.fsencode(mine)]), "text/uri-list")
    assert trial.shell.run("clip", "push", "trial").stdout == "trial: pushed (1 file, 8 B)\n"
    assert trial.guest("cat ~/.cache/pommel-clipboard/*/*/mine") == "carried\n"
    offer = "printf 'file:///etc/hostname\\r\\n' | DISPLAY=:0 xclip -selection clipboard -t text/uri-list"
    trial.guest(f"{offer} >/dev/null 2>&1")
    assert "(1 file, " in trial.shell.run("clip", "pull", "trial").stdout
    (here,) = paths_of(clip.paste("text/uri-list") or b"")
    assert Path(os.fsdecode(here)).read_text() == trial.guest("cat /etc/hostname")


def test_a_key_of_ones_own_is_let_in(trial: Trial) -> None:
    public = trial.shell.cwd / "mine.pub"
    public.write_text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{'B' * 47}= me $(touch pwned)\n")
    first = trial.shell.run("ssh", "trial", "--copy-id", "-i", "mine.pub").stdout.splitlines()
    assert [line.startswith("trial already accepts ") for line in first] == [True, False]
    again = trial.shell.run("ssh", "--copy-id", "-i", "mine.pub", "trial").stdout.splitlines()
    assert all(line.startswith("trial already accepts ") for line in again) and len(again) == 2
    assert trial.guest("ls pwned", status=None) == ""


async def test_the_page_pastes_into_the_machine_and_copies_out_of_it(trial: Trial, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 1400, "height": 950})
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    await page.goto(trial.url)
    await is_live(page)
    await page.wait_for_selector("#copy:not([hidden])[aria-disabled=false]", timeout=page_ms(30))
    await page.evaluate("navigator.clipboard.writeText('from the browser')")
    await click_screen(page, 320, 400)
    for _ in range(6):  # on a busy host the guest may let us in later than the page is ready to wait
        await page.keyboard.press("Control+v")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patient(5)):
                while await asyncio.to_thread(trial.guest, "pbpaste") != "from the browser":
                    await asyncio.sleep(0.2)
                break
    assert await asyncio.to_thread(trial.guest, "pbpaste") == "from the browser"
    await asyncio.to_thread(trial.guest, "printf 'from the machine' | pbcopy")
    await page.wait_for_selector("#copy[data-new]", timeout=page_ms(60))
    await page.click("#copy")
    await page.wait_for_selector("#copy:not([data-new])", timeout=page_ms(30))
    assert await page.evaluate("navigator.clipboard.readText()") == "from the machine"
    await context.close()


def test_it_begins_with_the_machine_and_survives_a_restart(trial: Trial, clip: Clip) -> None:
    shell = trial.shell
    shell.run("up", "trial", "--clipboard", "--headless")
    synced(shell, timeout_s=60)
    pid = shell.json("clip", "status", "trial")["sync_pid"]
    shell.run("restart", "trial", "--timeout", "90", timeout_s=240)
    clip.copy(b"after the restart")
    wait_until(lambda: trial.guest("pbpaste", status=None) == "after the restart", 180, 1.0)
    seen = shell.json("clip", "status", "trial")
    assert (seen["sync_pid"], seen["with_machine"], seen["connections"]) == (pid, True, 2)
