"""What a guest's SSH answers: against sockets that say all sorts of things, a real sshd, and the script by real shells."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clipboard.conftest import Sshd
from isolation import patient
from pommel import process
from pommel.app.guest import answer as guest_answer
from pommel.app.guest.answer import DESKTOP, NOTHING, Asking, GuestAnswer, GuestDesktop, SshOutcome, knock, read_answer
from pommel.ssh import SshTarget

SHELLS = [shell for shell in ("dash", "bash", "zsh", "ksh") if shutil.which(shell)]


async def ask(target: SshTarget, script: str) -> GuestAnswer:
    async with aclosing(Asking()) as asking:
        return await asking.ask(target, script)


@asynccontextmanager
async def saying(*parts: bytes, hold_s: float = 5.0, after_s: float = 0.0) -> AsyncIterator[int]:
    serving = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        await asyncio.sleep(after_s)
        for part in parts:
            writer.write(part)
        if hold_s:
            await reader.read()  # until the other side leaves
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, serving), return_exceptions=True)  # none is left to the next test


@pytest.mark.parametrize(
    ("parts", "hold_s", "heard"),
    [
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), 5, True),
        ((b"welcome\r\nall of you\r\n", b"SSH-2.0-x\r\n"), 5, True),
        ((), 5, False),  # QEMU's forward takes a connection before there is a guest
        ((), 0, False),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), 0, False),
        ((b"x" * 100_000,), 5, False),
        ((b"SSH-2.0",), 0, True),
    ],
)
async def test_only_a_banner_is_an_answer(parts: tuple[bytes, ...], hold_s: float, heard: bool) -> None:
    async with saying(*parts, hold_s=hold_s) as port:
        assert await knock("127.0.0.1", port, timeout_s=0.5) is heard


async def test_nobody_at_home_is_no_error() -> None:
    async with saying() as port:
        pass
    assert not await knock("127.0.0.1", port, timeout_s=0.5)
    assert not await knock("no-such-host.invalid", 22, timeout_s=2)


async def test_a_real_sshd_lets_in_refuses_and_goes(posix_guest: Sshd) -> None:
    target = posix_guest.target
    assert await ask(target, NOTHING) == GuestAnswer(SshOutcome.LETS_IN)
    assert await ask(target, "echo talk; echo pommel-desktop coming not yet; exit 7\n") == GuestAnswer(
        SshOutcome.LETS_IN, "not yet", GuestDesktop.COMING
    )
    (posix_guest.root / "authorized").write_text("")
    refused = await ask(target, NOTHING)
    assert refused.answer is SshOutcome.REFUSES and "Permission denied" in refused.text
    posix_guest.stop()
    assert (await ask(target, NOTHING)).answer is SshOutcome.SILENT


async def test_a_guest_that_talks_without_end_or_says_nothing_is_left(
    posix_guest: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    assert await ask(posix_guest.target, "while :; do echo pommel-desktop there; done\n") == GuestAnswer(
        SshOutcome.LETS_IN
    )
    assert time.monotonic() - began < 10
    monkeypatch.setattr("pommel.app.guest.answer._LOGIN_S", 2.0)
    assert await ask(posix_guest.target, "sleep 60\n") == GuestAnswer(
        SshOutcome.SILENT, "a login took longer than 2 s", late=True
    )


async def test_a_banner_that_is_late_on_each_connection_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an emulated guest on a busy host, which is never quicker than one try takes."""
    monkeypatch.setattr(guest_answer, "BANNER_S", 0.3)
    async with saying(b"SSH-2.0-slow\r\n", after_s=1.0) as port, aclosing(Asking()) as asking:
        assert not await asking.knock("127.0.0.1", port)
        began = time.monotonic()
        while not await asking.knock("127.0.0.1", port):
            assert time.monotonic() - began < patient(5)


async def test_a_login_that_is_late_may_take_longer_the_next_time(
    posix_guest: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_answer, "_LOGIN_S", 0.5)
    async with aclosing(Asking()) as asking:
        heard: list[GuestAnswer] = []
        while not heard or (heard[-1].late and len(heard) < 6):
            heard.append(await asking.ask(posix_guest.target, "sleep 0.5; echo pommel-desktop there"))
    assert heard[0] == GuestAnswer(SshOutcome.SILENT, "a login took longer than 0.5 s", late=True)
    assert heard[-1] == GuestAnswer(SshOutcome.LETS_IN, "", GuestDesktop.THERE)


async def test_one_that_says_its_banner_and_nothing_more_is_left(
    posix_guest: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_answer, "_LOGIN_S", 1.0)
    async with saying(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        began = time.monotonic()
        heard = await ask(replace(posix_guest.target, port=port), NOTHING)
        assert time.monotonic() - began < patient(4)
    assert heard == GuestAnswer(SshOutcome.SILENT, "a login took longer than 1 s", late=True)


async def test_a_guest_with_another_host_key_is_there_and_not_believed(posix_guest: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("box " + " ".join((posix_guest.root / "id.pub").read_text().split()[:2]) + "\n")
    heard = await ask(replace(posix_guest.target, known_hosts=known), NOTHING)
    assert heard.answer is SshOutcome.REFUSES and "Host key verification failed" in heard.text


@pytest.mark.parametrize(
    ("status", "out", "complaints", "heard"),
    [
        (255, "", "ssh: connect: Connection refused", GuestAnswer(SshOutcome.SILENT, "ssh: connect: Connection refused")),
        (255, "", '"System is booting up."\nConnection closed by 127.0.0.1', GuestAnswer(SshOutcome.SILENT, "Connection closed by 127.0.0.1")),
        (255, "", "x@y: Permission denied (publickey).\n", GuestAnswer(SshOutcome.REFUSES, "x@y: Permission denied (publickey).")),
        (0, "hi\npommel-desktop there\nbye\n", "", GuestAnswer(SshOutcome.LETS_IN, "", GuestDesktop.THERE)),
        (0, "pommel-desktop elsewhere\npommel-desktop\n", "", GuestAnswer(SshOutcome.LETS_IN)),
        (127, "", "sh: not found", GuestAnswer(SshOutcome.LETS_IN)),
        (0, f"pommel-desktop there \x1b]0;x\x07{'y' * 999}", "", GuestAnswer(SshOutcome.LETS_IN, f"\ufffd]0;x\ufffd{'y' * 114}", GuestDesktop.THERE)),
    ],
)  # fmt: skip
def test_how_an_ssh_ended(status: int, out: str, complaints: str, heard: GuestAnswer) -> None:
    assert read_answer(status, out, complaints) == heard


MAC = {"uname": "echo Darwin", "stat": "echo root", "pgrep": "exit 1", "defaults": "exit 1"}
LINUX = {"uname": "echo Linux", "systemctl": "echo graphical.target"}


def session(kind: str, who: str = "user") -> dict[str, str]:
    shown = f"case $1 in show-seat) echo 3 ;; *) case $4 in Type) echo {kind} ;; *) echo {who} ;; esac ;; esac"
    return {"loginctl": shown}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("programs", "desktop", "text"),
    [
        (MAC, "coming", "neither a Dock nor a login window"),
        (MAC | {"pgrep": '[ "$2" = loginwindow ]'}, "there", "its login window is there"),
        (MAC | {"pgrep": '[ "$2" = loginwindow ]', "defaults": "echo ada"}, "coming", "a user is logged in automatically"),
        (MAC | {"stat": "echo ada", "pgrep": '[ "$2 $3 $4" = "-u ada Dock" ]'}, "there", "the Dock of ada runs"),
        (MAC | {"stat": "echo ada"}, "coming", "neither"),
        (LINUX | session("x11"), "there", "the x11 session of a user is active"),
        (LINUX | session("wayland", "greeter"), "there", "the wayland session of a greeter is active"),
        (LINUX | session("tty"), "coming", "no graphical session is active yet"),
        (LINUX | {"loginctl": "exit 1", "systemctl": "echo multi-user.target"}, "none", "multi-user.target"),
        (LINUX | {"loginctl": "exit 1"}, "coming", "no graphical session"),
        ({"uname": "echo Linux"}, "unknown", "no logind"),
        ({"uname": "echo OpenBSD"}, "unknown", "OpenBSD"),
    ],
)  # fmt: skip
def test_what_a_guest_says_of_its_desktop(
    tmp_path: Path, shell: str, programs: dict[str, str], desktop: str, text: str
) -> None:
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    argv = [process.which(shell), "-s"]
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(argv, input=DESKTOP.encode(), env=env, capture_output=True, check=False)
    heard = read_answer(done.returncode, done.stdout.decode(), "")
    assert (heard.desktop, done.stderr) == (desktop, b"")
    assert text in heard.text
