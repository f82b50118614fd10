"""Sessions as devices: `kvm serve --msh` and `kvm daemon --msh` as processes, over a fake server and a real X server."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from driver import Shell
from mesh.fake_server import FakeServer, Onlooker, fake_server
from pommel import __version__
from pommel.app.mesh.hands import Hands
from pommel.app.mesh.session import SessionDevice, SharedSession, described
from pommel.app.session import kvm_install
from pommel.errors import PommelError, StateError, UsageError, WireError
from pommel.mesh.device import Notice, Question
from pommel.mesh.orders import Person, Power
from pommel.process import run
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction
from screen.x_server import XServer, painter, x_server
from waits import until
from wire.streams import Said

ANN = Person("user//ann", "Ann", "ann")
VIEW_ONLY = 0x8 | 0x100


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with x_server(screen="320x200x24") as one:
        yield one


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with fake_server(tmp_path) as one:
        yield one


@pytest.fixture
def ticket(tmp_path: Path, server: FakeServer) -> str:
    file = tmp_path / "group.msh"
    file.write_bytes(server.msh_file)
    return str(file)


class Served:
    """A process that serves, and the lines that it says."""

    def __init__(self, child: subprocess.Popen[bytes], told: dict[str, Any]) -> None:
        self.child, self.told = child, told

    async def end(self) -> str:
        self.child.send_signal(signal.SIGTERM)
        _, said = await asyncio.to_thread(self.child.communicate)
        assert self.child.returncode == 0
        return said.decode()


async def serving(shell: Shell, *words: str) -> Served:
    child = shell.popen("kvm", *words, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    return Served(child, json.loads(await asyncio.to_thread(child.stdout.readline)))


async def online(server: FakeServer, before: int = 0) -> None:
    await server.until(lambda: len(server.introductions) > before)


async def sees_screen(viewer: Onlooker) -> None:
    await viewer.begin()
    decoder = Decoder(Direction.TO_VIEWER)
    decoder.receive_data(await viewer.command())
    assert list(decoder.events()) == [wire.Screen(320, 200)]


async def does(viewer: Onlooker, *commands: wire.Command) -> None:
    for command in commands:
        await viewer.socket.send_bytes(encode(command))


def pointer(screen: XServer) -> tuple[int, int]:
    with painter(screen) as paint:
        at = paint.root.query_pointer()
        return at.root_x, at.root_y


async def test_a_session_that_is_served_is_a_device(
    shell: Shell, screen: XServer, server: FakeServer, ticket: str
) -> None:
    words = ("serve", "--display", screen.name, "--listen", "127.0.0.1:0", "--msh", ticket)
    served = await serving(shell, *words)
    await online(server)
    info = await server.hears(action="coreinfo")
    assert (info["osdesc"], info["caps"]) == (described(), 9)
    viewer = await server.opens_tunnel()
    await sees_screen(viewer)
    await does(viewer, wire.Mouse(33, 44))
    await until(lambda: pointer(screen) == (33, 44))
    looker = await server.opens_tunnel(rights=VIEW_ONLY, where="*/meshrelay.ashx?p=2&id=2")
    await sees_screen(looker)
    await does(looker, wire.Mouse(1, 1))
    await does(viewer, wire.Mouse(55, 66))
    await until(lambda: pointer(screen) == (55, 66))
    said = {"action": "msg", "type": "setclip", "data": "größer ✓", "sessionid": "s", "rights": 0xFFFFFFFF}
    await server.say(**said)
    assert (await server.hears(type="setclip"))["success"] is True
    await server.say(**said | {"type": "getclip"})
    assert (await server.hears(type="getclip"))["data"] == "größer ✓"
    await server.say(action="msg", type="console", value="status", sessionid="s", rights=0xFFFFFFFF)
    assert (await server.hears(type="console"))["value"].endswith(f"{screen.name}: Ann B., Ann B. viewing")
    for socket in server.relays:
        await socket.close()
    await asked(served, server)
    assert "MeshCentral: online" in await served.end()
    folders = list((shell.home / "mesh" / "sessions").iterdir())
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700]
    key = server.introductions[-1], (folders[0] / "identity.pem").read_bytes()
    before = len(server.introductions)
    again = await serving(shell, *words)
    await online(server, before)
    assert key == (server.introductions[-1], (folders[0] / "identity.pem").read_bytes()), "the same device as before"
    busy = await asyncio.to_thread(lambda: shell.run("kvm", *words, status=3))
    assert "another process has" in busy.stderr
    await again.end()


async def asked(served: Served, server: FakeServer) -> None:
    """Questions are put to the session's own page."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{served.told['ws']}&audience") as page:
        viewer = await server.opens_tunnel(consent=8 | 0x40, where="*/meshrelay.ashx?p=2&id=3")
        await viewer.begin()
        question = await told(page, "question")
        url = served.told["url"].replace("/?", "/api/answer?")
        async with http.post(url, json={"id": question["id"], "allowed": True}) as answer:
            assert (await answer.json())["taken"]
        assert (await told(page, "bar"))["text"] == "This screen is shared with Ann B."
        assert await viewer.command()
        await viewer.socket.close()
        assert (await told(page, "bar"))["text"] is None
        # Whoever is there and says nothing is not nobody.
        viewer = await server.opens_tunnel(consent=8, soptions={"consentTimeout": 1}, where="*/meshrelay.ashx?p=2&id=4")
        await viewer.begin()
        await told(page, "question")
        assert "Waiting" in (await viewer.told("console"))["msg"]
        assert (await viewer.told("console"))["msg"] == "Denied"
        await told(page, "answered")


async def told(page: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    while True:
        message = await page.receive(30)
        if message.type is aiohttp.WSMsgType.TEXT and (said := json.loads(message.data))["type"] == kind:
            return dict(said)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


async def test_a_view_only_session_stays_so(shell: Shell, screen: XServer, server: FakeServer, ticket: str) -> None:
    words = ("serve", "--display", screen.name, "--listen", "127.0.0.1:0", "--msh", ticket, "--view-only")
    served = await serving(shell, *words)
    await online(server)
    viewer = await server.opens_tunnel()
    await sees_screen(viewer)
    before = pointer(screen)
    await does(viewer, wire.Mouse(before[0] ^ 1, 3), wire.Refresh())
    while await viewer.command() != encode(wire.Screen(320, 200)):  # what was sent before has been seen to
        pass
    assert pointer(screen) == before
    await server.say(action="msg", type="setclip", data="x", sessionid="s", rights=0xFFFFFFFF)
    assert (await server.hears(type="setclip"))["success"] is False
    await served.end()


async def test_what_the_daemon_shows_is_a_device(
    shell: Shell, screen: XServer, server: FakeServer, ticket: str
) -> None:
    place = Path(tempfile.mkdtemp(prefix="pommel-kvm-"))
    shell.env["DISPLAY"] = screen.name
    try:
        served = await serving(shell, "daemon", "--uid", "0", "--run", str(place), "--msh", ticket)
        await online(server)
        viewer = await server.opens_tunnel()
        await viewer.begin()
        await until((place / "pommel-kvm" / "session-active").exists)
        agent = shell.popen("kvm", "agent", "--run", str(place), stderr=subprocess.DEVNULL)
        assert await viewer.command() == encode(wire.Screen(320, 200))
        await does(viewer, wire.Mouse(21, 34))
        await until(lambda: pointer(screen) == (21, 34))
        looker = await server.opens_tunnel(rights=VIEW_ONLY, where="*/meshrelay.ashx?p=2&id=2")
        await looker.begin()
        await does(looker, wire.Mouse(1, 1), wire.Refresh())
        while await looker.command() != encode(wire.Screen(320, 200)):
            pass
        assert pointer(screen) == (21, 34)
        await server.say(action="poweraction", actiontype=2, rights=0xFFFFFFFF)
        said = await served.end()
        assert "MeshCentral: online" in said
        await asyncio.to_thread(agent.wait, 30)
        kept = place / "state" / "pommel-kvm" / "mesh"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    finally:
        run(["rm", "-r", str(place)])


async def test_a_dry_run_shows_no_ticket(shell: Shell, server: FakeServer, ticket: str) -> None:
    done = await asyncio.to_thread(lambda: shell.run("kvm", "install", "--dry-run", "--msh", ticket))
    assert done.stdout.startswith("write /var/lib/pommel-kvm/group.msh\nwrite ")
    assert "MeshID" not in done.stdout and "group.msh" in done.stdout.partition("ExecStart=")[2]


def test_the_installation_keeps_the_ticket_and_its_removal_forgets_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = shell.root  # short enough for the paths of sockets
    file = tmp_path / "group.msh"
    file.write_text("no ticket")
    assert (
        "this .msh file cannot be used" in shell.run("kvm", "install", "--dry-run", "--msh", str(file), status=1).stderr
    )
    wanted = kvm_install.ServiceWish(program=("/opt/pommel",), ticket=b"the ticket")
    first, *rest = kvm_install.install_plan(wanted)
    assert isinstance(first, kvm_install.WriteFile)
    assert (str(first.path), first.data, first.mode) == ("/var/lib/pommel-kvm/group.msh", b"the ticket", 0o600)
    daemon = next(step.data.decode() for step in rest if isinstance(step, kvm_install.WriteFile))
    assert '"--msh" "/var/lib/pommel-kvm/group.msh"' in daemon
    places = kvm_install.places_of("pommel", tmp_path)
    for name in ("group.msh", "mesh/identity.pem", "mesh/joined.json"):
        kept = Path(places.state) / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("")
    monkeypatch.setattr(kvm_install, "places_of", lambda _: places)
    steps = [step for step in kvm_install.uninstall_plan() if "state" in str(step)]
    kvm_install._carry_out(steps, lambda _: None)
    assert not Path(places.state).exists()


async def test_a_device_without_a_page() -> None:
    async def serve(*_: Any, **__: Any) -> None: ...

    device = SessionDevice(SharedSession("box", serve))
    assert described().endswith(f"(Pommel {__version__})")
    assert device.facts().macs == ()
    assert await device.ask(Question(ANN, "T", "May I?", 5)) is None
    for refused in (device.notify(Notice(ANN, "T", "x")), device.get_clipboard(), device.set_clipboard("x")):
        with pytest.raises(StateError):
            await refused
    for action in Power:
        with pytest.raises(StateError, match="cannot control the power"):
            await device.power(action)
    assert await device.console("") == await device.console("help")
    with pytest.raises(UsageError):
        await device.console("reboot")


async def test_a_fault_of_ours_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    device = SessionDevice(SharedSession("box", broken))
    with pytest.raises(PommelError, match="showing the screen failed"):
        await device.serve(Said(), wheel_notch=360)
    assert "ZeroDivisionError" in caplog.text


async def passed(*commands: wire.Command, notch: int = 360) -> list[wire.Command]:
    whole = b"".join(map(encode, commands))
    decoder = Decoder(Direction.TO_ENDPOINT)
    hands = Hands(Said(whole[:5], whole[5:]), wheel_notch=notch)
    assert hands.unsent_bytes() == 7
    async for data in hands.messages():
        decoder.receive_data(data)
    return list(decoder.events())


async def test_a_notch_is_as_long_as_everybody_elses() -> None:
    turned = [wire.MouseWheel(1, 2, delta) for delta in (360, -360, 100, 100, 160)]
    found = [one.delta for one in await passed(*turned) if isinstance(one, wire.MouseWheel)]
    assert (found[:2], sum(found[2:])) == ([120, -120], 120)


async def test_all_else_is_passed_on_as_it_came_and_nonsense_is_no_command() -> None:
    said = [wire.Refresh(), wire.Mouse(1, 2), wire.Key(65, True), wire.SetDisplay(1), wire.Turn(1, 2, 3, 4)]
    assert await passed(*said) == said
    with pytest.raises(WireError):
        async for _ in Hands(Said(b"\0\1\0\1"), wheel_notch=360).messages():
            pass
