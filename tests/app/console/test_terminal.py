"""Terminals in a guest, over a real sshd: the shell there, its size, its end, and the ends that nobody asked for."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipboard.conftest import Sshd, programs
from pommel.app.console.terminal import MOST, Terminals, guest_plan
from pommel.errors import BusyError
from pommel.terminal.pty import ShellPlan
from pommel.wire.terminal import TerminalSize, encode_size
from terminal.viewers import Viewer
from waits import until, wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Sshd]:
    path = programs(tmp_path / "bin", "stty", "env", "tty")
    (tmp_path / "ssh").mkdir()
    made = Sshd(tmp_path / "ssh", {"PATH": path, "PS1": "ready$ "})
    yield made
    made.close()


def plan_of(guest: Sshd) -> ShellPlan:
    return guest_plan(guest.ssh, os.environ, key_hint="pommel ssh box --copy-id")


class Told:
    """What the owner of the terminals is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, who: str, ended: str = "") -> None:
        self.lines.append(f"{who}: {ended}" if ended else who)


async def begun(guest: Sshd, terminals: Terminals, viewer: Viewer) -> tuple[asyncio.Task[None], int]:
    """A terminal in the guest, and the pid of its shell there."""
    serving = asyncio.ensure_future(terminals.serve(viewer, "Ann"))
    viewer.types("exec sh\n")  # its prompt and what it echoes are known
    viewer.types("echo shell=$$=\n")
    found = await until(lambda: re.search(rb"shell=(\d+)=", viewer.seen))
    return serving, int(found[1])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


async def test_a_shell_in_the_guest_with_its_size_utf8_and_its_end(guest: Sshd) -> None:
    told, viewer = Told(), Viewer(TerminalSize(100, 30))
    terminals = Terminals(lambda: plan_of(guest), told)
    serving, _ = await begun(guest, terminals, viewer)
    viewer.types("stty size; echo $TERM; stty -a | tr ' ' '\\n'\n")
    await viewer.shows("30 100\r\nxterm-256color")
    await until(lambda: b"\r\niutf8" in viewer.seen and b"\r\necho\r" in viewer.seen)
    viewer.says(encode_size(TerminalSize(61, 17)))
    await until(lambda: viewer.types("stty size\n") or b"17 61" in viewer.seen, every_s=0.3)
    viewer.types("\n~C\n~.\n")  # what ssh itself would take from a terminal
    viewer.types("echo still; exit 7\n")
    await serving
    assert b"still" in viewer.seen
    assert viewer.ended == "The shell has ended with exit status 7."
    assert told.lines == ["Ann", "Ann: the shell has ended with exit status 7"]


async def test_a_viewer_that_leaves_leaves_no_shell_in_the_guest(guest: Sshd) -> None:
    told, viewer = Told(), Viewer(TerminalSize())
    serving, pid = await begun(guest, Terminals(lambda: plan_of(guest), told), viewer)
    viewer.leaves()
    await serving
    await until(lambda: not is_alive(pid))
    assert told.lines[-1] == "Ann: the viewer has left"


async def test_a_guest_whose_ssh_goes(guest: Sshd) -> None:
    viewer = Viewer(TerminalSize())
    serving, pid = await begun(guest, Terminals(lambda: plan_of(guest)), viewer)
    await asyncio.to_thread(guest.stop)
    await serving
    assert viewer.ended.startswith("No connection to the guest: ")
    await until(lambda: not is_alive(pid))


async def test_a_guest_that_refuses_the_key(guest: Sshd) -> None:
    (guest.root / "authorized").write_text("")
    viewer = Viewer(TerminalSize())
    await Terminals(lambda: plan_of(guest)).serve(viewer, "Ann")
    assert viewer.ended.startswith("The guest refuses these keys: ")
    assert "(type: pommel ssh box --copy-id)" in viewer.ended


async def test_no_more_than_so_many_at_once(guest: Sshd) -> None:
    told, viewer = Told(), Viewer(TerminalSize())
    terminals = Terminals(lambda: plan_of(guest), told)
    terminals.now = MOST
    with pytest.raises(BusyError):
        await terminals.serve(viewer, "Ann")
    assert "16 terminals are open" in viewer.ended
    assert told.lines == []


SERVE = """
import asyncio, json, os, sys
sys.path.insert(0, sys.argv[1])
from pommel.app.console.terminal import guest_plan
from pommel.terminal.serving import serve_shell
from pommel.wire.terminal import TerminalSize
from terminal.viewers import Viewer

async def main():
    viewer = Viewer(TerminalSize())
    asyncio.ensure_future(serve_shell(viewer, guest_plan(json.loads(sys.argv[2]), os.environ, key_hint="")))
    viewer.types("exec sh\\n")
    viewer.types("echo shell=$$=\\n")
    told = 0
    while True:
        await asyncio.sleep(0.01)
        sys.stdout.write(viewer.seen[told:].decode(errors="replace")); sys.stdout.flush(); told = len(viewer.seen)

asyncio.run(main())
"""


def test_kill_of_the_serving_process_leaves_no_shell_here_or_in_the_guest(guest: Sshd) -> None:
    import json

    words = [sys.executable, "-P", "-c", SERVE, str(ROOT / "tests"), json.dumps(guest.ssh)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        assert child.stdout is not None
        seen = b""
        while (found := re.search(rb"shell=(\d+)=", seen)) is None:
            seen += os.read(child.stdout.fileno(), 4096)
        ssh = [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]
        assert ssh
        assert all(map(is_alive, [*ssh, int(found[1])]))
        child.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, [*ssh, int(found[1])])))
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
