"""A machine as a device: what it says it is, its power, its Console tab, its console page's people, waking."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.meshes import joined, kill, made, start, workspace
from isolation import patient
from mesh.fake_server import FakeServer, fake_server
from pommel import __version__, locks
from pommel.app.console import page as console
from pommel.app.console.listening import Listening
from pommel.app.machine import power
from pommel.app.mesh import device as mesh_device
from pommel.app.mesh import page as mesh_page
from pommel.app.mesh import waking as mesh_waking
from pommel.app.mesh.device import MachineDevice, described, machine_device
from pommel.app.mesh.lines import HELP, Lines
from pommel.app.mesh.page import ConsolePage
from pommel.app.mesh.waking import Waker
from pommel.app.workspace import Workspace
from pommel.console.clipboard import Clip
from pommel.console.server import ConsoleInfo, ConsoleServer, new_token
from pommel.errors import MachineError, PommelError, StateError, UsageError
from pommel.machine import events, qmp, record
from pommel.mesh.device import Notice, Question
from pommel.mesh.network import network
from pommel.mesh.orders import Person, Power
from pommel.wire.viewer import ViewerStream
from waits import until

ANN = Person("user//ann", "Ann", "ann")


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with fake_server(tmp_path) as one:
        yield one


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with network() as session:
        yield session


@pytest.fixture
async def device(where: Workspace, http: aiohttp.ClientSession) -> AsyncIterator[MachineDevice]:
    made(where)

    async def wake(_: Any) -> None: ...

    async with machine_device(where, "trial", http, wake=wake, watched=lambda: None) as one:
        yield one


def test_what_it_is(where: Workspace) -> None:
    kept = record.load(made(where).record)
    assert described(kept) == f"Debian, the trial machine (Pommel {__version__})"
    assert described(replace(kept, upstream="osx-kvm", macos="14")) == f"macOS Sonoma 14 (Pommel {__version__})"
    assert described(replace(kept, upstream="/mine")) == f"a virtual machine (Pommel {__version__})"


async def test_its_facts_are_its_records(where: Workspace, device: MachineDevice) -> None:
    paths = where.paths("trial")
    facts = device.facts()
    assert (facts.name, facts.version, facts.has_console) == ("trial", __version__, True)
    assert facts.macs == (record.load(paths.record).mac.lower(),)
    paths.record.write_text("{")
    with pytest.raises(MachineError):
        device.facts()


async def test_power(where: Workspace, device: MachineDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, str]] = []
    for name in ("stop", "sleep"):
        monkeypatch.setattr(power, name, lambda machine, *, workspace, name=name: done.append((name, machine)))
    await device.power(Power.OFF)
    await device.power(Power.SLEEP)
    assert done == [("stop", "trial"), ("sleep", "trial")]
    with pytest.raises(StateError, match="trial is not running"):
        await device.power(Power.RESET)
    paths = where.paths("trial")
    await start(paths)
    async with qmp.connect(paths.qmp_watch) as monitor:
        with monitor.listening("RESET") as heard:
            await device.power(Power.RESET)
            async with asyncio.timeout(patient(20)):
                assert (await anext(aiter(heard))).name == "RESET"
    assert "reset" in [event.word for event in events.read(paths)]
    await kill(paths)


async def test_the_console_tab(where: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = made(where)
    paths.mesh.mkdir(mode=0o700)
    lines = Lines(where, "trial")
    assert await lines.answer("") == await lines.answer(" help ") == HELP
    assert await lines.answer("status") == "trial\n  state    stopped"
    assert await lines.answer("stop") == "trial is not running"
    for line in ("rm -rf /", "start now", "statusx"):
        with pytest.raises(UsageError, match="there is no command") as refusal:
            await lines.answer(line)
        assert refusal.value.hint == "to list the commands: help"
    with pytest.raises(StateError, match="not running"):
        await lines.answer("screenshot")
    await start(paths)
    assert (await lines.answer("status")).startswith("trial\n  state    running")
    assert await lines.answer("start") == "trial is already running"
    said = await lines.answer("screenshot")
    assert said.endswith(f"pixels, saved as {paths.mesh}/screenshot.png")
    assert (paths.mesh / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    going = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(_: str, *, workspace: Workspace) -> None:
        asyncio.run_coroutine_threadsafe(going.wait(), loop).result()
        raise StateError("it would not")

    monkeypatch.setattr(power, "stop", stop)
    assert await lines.answer("stop") == "trial powers down"
    assert await lines.answer("stop") == "trial is already being started or stopped"
    going.set()
    await until(lambda: lines._at_work is not None and lines._at_work.done())
    assert await lines.answer("stop") == "trial powers down"
    await until(lambda: lines._at_work is not None and lines._at_work.done())
    await kill(paths)


class Clips:
    """A ConsoleClipboard of one slot."""

    held = Clip()

    async def get(self) -> Clip:
        return self.held

    async def set(self, clip: Clip) -> None:
        self.held = clip


async def test_the_clipboard_is_text(where: Workspace, http: aiohttp.ClientSession) -> None:
    paths = made(where)
    clips: Any = Clips()
    screen, page = mesh_device.MeshScreen(paths), ConsolePage(paths, http)
    device = MachineDevice(where, "trial", screen, page, clips, None, wake=None, watched=lambda: None)  # type: ignore[arg-type]
    assert await device.get_clipboard() == ""
    await device.set_clipboard("größer ✓")
    assert (await device.get_clipboard(), clips.held) == ("größer ✓", Clip(text="größer ✓"))


# --- who is at the console page ---


@contextlib.asynccontextmanager
async def a_console(where: Workspace) -> AsyncIterator[ConsoleServer]:
    """The machine's console, as `pommel console` has it, without its machine."""

    async def serve(stream: ViewerStream) -> None:
        async for _ in stream.messages():
            pass

    async def status() -> dict[str, object]:
        return {}

    paths = where.paths("trial")
    server = ConsoleServer(info=ConsoleInfo("trial"), token=new_token(), serve_viewer=serve, status=status, port=0)
    with locks.hold(paths.console_lock, busy=""):
        await server.start()
        console._keep(paths, server, Listening())
        yield server
        await server.stop()


@contextlib.asynccontextmanager
async def a_page(server: ConsoleServer, http: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with http.ws_connect(f"{server.ws}&audience") as socket:
        await until(lambda: server.audience.present)
        yield socket
    await until(lambda: not server.audience.present)


async def told(page: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(patient(20)):
        while (said := json.loads((await page.receive()).data))["type"] != kind:
            pass
    return dict(said)


async def test_without_a_console_nobody_is_there(where: Workspace, http: aiohttp.ClientSession) -> None:
    page = ConsolePage(made(where), http)
    assert await page.ask(Question(ANN, "T", "May I?", 5)) is None
    with pytest.raises(StateError, match="the console page of trial is not open anywhere"):
        await page.notify(Notice(ANN, "T", "x"))
    async with a_console(where):
        assert await page.ask(Question(ANN, "T", "May I?", 5)) is None
        with pytest.raises(StateError, match="not open anywhere"):
            await page.notify(Notice(ANN, "T", "x"))


@pytest.mark.parametrize("allowed", [True, False])
async def test_they_are_asked_and_told(where: Workspace, http: aiohttp.ClientSession, allowed: bool) -> None:
    page = ConsolePage(where.paths("trial"), http)
    made(where)
    async with a_console(where) as server, a_page(server, http) as socket:
        asking = asyncio.ensure_future(page.ask(Question(ANN, "MeshCentral", "May Ann?", 30)))
        question = await told(socket, "question")
        assert (question["title"], question["text"]) == ("MeshCentral", "May Ann?")
        assert 0 < question["left_s"] <= 30
        server.audience.answer(question["id"], allowed=allowed)
        assert await asking is allowed
        await page.notify(Notice(ANN, "Hello", "there", must_close=True))
        notice = await told(socket, "notice")
        assert (notice["title"], notice["text"], notice["must_close"]) == ("Hello", "there", True)


async def test_a_question_that_is_taken_back_leaves_the_page(where: Workspace, http: aiohttp.ClientSession) -> None:
    page = ConsolePage(where.paths("trial"), http)
    made(where)
    async with a_console(where) as server, a_page(server, http) as socket:
        asking = asyncio.ensure_future(page.ask(Question(ANN, "T", "May I?", 60)))
        number = (await told(socket, "question"))["id"]
        asking.cancel()
        assert (await told(socket, "answered"))["id"] == number
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_the_bar_is_on_each_console_for_as_long_as_we_say_so(
    where: Workspace, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_page, "_AGAIN_S", 0.1)
    page = ConsolePage(where.paths("trial"), http)
    made(where)
    running = asyncio.ensure_future(page.run())
    page.show_bar("shared with Ann")
    async with a_console(where) as server, a_page(server, http) as socket:  # it opens later
        assert (await told(socket, "bar"))["text"] == "shared with Ann"
        page.show_bar("shared with Ann, Bob")
        assert (await told(socket, "bar"))["text"] == "shared with Ann, Bob"
        page.show_bar(None)
        assert (await told(socket, "bar"))["text"] is None
        page.show_bar("again")
        assert (await told(socket, "bar"))["text"] == "again"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (await told(socket, "bar"))["text"] is None


async def test_a_bar_that_nobody_renews_goes_by_itself(
    where: Workspace, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_page, "BAR_S", 0.3)
    page = ConsolePage(where.paths("trial"), http)
    made(where)
    async with a_console(where) as server, a_page(server, http) as socket:
        await page._put_bar("of one that was killed")
        assert (await told(socket, "bar"))["text"] == "of one that was killed"
        assert (await told(socket, "bar"))["text"] is None


# --- waking ---


async def test_only_sleepers_of_the_same_server_are_woken_each_once(
    where: Workspace, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    up = threading.Event()

    def slow(name: str, *, workspace: Workspace) -> None:
        begun.append(name)
        up.wait(20)

    monkeypatch.setattr(mesh_waking.power, "start", slow)
    macs = {}
    for number, name in enumerate(("awake", "sleeper", "stranger", "trial")):
        paths = made(where, name, number + 1)
        macs[name] = record.load(paths.record).mac
        if name != "trial":  # that has joined none
            member = joined(paths, server)
    others = where.paths("stranger").mesh / "joined.json"
    server_id = member.msh.servers[0].server_id.hex()
    others.write_text(others.read_text().replace(server_id, "ab" * 48))
    await start(where.paths("awake"))
    waker = Waker(where)
    everybody = [mac.upper() for mac in macs.values()]
    first = asyncio.ensure_future(waker.wake(everybody, member))
    await until(lambda: begun)
    await waker.wake(everybody, member)  # as each device that is online is told to
    up.set()
    await first
    assert begun == ["sleeper"]
    begun.clear()
    await waker.wake(["52:54:00:00:00:00"], member)
    assert begun == []


async def test_a_sleeper_that_cannot_be_started_is_told(
    where: Workspace, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MachineError("QEMU would not")

    monkeypatch.setattr(mesh_waking.power, "start", broken)
    paths = made(where)
    member = joined(paths, server)
    with pytest.raises(PommelError, match="QEMU would not"):
        await Waker(where).wake([record.load(paths.record).mac], member)
