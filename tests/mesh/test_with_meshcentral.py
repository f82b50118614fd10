"""Against the real server: a device joins, is online, and people see and use its screen."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, async_playwright
from Xlib import X

from chromium import page_ms
from isolation import patient
from mesh.doubles import Desk, identity
from mesh.fake_server import cut_all, tls_context
from mesh.joined import Joined, on_server
from mesh.server import (
    ADMIN,
    GROUP,
    LOOKER,
    PASSWORD,
    PATIENCE_S,
    RECORDED,
    SHARED,
    STRANGER,
    TYPIST,
    MeshCentral,
    User,
    Viewer,
    certificate,
    logged_in,
)
from pommel.mesh.connection import Phase
from pommel.mesh.device import Notice, Question
from pommel.mesh.membership import join
from pommel.mesh.network import Cable
from pommel.mesh.orders import Power
from pommel.process import which
from pommel.screen.endpoint import Endpoint
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.sources.x11 import connect_x11
from pommel.wire import messages as wire
from pommel.wire.codec import encode
from screen.x_server import Painter, XServer, painter, x_server
from waits import until

SEES, TYPES_LITTLE, NO_SCREEN = 0x8 | 0x100, 0x8 | 0x1000, 0x8 | 0x10000
A = 0x41


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with x_server(screen="640x480x24") as one:
        yield one


@contextlib.asynccontextmanager
async def x_desk(screen: XServer) -> AsyncIterator[Desk]:
    session = await connect_x11(screen.name)
    endpoint = Endpoint(session.source, session.sink)
    pumping = asyncio.ensure_future(endpoint.run())
    try:
        yield Desk(endpoint)
    finally:
        pumping.cancel()
        await asyncio.wait([pumping])
        await session.close()


@pytest.fixture
async def admin(server: MeshCentral) -> AsyncIterator[User]:
    async with logged_in(server) as user:
        await user.group()
        for name, rights in ((LOOKER, SEES), (TYPIST, TYPES_LITTLE), (STRANGER, NO_SCREEN)):
            await user.lets(name, rights)
        yield user


@pytest.fixture
async def joined(admin: User, screen: XServer, tmp_path: Path) -> AsyncIterator[Joined]:
    member = join(tmp_path / "mesh", await admin.msh())
    async with x_desk(screen) as desk, on_server(member, desk) as one:
        await one.until(Phase.ONLINE)
        yield one


async def test_the_device_is_online_in_its_group_under_its_name(admin: User, joined: Joined) -> None:
    node = await admin.node(joined.member.identity.node_id)
    assert (node["name"], node["icon"], node["agent"]["id"]) == ("mac-one", 8, 10005)
    assert node["group"] == await admin.group()
    assert node["agent"]["caps"] == 1 | 8
    groups = {one["_id"]: one["name"] for one in (await admin.ask("meshes"))["meshes"]}
    assert groups[node["group"]] == GROUP
    while "osdesc" not in node or "core" not in node["agent"]:
        node = await admin.node(joined.member.identity.node_id)
    assert (node["osdesc"], node["agent"]["core"]) == ("macOS 15.1", "Pommel 0.1")
    joined.desk.rename("mac-two")
    joined.connection.refresh()
    while node["name"] != "mac-two":
        node = await admin.node(joined.member.identity.node_id)


async def test_pictures_arrive_and_so_do_hands(admin: User, joined: Joined, screen: XServer) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    with painter(screen) as paint:
        window = paint.open(Rect(0, 0, 640, 480), 0x204060, events=1 | 2 | 4 | 8)
        window.set_input_focus(0, 0)
        paint.display.sync()
        viewer = await admin.viewer(node)
        assert await viewer.sees(wire.Picture)
        assert viewer.commands[0] == wire.Screen(640, 480)
        pictures = sum(isinstance(one, wire.Picture) for one in viewer.commands)
        paint.fill(Rect(100, 100, 64, 64), 0xFF0000)
        paint.display.sync()
        await viewer.sees(wire.Picture, pictures)
        assert (await viewer.told("metadata"))["users"] == {"user//admin": 1}
        await viewer.does(wire.Mouse(123, 45), wire.Key(A, down=True), wire.Key(A, down=False))

        def typed() -> bool:
            found = []
            while paint.display.pending_events():
                found.append(paint.display.next_event())
            events.extend(found)
            return any(one.type == 3 for one in events)

        events: list[Any] = []
        await until(typed)
        at = paint.root.query_pointer()
        assert (at.root_x, at.root_y) == (123, 45)
        await until(lambda: joined.desk.watched and joined.desk.watched[-1][0])
        assert [one.name for one in joined.desk.watched[-1][0]] == ["admin"]
        await viewer.does(wire.Key(A, down=True))
        await viewer.leave()
        await until(lambda: joined.connection.viewers == 0)
        await until(lambda: not any(paint.display.query_keymap()))
        await until(lambda: joined.desk.watched[-1] == ((), None))


async def test_meshcentrals_own_page_shows_the_screen_and_has_hands(
    server: MeshCentral, admin: User, joined: Joined, screen: XServer
) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"].split("/")[2]
    pixel = "document.querySelector('#Desk').getContext('2d').getImageData(100, 80, 1, 1).data.join()"
    with painter(screen) as paint:
        window = paint.open(Rect(0, 0, 640, 480), 0x2060C0, events=X.KeyPressMask | X.ButtonPressMask)
        window.set_input_focus(X.RevertToNone, X.CurrentTime)
        paint.fill(Rect(50, 50, 200, 100), 0xFF0000)
        paint.display.sync()
        async with page_of(server) as page:
            await page.goto(f"https://127.0.0.1:{server.port}/?gotonode={node}&viewmode=11")
            await page.click("#connectbutton1", timeout=page_ms(PATIENCE_S))
            async with asyncio.timeout(patient(PATIENCE_S)):
                while not str(await page.evaluate(pixel)).startswith(("254,0,0", "255,0,0")):
                    await asyncio.sleep(0.05)
            await page.click("#Desk")
            await page.keyboard.press("a")
            await page.keyboard.press("Shift+B")
            await page.mouse.wheel(0, -120)
            seen: list[tuple[int, int]] = []
            await until(lambda: has_seen(paint, seen, 5))
            (stream,) = joined.desk.streams
            await until(lambda: wire.Shown(stream.pictures) in stream.said)  # the page has answered our last ping
        at = paint.root.query_pointer()
        assert (abs(at.root_x - 320) <= 2, abs(at.root_y - 240) <= 2) == (True, True)
        keys = [paint.display.get_keyboard_mapping(one, 1)[0][0] for kind, one in seen if kind == X.KeyPress]
        assert [key for key in keys if key < 0xFF00] == [ord("a"), ord("b")]
        buttons = [one for kind, one in seen if kind == X.ButtonPress]
        assert buttons == [1, 4]  # the wheel by one notch
        assert wire.Abilities(wire.WANTS_BLOCKS | wire.KEYS_BY_LEGEND | wire.ACKNOWLEDGES) in stream.said
        assert joined.stood[-1].phase is Phase.ONLINE


@contextlib.asynccontextmanager
async def page_of(server: MeshCentral) -> AsyncIterator[Page]:
    """MeshCentral's own page in a real Chromium, logged in."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        page = await browser.new_page(ignore_https_errors=True)
        page.set_default_timeout(page_ms(PATIENCE_S))
        await page.goto(f"https://127.0.0.1:{server.port}/")
        await page.fill("#username", ADMIN)
        await page.fill("#password", PASSWORD)
        await page.click("#loginButton")
        await page.wait_for_selector("#MainMenuMyDevices", state="attached")
        yield page
        await browser.close()


def has_seen(paint: Painter, seen: list[tuple[int, int]], count: int) -> bool:
    """Add what the window saw of keys and buttons; tell whether it is so much."""
    while paint.display.pending_events():
        event = paint.display.next_event()
        if event.type in (X.KeyPress, X.ButtonPress):
            seen.append((event.type, event.detail))
    return len(seen) >= count


async def test_rights_are_kept_by_us_whatever_the_viewer_sends(
    server: MeshCentral, admin: User, joined: Joined, screen: XServer
) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    with painter(screen) as paint:
        before = paint.root.query_pointer()
        async with logged_in(server, LOOKER) as looker:
            viewer = await looker.viewer(node)
            await viewer.sees(wire.Picture)
            await viewer.does(wire.Mouse(before.root_x ^ 8, 7), wire.Key(A, down=True), wire.Refresh())
            await viewer.sees(wire.Screen, 1)  # what was sent before has been seen to
            after = paint.root.query_pointer()
            assert (after.root_x, after.root_y) == (before.root_x, before.root_y)
            assert not any(paint.display.query_keymap())
            assert joined.desk.served == [True]
            await viewer.leave()
        async with logged_in(server, TYPIST) as typist:
            viewer = await typist.viewer(node)
            await viewer.sees(wire.Picture)
            await viewer.does(wire.Key(0x11, down=True), wire.Mouse(77, 78), wire.Key(A, down=True), wire.Refresh())
            await viewer.sees(wire.Screen, 1)
            held = paint.display.query_keymap()
            assert sum(bin(byte).count("1") for byte in held) == 1  # A, no Ctrl
            at = paint.root.query_pointer()
            assert (at.root_x, at.root_y) == (77, 78)
            await viewer.leave()
        async with logged_in(server, STRANGER) as stranger:
            viewer = await stranger.viewer(node)
            assert "no right" in (await viewer.told("console"))["msg"]
            await viewer.closed()
    assert len(joined.desk.served) == 2


async def test_who_is_at_the_machine_is_asked_and_told(admin: User, joined: Joined) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    await admin.asks_consent(1 | 8 | 0x40)
    try:
        joined.desk.answer = True
        viewer = await admin.viewer(node)
        await viewer.sees(wire.Picture)
        question, notice = [one for one in joined.desk.done if isinstance(one, Question | Notice)]
        assert isinstance(question, Question)
        assert "admin" in question.text
        assert isinstance(notice, Notice)
        await until(lambda: joined.desk.watched and joined.desk.watched[-1][1])
        assert "admin" in str(joined.desk.watched[-1][1])
        await viewer.leave()
        for answer, shown in ((False, "Denied"), (None, "there is no user at the machine's console to grant access")):
            joined.desk.answer = answer
            viewer = await admin.viewer(node)
            await viewer.closed()
            assert (await viewer.told("console"))["msg"] == shown
            assert not viewer.commands
    finally:
        await admin.asks_consent(0)


async def test_what_else_can_be_done(admin: User, joined: Joined) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    await admin.send(action="msg", type="getclip", nodeid=node)
    assert (await admin.hears(action="msg", type="getclip"))["data"] == "in the guest"
    await admin.send(action="msg", type="setclip", nodeid=node, data="größer ✓")
    assert (await admin.hears(action="msg", type="setclip"))["success"] is True
    assert joined.desk.clipboard == "größer ✓"
    await admin.send(action="msg", type="getclip", nodeid=node)
    assert (await admin.hears(action="msg", type="getclip"))["data"] == "größer ✓"
    for line, said in (("status", "you said status"), ("fail", "mac-one is not running (pommel start mac-one)")):
        await admin.send(action="msg", type="console", nodeid=node, value=line)
        assert (await admin.hears(action="msg", type="console"))["value"] == said
    await admin.send(action="toast", nodeids=[node], title="Hello", msg="soon over")
    await admin.send(action="msg", type="messagebox", nodeid=node, title="Hi", msg="close me")
    await admin.send(action="poweraction", nodeids=[node], actiontype=3)
    await until(lambda: Power.RESET in joined.desk.done)
    told = [(one.title, one.text, one.must_close) for one in joined.desk.done if isinstance(one, Notice)]
    assert sorted(told) == [("Hello", "soon over", False), ("Hi", "close me", True)]
    await admin.send(action="wakedevices", nodeids=[node])
    await until(lambda: ("52:54:00:12:34:56",) in joined.desk.done)


async def test_a_session_can_be_ended_by_an_administrator_and_one_that_fails_says_why(
    admin: User, joined: Joined
) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    viewer = await admin.viewer(node)
    await viewer.sees(wire.Picture)
    end = {"type": "endtunnel", "xuserid": "user//admin", "protocol": "kvm"}
    await admin.send(action="msg", nodeid=node, **end)
    await viewer.closed()
    files = await admin.viewer(node, protocol=5)
    assert (await files.told("console"))["msg"] == "this device has no files that can be reached"
    joined.desk.endpoint = None
    stopped = await admin.viewer(node)
    assert (await stopped.told("console"))["msg"] == "mac-one is not running"
    await stopped.closed()


async def test_two_viewers_share_one_capture_and_quality_and_scaling_change_what_arrives(
    admin: User, joined: Joined, screen: XServer
) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    with painter(screen) as paint:
        scribble(paint)
        one, other = [await admin.viewer(node), await admin.viewer(node)]
        for viewer in (one, other):
            await viewer.sees(wire.Picture)
        assert joined.connection.viewers == joined.desk.endpoint.viewers == 2  # type: ignore[union-attr]
        sizes = [await bytes_at(one, quality) for quality in (28, 5)]  # finer ones are sent twice: no measure
        assert sizes[1] < 0.7 * sizes[0], sizes
        await one.does(wire.Compression(wire.ImageFormat.JPEG, 28, 512, 20))  # half as wide and as high
        await one.sees(wire.Screen, one.count(wire.Screen))
        assert one.commands[-1] == wire.Screen(320, 240)
        await one.does(wire.Mouse(100, 50))  # in its smaller picture
        await until(lambda: (at := paint.root.query_pointer()).root_x // 2 == 100 and at.root_y // 2 == 50)
        await one.does(wire.Compression(wire.ImageFormat.JPEG, 28, wire.SCALE_ONE, 20))
        await one.sees(wire.Screen, one.count(wire.Screen))
        assert set(filter(is_screen, other.commands)) == {wire.Screen(640, 480)}
        paint.fill(Rect(0, 0, 640, 480), 0x00FF00)
        paint.display.sync()
        for viewer in (one, other):
            await until_shown(viewer, paint)
        await one.leave()
        paint.fill(Rect(0, 0, 640, 480), 0x0000FF)
        paint.display.sync()
        await until_shown(other, paint)
        await other.leave()


async def test_a_viewer_that_does_not_read_has_little_waiting_for_it_in_the_server(
    admin: User, joined: Joined, screen: XServer
) -> None:
    """The server would take in megabytes; only the answers to our pings say that nobody reads them."""
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    with painter(screen) as paint:
        viewer = await admin.viewer(node)
        await until_shown(viewer, paint)
        (stream,) = joined.desk.streams
        acknowledges = wire.Abilities(wire.WANTS_BLOCKS | wire.KEYS_BY_LEGEND | wire.ACKNOWLEDGES)
        await until(lambda: acknowledges in stream.said)  # its answer to the first ping may come behind the picture
        before = stream.sent
        for seed in range(40):  # while it does not read
            scribble(paint, seed)
            await asyncio.sleep(0.05)
        assert 0 < stream.sent - before < 2 << 20  # of more than 6 MB that were drawn
        await until_shown(viewer, paint)
        await viewer.leave()


def is_screen(command: wire.Command) -> bool:
    return isinstance(command, wire.Screen)


def scribble(paint: Painter, seed: int = 7) -> None:
    """Draw what is hard to compress."""
    dice = random.Random(seed)
    for _ in range(3000):
        paint.fill(Rect(dice.randrange(640), dice.randrange(480), dice.randrange(24), 2), dice.randrange(1 << 24))
    paint.display.sync()


async def bytes_at(viewer: Viewer, quality: int) -> int:
    """What the whole screen takes at this quality."""
    await viewer.does(wire.Compression(wire.ImageFormat.JPEG, quality, wire.SCALE_ONE, 20), wire.Refresh())
    await viewer.sees(wire.Screen, viewer.count(wire.Screen))
    begun = len(viewer.commands)
    while sum(one.width * one.height for one in viewer.pictures(begun)) < 640 * 480:
        await viewer.sees(wire.Picture, viewer.count(wire.Picture))
    return sum(len(one.image) for one in viewer.commands[begun:] if isinstance(one, wire.Picture))


async def until_shown(viewer: Viewer, paint: Painter) -> None:
    """Read on until the viewer has the whole screen as it is, as well as a picture file can say it."""
    truth = coarse(paint.truth()[:, :, ::-1].astype(int))
    while (seen := coarse(viewer.canvas())).shape != truth.shape or np.abs(seen - truth).max() > 20:
        await viewer.sees(wire.Picture, viewer.count(wire.Picture))


def coarse(pixels: NDArray[np.int_]) -> NDArray[np.float64]:
    """The mean colour of each square of eight pixels."""
    height, width = (length // 8 * 8 for length in pixels.shape[:2])
    return pixels[:height, :width].reshape(height // 8, 8, width // 8, 8, 3).mean((1, 3))


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_restarts_with_another_tls_certificate_has_its_device_back(
    server: MeshCentral, admin: User, joined: Joined
) -> None:
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    viewer = await admin.viewer(node)
    await viewer.sees(wire.Picture)
    before, shown = len(joined.stood), certificate(server.port)
    server.stop()
    await until(lambda: joined.connection.viewers == 0)
    server.forget("webserver-cert-*")
    await asyncio.to_thread(server.start)
    await joined.until(Phase.ONLINE, before)
    assert await asyncio.to_thread(certificate, server.port) != shown
    async with logged_in(server) as again:
        node = (await again.node(joined.member.identity.node_id))["_id"]
        viewer = await again.viewer(node)
        await viewer.sees(wire.Picture)
        await viewer.leave()


@contextlib.asynccontextmanager
async def joined_in(server: MeshCentral, domain: str, screen: XServer, folder: Path) -> AsyncIterator[tuple[User, str]]:
    """A device in a domain of the server, its administrator there, and its node id."""
    async with logged_in(server, domain=domain) as user:
        member = join(folder, await user.msh())
        assert f"/{domain}/agent.ashx" in member.msh.servers[0].url
        async with x_desk(screen) as desk, on_server(member, desk) as one:
            await one.until(Phase.ONLINE)
            yield user, (await user.node(member.identity.node_id))["_id"]


async def test_a_session_that_the_server_records(server: MeshCentral, screen: XServer, tmp_path: Path) -> None:
    async with joined_in(server, RECORDED, screen, tmp_path / "mesh") as (user, node):
        viewer = await user.viewer(node)
        await viewer.sees(wire.Picture)
        assert "cr" in viewer.texts
        await viewer.leave()
        (recorded,) = await until(lambda: server.recordings(RECORDED))
        shown = await until(lambda: (found := recording(recorded))[3:] and found)
    assert shown[0] == encode(wire.Screen(640, 480))
    assert any(one[:20].count(b"\xff\xd8\xff") for one in shown)  # a JPEG


def recording(file: Path) -> list[bytes]:
    """What the device has sent by binary messages, from a .mcrec file: type 2, flag 1 and no flag 2."""
    left, found = file.read_bytes(), []
    while len(left) >= 16:
        kind, flags, size = struct.unpack_from(">HHI", left)
        if (kind, flags & 3) == (2, 1):
            found.append(left[16 : 16 + size])
        left = left[16 + size :]
    return found


async def test_through_the_desktop_multiplexer_and_recorded(server: MeshCentral, tmp_path: Path) -> None:
    """On a screen whose sides are no multiples of 16 all, in which the multiplexer counts."""
    size = Size(1280, 600)
    with x_server(screen=f"{size.width}x{size.height}x24") as screen:
        async with joined_in(server, SHARED, screen, tmp_path / "mesh") as (user, node):
            with painter(screen) as paint:
                await through_the_multiplexer(user, node, paint, size)
            (recorded,) = await until(lambda: server.recordings(SHARED))
            assert await until(lambda: recorded.read_bytes().count(b"\xff\xd8\xff"))  # JPEGs


async def through_the_multiplexer(user: User, node: str, paint: Painter, size: Size) -> None:
    paint.fill(whole(size), 0x404040)
    one = await user.viewer(node)
    await until_shown(one, paint)
    # The last row piece by piece, but for its end: the picture of all of it is still needed then. The multiplexer counts
    # what of it is, and would be wrong about blocks that are not whole.
    for x in range(0, size.width - 128, 64):
        paint.fill(Rect(x + 8, size.height - 20, 40, 16), x * 0x3579)
        paint.display.sync()
        await until_shown(one, paint)
        await asyncio.sleep(0.1)
    late = await user.viewer(node)  # served by the server, from what it has kept
    await until_shown(late, paint)
    for viewer, at_x in ((one, 201), (late, 77)):
        assert next(filter(is_screen, viewer.commands)) == wire.Screen(*size)
        await viewer.does(wire.Mouse(at_x, 99))
        await until(lambda at_x=at_x: paint.root.query_pointer().root_x == at_x)
        await viewer.leave()


async def test_a_wrong_msh_is_refused_with_the_reason(admin: User, tmp_path: Path) -> None:
    msh = (await admin.msh()).decode()
    server_id = msh.split("ServerID=")[1].split()[0]
    other = msh.replace(server_id, f"{int(server_id, 16) ^ 1:096X}")
    async with on_server(join(tmp_path / "a", other.encode()), Desk()) as one:
        refused = await one.until(Phase.REFUSED)
        assert "not the server of the .msh file" in refused.why
        assert "pommel mesh join" in str(refused.hint)


async def test_a_proxy_that_takes_the_encryption_off_is_explained(
    server: MeshCentral, admin: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pommel.mesh.connection.DEADLINE_S", 2.0)
    async with proxy(server.port, tls_context(identity(1), tmp_path, "proxy")) as port:
        other = (await admin.msh()).replace(f":{server.port}/".encode(), f":{port}/".encode())
        async with on_server(join(tmp_path / "c", other), Desk()) as one:
            waiting = await one.until(Phase.WAITING)
            assert "has sent nothing" in waiting.why
            assert "proxy" in str(waiting.hint)
    assert "bad web cert hash" in server.log


@contextlib.asynccontextmanager
async def proxy(port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Shows a certificate of its own and passes on what is inside."""
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE

    ends: list[Cable] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port, ssl=anything)
        ends.extend((Cable(writer.transport), Cable(there[1].transport)))
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    await cut_all(ends)


async def test_a_group_that_is_unknown_is_explained(
    admin: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pommel.mesh.connection.DEADLINE_S", 2.0)
    msh = (await admin.msh()).decode()
    mesh_id = msh.split("MeshID=0x")[1].split()[0]
    other = msh.replace(mesh_id, f"{int(mesh_id, 16) ^ 1:096X}")
    async with on_server(join(tmp_path / "b", other.encode()), Desk()) as one:
        waiting = await one.until(Phase.WAITING)
        assert "accepted this device but" in waiting.why
        assert "device group" in str(waiting.hint)


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_was_set_up_anew_is_refused_until_its_msh_is_joined_with(
    server: MeshCentral, joined: Joined
) -> None:
    server.stop()
    server.forget("agentserver-cert-*")
    await asyncio.to_thread(server.start)
    refused = await joined.until(Phase.REFUSED)
    assert "not the server of the .msh file" in refused.why
    assert "pommel mesh join" in str(refused.hint)
    async with logged_in(server) as user:
        again = join(joined.member.folder, await user.msh())
        assert again.identity.node_id == joined.member.identity.node_id
        async with on_server(again, Desk()) as one:
            await one.until(Phase.ONLINE)
            await user.node(again.identity.node_id)
