"""The reversed socket in the trial machine: brought in, looked through, mistreated, and taken away without a trace."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from chromium import page_ms
from waits import wait_until

from .conftest import Trial
from .test_page import SAMPLE, click_screen

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RUN, SOCKETS = "/run/pommel-kvm", "/run/pommel-kvm-sessions"
# The session's; root, who is logged in by SSH, has a manager too, whose agent waits for its turn.
AGENT = "pgrep -u trial -f '[k]vm agent'"
PATIENCE_S = 60.0


class Inside:
    """The trial machine's inside, as root."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        key = trial.shell.machine("trial") / "ssh" / "id_ed25519"
        self._ssh = [
            *("ssh", "-q", "-i", str(key), "-p", str(trial.ssh_port), "-o", "IdentitiesOnly=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            # One login for all: in an emulated machine each takes seconds.
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={trial.shell.root}/root", "-o", "ControlPersist=120"),
            "root@127.0.0.1",
        ]

    def root(self, command: str, status: int | None = 0) -> str:
        done = subprocess.run(
            [*self._ssh, command], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False
        )
        assert status is None or done.returncode == status, done.stderr.decode()
        return done.stdout.decode()

    def agents(self) -> list[str]:
        return self.root(AGENT, status=None).split()

    def daemon(self) -> str:
        return self.root("systemctl show -P MainPID pommel-kvm").strip()

    def log(self) -> str:
        return self.root("journalctl -u pommel-kvm --no-pager -o cat -n 40")

    def in_run(self) -> list[str]:
        return self.root(f"ls -A {RUN} {SOCKETS} 2>/dev/null | grep -E 'active|sock|token'", status=None).split()


LISTING = "ls -A /opt /run /tmp /etc/systemd/system /etc/systemd/user; systemctl --failed --plain"


@pytest.fixture(scope="module")
def inside(trial: Trial) -> Iterator[Inside]:
    """The machine with the reversed socket in it; in the end nothing of that is left."""
    inside = Inside(trial)
    before = inside.root(LISTING).splitlines()
    told = trial.shell.json("guest", "install", "trial", timeout_s=400)
    assert told["ready"] and told["system"] == "linux" and "trial" in told["users"]
    assert told["session"] == "trial (x11)"
    yield inside
    trial.shell.run("console", "trial", "--stop", "--session")
    assert trial.shell.json("guest", "remove", "trial")["removed"]
    # What a service of the guest's own had in /tmp while it booted may be gone by now; nothing may have come.
    assert [line for line in inside.root(LISTING).splitlines() if line not in before] == []
    assert inside.agents() == []
    assert not trial.shell.json("guest", "remove", "trial")["removed"]


def url(trial: Trial) -> str:
    return str(trial.shell.json("console", "trial", "--session")["url"])


async def open_session(trial: Trial, browser: Browser) -> Page:
    page = await browser.new_page(viewport={"width": 1400, "height": 950})
    await page.goto(url(trial))
    await page.wait_for_selector("body[data-state=live]:not([data-frames='0'])", timeout=page_ms(PATIENCE_S))
    return page


async def types(inside: Inside, page: Page, name: str) -> None:
    """Type into a terminal of the session until it has made a file; keys that came while nobody served are lost."""
    deadline = asyncio.get_running_loop().time() + 2 * PATIENCE_S
    while inside.root(f"cat /home/trial/{name}", status=None) != "trial\n":
        assert asyncio.get_running_loop().time() < deadline, f"{name} never came about"
        await page.wait_for_selector("body[data-state=live]", timeout=page_ms(PATIENCE_S))
        await click_screen(page, 320, 400)
        await asyncio.sleep(0.5)
        await page.keyboard.type(f"\nid -un > ~/{name}\n")
        await asyncio.sleep(1)


async def test_from_the_first_viewer_to_the_last_with_strangers_in_between(inside: Inside, browser: Browser) -> None:
    assert inside.agents() == [] and inside.in_run() == []
    page = await open_session(inside.trial, browser)
    (agent,) = inside.agents()
    assert sorted(inside.in_run()) == ["1000.sock", "1000.token", "session-active"]
    width, height, colours = await page.evaluate(SAMPLE)
    assert (width, height) == (1280, 800) and colours >= 3
    await types(inside, page, "from-session")
    strangers_are_refused(inside)
    assert inside.agents() == [agent]
    await types(inside, page, "after-strangers")
    await page.close()
    wait_until(lambda: inside.agents() == [], PATIENCE_S, 0.5)
    wait_until(lambda: inside.in_run() == [], PATIENCE_S, 0.5)
    assert "the daemon has closed the connection" in inside.root("journalctl _UID=1000 --no-pager -o cat -n 20")


def strangers_are_refused(inside: Inside) -> None:
    socket = f"{SOCKETS}/1000.sock"
    connect = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.makefile('rb').read())"
    )
    perl = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]); print $_ while <$s>"
    nobody = "setpriv --reuid=65534 --clear-groups python3 -c"
    for theirs in (socket, f"{SOCKETS}/viewers"):
        assert "PermissionError" in inside.root(f'{nobody} "{connect}" {theirs} 2>&1', status=1)
    assert "another program" in inside.trial.guest(f"perl -e '{perl}' {socket}")
    # The agent's own program, by the session's own user: but it is nothing that systemd has started as our unit.
    assert "does not belong to" in inside.trial.guest(f'python3 -c "{connect}" {socket}')
    assert inside.log().count("agent refused") == 2


async def test_what_dies_comes_back_and_the_viewer_stays(inside: Inside, browser: Browser) -> None:
    page = await open_session(inside.trial, browser)
    (agent,) = inside.agents()
    inside.root(f"kill -9 {agent}")
    wait_until(lambda: inside.agents() not in ([], [agent]), PATIENCE_S, 0.5)
    await types(inside, page, "after-agent")
    (agent,), daemon = inside.agents(), inside.daemon()
    inside.root(f"kill -9 {daemon}; touch {RUN}/session-active")
    wait_until(lambda: inside.daemon() not in ("0", daemon), PATIENCE_S, 0.5)
    wait_until(lambda: inside.agents() not in ([], [agent]), PATIENCE_S, 0.5)
    await types(inside, page, "after-daemon")
    (agent,) = inside.agents()
    inside.root("systemctl stop trial-desktop")
    await page.wait_for_selector("text=no user is logged in", timeout=page_ms(PATIENCE_S))
    wait_until(lambda: agent not in inside.agents(), PATIENCE_S, 0.5)
    inside.root("systemctl start trial-desktop")
    inside.trial.await_desktop()
    await types(inside, page, "after-login")
    await page.close()


def test_a_signal_that_was_left_behind_goes_with_the_next_daemon(inside: Inside) -> None:
    wait_until(lambda: inside.agents() == [], PATIENCE_S, 0.5)
    inside.root(f"systemctl kill -s KILL pommel-kvm; touch {RUN}/session-active")
    wait_until(lambda: inside.in_run() == [], PATIENCE_S, 0.5)
    wait_until(lambda: inside.agents() == [], PATIENCE_S, 0.5)


def test_looking_at_it_and_installing_it_again(inside: Inside) -> None:
    pid = inside.daemon()
    done = inside.trial.shell.run("guest", "install", "trial", timeout_s=400)
    assert "already has it" in done.stderr
    assert inside.daemon() == pid
    program = "/opt/pommel-session/bin/pommel"
    status = json.loads(inside.root(f"{program} kvm status --json"))
    assert status["installed"] and status["running"] and status["socket"] == f"{SOCKETS}/viewers"
    told: dict[str, Any] = json.loads(
        inside.trial.guest(f"XDG_RUNTIME_DIR=/run/user/1000 {program} kvm selftest --json 2>/dev/null")
    )
    assert {one["piece"]: one["ok"] for one in told["checks"]} == dict.fromkeys(
        ("system", "libraries", "session", "launcher", "permissions", "screen", "socket, peer and agent"), True
    ), told
