"""`pommel kvm daemon` and the agent as processes, an X server between them, and a viewer at each way in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from Xlib import X

from clipboard.conftest import x_server
from pommel.app.session import kvm_daemon
from pommel.app.session.guest_install import told_status
from pommel.errors import CommandFailed, NotPermitted
from pommel.process import run
from pommel.screen.geometry import Rect
from pommel.session.seat import Seat
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from pommel.wire.keymap import KEYBOARD, LOCK_KEYS
from screen.x_server import XServer, painter
from session.scene import Viewer
from waits import until, wait_until

POMMEL = [sys.executable, "-P", "-m", "pommel"]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_server() as name:
        yield name


class Service:
    """A daemon of root's own session, in places of its own; the agent is started by hand."""

    def __init__(self, display: str) -> None:
        self.run = Path(tempfile.mkdtemp(prefix="pommel-kvm-"))
        (self.run / "in").mkdir(mode=0o711)
        self.env = {**os.environ, "DISPLAY": display}
        self.children: list[subprocess.Popen[bytes]] = []
        self.socket = self.run / "in" / "viewers"
        self.told: dict[str, Any] = {}

    def start(self, *words: str, **how: Any) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([*POMMEL, *words, "--run", str(self.run)], env=self.env, **how)
        self.children.append(child)
        return child

    def daemon(self, *words: str) -> subprocess.Popen[bytes]:
        child = self.start("kvm", "daemon", "--uid", "0", "--json", *words, stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout as told:
            self.told = json.loads(told.readline())
        return child

    def agent(self) -> subprocess.Popen[bytes]:
        return self.start("-kvm1", stderr=subprocess.DEVNULL)

    async def signalled(self) -> None:
        await until((self.run / "pommel-kvm" / "session-active").exists, what="the signal")

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        run(["rm", "-r", self.run])


@pytest.fixture
def service(display: str) -> Iterator[Service]:
    made = Service(display)
    yield made
    made.close()


@contextlib.asynccontextmanager
async def at_the_socket(path: Path) -> AsyncIterator[Viewer]:
    connection, viewer = socket.socket(socket.AF_UNIX), Viewer()
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, str(path))
    seat = Seat(viewer)
    tasks = asyncio.ensure_future(seat.read()), asyncio.ensure_future(seat.show(connection))
    try:
        yield viewer
    finally:
        viewer.leave()
        tasks[1].cancel()
        await asyncio.wait(tasks)
        connection.close()


def seen(data: list[bytes]) -> list[type[wire.Command]]:
    decoder = Decoder(wire.Direction.TO_VIEWER)
    decoder.receive_data(b"".join(data))
    return [type(command) for command in decoder.events()]


async def test_both_ways_in_show_the_screen_and_the_agent_leaves_with_the_last(service: Service) -> None:
    service.daemon("--socket", str(service.socket), "--listen", "0")
    record = service.run / "pommel-kvm-sessions" / "daemon.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    kept = json.loads(record.read_text())
    assert {key: kept[key] for key in ("url", "ws", "socket")} == {
        key: service.told[key] for key in ("url", "ws", "socket")
    }
    assert kept["pid"] == service.told["server_pid"]
    async with at_the_socket(service.socket) as near:
        await service.signalled()
        agent = service.agent()
        await until(lambda: wire.Picture in seen(near.shown), what="a picture at the socket")
        assert seen(near.shown)[0] is wire.Screen
        async with connect(service.told["ws"], max_size=None) as page:
            first = await page.recv()
            while isinstance(first, str):
                first = await page.recv()
            assert first == encode(wire.Screen(320, 200))
    wait_until(lambda: agent.poll() is not None, 20)
    assert agent.returncode == 0
    wait_until(lambda: not (service.run / "pommel-kvm" / "session-active").exists(), 10)


@pytest.mark.parametrize("layout", ["us", "de", "fr", "us -variant dvorak", "ru", "jp", "us,ru"])
async def test_keys_are_pressed_where_they_are_whatever_the_session_s_layout(service: Service, layout: str) -> None:
    run(["setxkbmap", "-layout", *layout.split(), "-option", ""], env=service.env)
    run(["xset", "r", "off"], env=service.env)  # on a busy host a key is down for long enough to be repeated
    service.daemon("--socket", str(service.socket), "--listen", "0")
    keys = [key for key in KEYBOARD if key.vk not in LOCK_KEYS]
    with painter(XServer(service.env["DISPLAY"], 0)) as paint:
        window = paint.open(Rect(0, 0, 320, 200), 0xFFFFFF, events=X.KeyPressMask)
        paint.display.sync()
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
        paint.display.sync()
        async with at_the_socket(service.socket) as near:
            await service.signalled()
            service.agent()
            await until(lambda: wire.Picture in seen(near.shown), what="a picture at the socket")
            for key in keys:
                for down in (True, False):
                    near.say(encode(wire.Key(key.vk, down, key.extended)))
            got: list[int] = []

            def all_came() -> bool:
                paint.display.sync()
                events = [paint.display.next_event() for _ in range(paint.display.pending_events())]
                got.extend(event.detail for event in events if event.type == X.KeyPress)
                return len(got) >= len(keys)

            await until(all_came, what="the keys")
    assert got == [key.evdev + 8 for key in keys]
    run(["setxkbmap", "-layout", "us", "-option", ""], env=service.env)


async def test_the_page_is_where_it_was_after_a_restart(service: Service) -> None:
    first = service.daemon()
    url = service.told["url"]
    first.kill()
    first.wait()
    again = service.daemon()
    assert service.told["url"] == url
    again.terminate()
    assert again.wait(20) == 0


async def test_a_new_link_to_the_page_is_kept_and_told(service: Service) -> None:
    first = service.daemon()
    old = dict(service.told)
    words = [*POMMEL, "kvm", "new-token", "--run", str(service.run)]
    async with connect(old["ws"]) as viewer:
        told = json.loads((await asyncio.to_thread(run, [*words, "--json"])).stdout)
        with pytest.raises(ConnectionClosed):
            while True:
                await viewer.recv()
    assert told["url"] != old["url"]
    kept = json.loads((service.run / "pommel-kvm-sessions" / "daemon.json").read_text())
    assert (kept["url"], kept["ws"], kept["pid"]) == (told["url"], told["ws"], first.pid)
    with pytest.raises(InvalidStatus):
        await connect(old["ws"])
    first.kill()
    first.wait()
    service.daemon()
    assert service.told["url"] == told["url"]
    service.children[-1].terminate()
    assert service.children[-1].wait(20) == 0
    with pytest.raises(CommandFailed, match="exit status 3"):
        await asyncio.to_thread(run, words)


@contextlib.contextmanager
def mortal_x_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    read, write = os.pipe()
    argv = ["Xvfb", "-displayfd", str(write), "-screen", "0", "64x48x24", "-nolisten", "tcp", "-noreset"]
    child = subprocess.Popen(argv, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield f":{told.readline().strip()}", child
    finally:
        child.kill()
        child.wait()


async def test_an_agent_ends_with_its_session(service: Service) -> None:
    with mortal_x_server() as (name, server):
        service.env["DISPLAY"] = name
        service.daemon("--socket", str(service.socket))
        async with at_the_socket(service.socket) as viewer:
            await service.signalled()
            agent = service.start("kvm", "agent", "-kvm1", stderr=subprocess.DEVNULL)
            await until(lambda: wire.Picture in seen(viewer.shown))
            server.kill()
            wait_until(lambda: agent.poll() is not None, 20)
            assert agent.returncode == 0, "it is no failure: the launcher starts the next one at once"


STUCK = """
import sys, time
from pommel.app.session import kvm_agent

async def never(self):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

kvm_agent.SessionScreen.close = never
from pommel.cli import main
main(["-kvm1", "--run", sys.argv[1]])
"""


async def test_an_agent_that_cannot_let_go_ends_all_the_same(service: Service) -> None:
    service.daemon("--socket", str(service.socket))
    async with at_the_socket(service.socket) as viewer:
        await service.signalled()
        agent = subprocess.Popen([sys.executable, "-c", STUCK, str(service.run)], env=service.env)
        service.children.append(agent)
        await until(lambda: wire.Picture in seen(viewer.shown))
    wait_until(lambda: agent.poll() is not None, 20)


async def test_no_display_is_told_to_the_viewer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.env["DISPLAY"] = ":4077"
    bare = "import sys\nfrom pommel.session import display\ndisplay._environments = lambda uid: []\n"
    quick = "from pommel.app.session import kvm_agent\nkvm_agent.find_screen.__kwdefaults__['patience_s'] = 0.0\n"
    script = f'{bare}{quick}from pommel.cli import main\nmain(["-kvm1", "--run", sys.argv[1]])\n'
    service.daemon("--socket", str(service.socket))
    async with at_the_socket(service.socket) as viewer:
        await service.signalled()
        service.children.append(
            subprocess.Popen(
                [sys.executable, "-c", script, str(service.run)], env=service.env, stderr=subprocess.DEVNULL
            )
        )
        await until(lambda: viewer.told, what="a word")
        assert ":4077" in viewer.told[-1]


async def test_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NotPermitted) as refusal:
        await kvm_daemon.serve(kvm_daemon.DaemonOptions(), on_ready=print, log=print)
    assert refusal.value.hint == "sudo pommel kvm daemon"


def test_one_daemon_a_service(service: Service) -> None:
    service.daemon()
    words = [*POMMEL, "kvm", "daemon", "--uid", "0", "--run", service.run]
    busy = run(words, check=False, timeout_s=60)
    assert (busy.returncode, b"another daemon of pommel runs" in busy.stderr) == (3, True)
    assert run([*POMMEL, "kvm", "daemon", "--no-page"], check=False, timeout_s=60).returncode == 2


def test_an_unknown_socket_user(service: Service) -> None:
    words = [*POMMEL, "kvm", "daemon", "--uid", "0", "--socket", service.socket, "--socket-user", "no-such-user"]
    done = run(words, check=False, timeout_s=60)
    assert done.returncode == 2 and b"there is no user 'no-such-user'" in done.stderr


@pytest.mark.parametrize("said", ["", "x", "[]", "5", "[" * 5000, '{"a":' * 5000, "9" * 5000, '{"a":"\\ud800"}\n\n[1]'])
def test_what_a_guest_says_of_itself_may_be_anything(said: str) -> None:
    assert told_status(said) == {}
    assert told_status(said + '\n{"installed": true}') == {"installed": True}
