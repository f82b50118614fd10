from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import numpy as np
import pytest

from isolation import patient
from pommel.errors import DeadlineError, RfbError, StateError
from pommel.screen import rfb_requests as ask
from pommel.screen.actions import PressKey, TypeText
from pommel.screen.endpoint import Endpoint
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.move_search import MovedArea
from pommel.screen.moves import MoveFinder
from pommel.screen.pointer import UNKNOWN, PointerPicture
from pommel.screen.seams import SourceEnded, Update
from pommel.screen.sources.vnc import VncConnection, connect_vnc
from pommel.wire import messages as wire
from screen import rfb_bytes as says
from screen.bare_qemu import POINTER_BOOT, BareQemu, bare_qemu
from screen.doubles import Onlooker, RawEncoder
from screen.x_server import painter, vnc_server
from waits import until

F1, F2, F3, F4 = (PressKey(vk, False, True) for vk in (0x70, 0x71, 0x72, 0x73))


async def tap(connection: VncConnection, key: PressKey) -> None:
    await connection.sink.perform(key)
    await connection.sink.perform(PressKey(key.vk, False, False))


async def next_update(connection: VncConnection) -> Update:
    update = await asyncio.wait_for(connection.source.next_update(), 10)
    assert isinstance(update, Update)
    return update


# --- with a real QEMU ---


async def test_the_first_update_is_the_whole_screen(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    update = await next_update(connection)
    assert update.frame.size == (720, 400) and update.damage == (Rect(0, 0, 720, 400),)
    await connection.close()


async def test_a_typed_key_changes_the_screen_where_it_is_written(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    before = (await next_update(connection)).frame.copy()
    await connection.sink.perform(TypeText("W"))
    while True:
        update = await next_update(connection)
        changed = (update.frame.pixels != before.pixels)[:16, :9].any()
        if changed:
            break
    assert any(rect.y < 16 for rect in update.damage)
    assert qemu.typed() == "W"
    await connection.close()


async def test_another_mode_is_another_frame_shown_when_it_is_whole(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    await next_update(connection)
    for key, size in ((F1, (800, 600)), (F2, (1368, 776)), (F3, (720, 400))):
        await tap(connection, key)
        update = await next_update(connection)
        while update.frame.size != size:
            update = await next_update(connection)
        assert update.damage == (whole(Size(*size)),)
    await connection.close()


def vmware_pointer(factor: int) -> PointerPicture:
    """What POINTER_BOOT makes."""
    transparent = "00001111 11111111 11111111 11111111" + "0" * 32 + "11111111" + "0" * 24 + "00000000 11111111" * 2
    rgba = b""
    for n, hidden in enumerate(transparent.replace(" ", "")):
        rgba += bytes(4) if hidden == "1" else (factor * n & 0xFFFFFF).to_bytes(3, "big") + b"\xff"
    return PointerPicture(32, 4, 5, 3, rgba)


@pytest.mark.parametrize("encoding", [ask.ALPHA_CURSOR, ask.CURSOR])
async def test_an_adapters_own_pointer_is_told_as_it_is(encoding: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tuple(one for one in ask.ENCODINGS if one == encoding or one not in (ask.ALPHA_CURSOR, ask.CURSOR))
    wish = ask.set_encodings(asked)
    monkeypatch.setattr(ask, "set_encodings", lambda: wish)
    with bare_qemu(boot=POINTER_BOOT, vga="vmware") as qemu:
        connection = await connect_vnc(qemu.vnc)
        for factor in (0x030201, 0x040201):
            async with asyncio.timeout(patient(10)):
                while (await next_update(connection)).pointer != vmware_pointer(factor):
                    connection.source.watch(True)
            await tap(connection, F1)
        await connection.close()


async def test_two_connections_see_the_same_pixels(qemu: BareQemu) -> None:
    one, two = await connect_vnc(qemu.vnc), await connect_vnc(qemu.vnc)
    await tap(one, F2)
    await tap(one, F4)
    frames = [Frame.blank(Size(1, 1))] * 2
    async with asyncio.timeout(patient(20)):
        while not _same_noise(*frames):
            for i, connection in enumerate((one, two)):
                connection.source.watch(True)  # brings an update even if nothing changes any more
                frames[i] = (await next_update(connection)).frame
    await one.close()
    await two.close()


def _same_noise(a: Frame, b: Frame) -> bool:
    if a.size != (1368, 776) or b.size != a.size or a.is_plain(Rect(0, 200, 100, 70)):
        return False
    return bool((a.pixels[:, :, :3] == b.pixels[:, :, :3]).all())


async def test_viewers_of_an_endpoint_follow_qemu_and_hear_when_it_is_killed() -> None:
    with bare_qemu() as qemu:
        await _follow_to_the_end(qemu)


async def _follow_to_the_end(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    endpoint = Endpoint(connection.source, connection.sink, encoder=RawEncoder())
    viewers = [Onlooker(), Onlooker()]
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        for viewer in viewers:
            tasks.create_task(endpoint.serve(viewer))
        await endpoint.wait_live(10)
        viewers[1].say(wire.Key(0x71, True), wire.Key(0x71, False), wire.Key(0x73, True), wire.Key(0x73, False))
        await until(lambda: all(v.canvas.shape[:2] == (776, 1368) and v.canvas[200:300, :100].any() for v in viewers))
        await until(lambda: (viewers[0].canvas[:, :, :3] == viewers[1].canvas[:, :, :3]).all())
        qemu.kill()
        await run
    assert [viewer.closed for viewer in viewers] == [(1001, "the server closed the connection")] * 2
    await connection.close()


async def test_who_comes_after_a_while_sees_the_newest_at_once(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    endpoint = Endpoint(connection.source, connection.sink, encoder=RawEncoder())
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        await endpoint.wait_live(10)
        for key in (F1, F2, F3, F2):  # the last request of wait_live's time may still bring one of these
            await tap(connection, key)
            await asyncio.sleep(0.2)
        late = Onlooker()
        tasks.create_task(endpoint.serve(late))
        await until(lambda: late.of(wire.Picture))
        assert late.of(wire.Screen) == [wire.Screen(1368, 776)]
        late.leave()
        run.cancel()
    await connection.close()


async def test_qemus_own_line_of_text_is_no_machines_picture() -> None:
    with bare_qemu(paused=True) as qemu:
        connection = await connect_vnc(qemu.vnc)
        update = await next_update(connection)
        assert not update.frame.is_plain(whole(update.frame.size))  # "Guest has not initialized the display (yet)."
        assert not connection.source.shows_something(update.frame)
        update.frame.pixels[0, 0] = 99
        assert connection.source.shows_something(update.frame)
        await connection.close()


async def test_waiting_may_be_given_up_and_taken_up_again(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    await next_update(connection)
    await tap(connection, F3)
    await asyncio.sleep(0.2)
    await next_update(connection)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            waiting = tasks.create_task(connection.source.next_update())
            await asyncio.sleep(0.01)
            waiting.cancel()
    await tap(connection, F1)
    while (await next_update(connection)).frame.size != (800, 600):
        pass
    await connection.close()


# --- with a server that behaves badly ---


async def test_nobody_there_is_said_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no machine shows its screen") as caught:
        await connect_vnc(tmp_path / "none.sock")
    assert caught.value.hint
    with pytest.raises(StateError, match="cannot be opened"):
        await connect_vnc(tmp_path / ("x" * 120))


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    async def silent(reader, writer) -> None:
        await reader.read()

    async with says.serving(tmp_path / "s", silent):
        with pytest.raises(DeadlineError, match=r"did not answer within 0\.1 s"):
            await connect_vnc(tmp_path / "s", timeout_s=0.1)


async def test_a_server_that_hangs_up_or_is_none_is_an_rfb_error(tmp_path: Path) -> None:
    async def hangs_up(reader, writer) -> None:
        writer.write(b"RFB 003.008\n")

    async def web(reader, writer) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    for script in (hangs_up, web):
        async with says.serving(tmp_path / "s", script):
            with pytest.raises(RfbError):
                await connect_vnc(tmp_path / "s")
        (tmp_path / "s").unlink(missing_ok=True)


async def test_a_server_that_ends_is_an_end_and_one_that_talks_nonsense_an_error(tmp_path: Path) -> None:
    async def ends(reader, writer) -> None:
        await says.greet(reader, writer, 4, 2)
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, 4, 2, bytes(32)), says.leds(6), says.alpha_cursor(1, 1, bytes(4))))
        await reader.readexactly(10)

    async def nonsense(reader, writer) -> None:
        await says.greet(reader, writer, 4, 2)
        await reader.readexactly(10)
        writer.write(b"\xee")
        await reader.read()

    async with says.serving(tmp_path / "a", ends), says.serving(tmp_path / "b", nonsense):
        connection = await connect_vnc(tmp_path / "a")
        update = await next_update(connection)
        assert update.lock_keys == wire.CAPS_LOCK | wire.NUM_LOCK and update.pointer_visible is False
        assert await asyncio.wait_for(connection.source.next_update(), 5) == SourceEnded(
            "the server closed the connection"
        )
        await connection.close()
        connection = await connect_vnc(tmp_path / "b")
        with pytest.raises(RfbError, match="unknown type 238"):
            await asyncio.wait_for(connection.source.next_update(), 5)
        await connection.close()


async def test_what_the_pointer_looks_like_is_told_once(tmp_path: Path) -> None:
    red, half_white = struct.pack("<I", 0xFFFF0000), struct.pack("<I", 0x80808080)

    async def points(reader, writer) -> None:
        await says.greet(reader, writer, 4, 2)
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, 4, 2, bytes(32))))
        for pointer in (says.alpha_cursor(2, 1, red + half_white), says.alpha_cursor(512, 1, red * 512)):
            await reader.readexactly(10)
            writer.write(says.update(pointer))
        await reader.read()

    async with says.serving(tmp_path / "s", points):
        connection = await connect_vnc(tmp_path / "s")
        update = await next_update(connection)
        assert update.pointer is None and update.pointer_visible is None
        update = await next_update(connection)
        assert update.pointer == PointerPicture(2, 1, 1, 2, b"\xff\x00\x00\xff\xff\xff\xff\x80")
        assert update.pointer_visible is True and not update.damage
        connection.source.watch(True)
        update = await next_update(connection)
        assert update.pointer == UNKNOWN and update.pointer_visible is True
        await connection.close()


async def test_what_is_told_with_the_greeting_is_not_lost(tmp_path: Path) -> None:
    async def tells(reader, writer) -> None:
        await says.greet(reader, writer, 4, 2, extended=False)
        pointers = (says.alpha_cursor(1, 1, bytes((n, n, n, 255))) for n in (1, 2))
        writer.write(says.update(says.EXTENDED_KEYS, says.pointer_type(True), says.leds(4), *pointers))
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, 4, 2, bytes(32))))
        await reader.read()

    async with says.serving(tmp_path / "s", tells):
        connection = await connect_vnc(tmp_path / "s")
        update = await next_update(connection)
        assert update.lock_keys == wire.CAPS_LOCK and update.pointer_visible is True
        assert update.pointer == PointerPicture(1, 1, 1, 2, b"\x02\x02\x02\xff")
        await connection.close()


async def test_one_update_is_asked_for_at_a_time_and_only_when_wanted(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    async def counts(reader, writer) -> None:
        await says.greet(reader, writer, 4, 2)
        while True:
            asked.append(struct.unpack(">BBHHHH", await reader.readexactly(10)))
            writer.write(says.update(says.raw(0, 0, 4, 2, bytes(32))))

    async with says.serving(tmp_path / "s", counts):
        connection = await connect_vnc(tmp_path / "s")
        await asyncio.sleep(0.02)
        assert asked == []
        for _ in range(3):
            await next_update(connection)
            await asyncio.sleep(0.02)
        assert asked == [(3, 0, 0, 0, 4, 2), (3, 1, 0, 0, 4, 2), (3, 1, 0, 0, 4, 2)]
        await connection.close()


async def test_a_resize_is_shown_when_all_of_the_new_picture_has_come(tmp_path: Path) -> None:
    async def grows(reader, writer) -> None:
        await says.greet(reader, writer, 4, 2)
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, 4, 2, bytes(32)), says.desktop_size(6, 6)))
        assert (await reader.readexactly(10))[1] == 0  # asks for all of it
        writer.write(says.update(says.raw(0, 0, 6, 2, b"\x01" * 48)))
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 2, 6, 4, b"\x02" * 96)))
        await reader.read()

    async with says.serving(tmp_path / "s", grows):
        connection = await connect_vnc(tmp_path / "s")
        update = await next_update(connection)
        assert update.frame.size == (6, 6) and np.unique(update.frame.pixels).tolist() == [1, 2]
        await connection.close()


async def test_a_watched_server_is_kept_attentive_and_no_other(tmp_path: Path) -> None:
    heard = bytearray()

    async def records(reader, writer) -> None:
        await says.greet(reader, writer, 4, 2)
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, 4, 2, bytes(32))))
        while data := await reader.read(4096):
            heard.extend(data)

    def nudges() -> int:
        return heard.count(bytes.fromhex("ff00 0000 0000ffd5 0000006f"))  # F24 goes up

    async with says.serving(tmp_path / "s", records):
        connection = await connect_vnc(tmp_path / "s")
        await next_update(connection)
        await connection.sink.perform(PressKey(0x41, False, True))
        await asyncio.sleep(0.15)
        assert nudges() == 0
        connection.source.watch(True)
        await until(lambda: nudges() >= 3)
        assert heard.count(bytes.fromhex("0300 0000 0000 0001 0001")) == 1  # and an answer is asked for at once
        connection.source.watch(False)
        await asyncio.sleep(0.02)
        count = nudges()
        await asyncio.sleep(0.25)
        assert nudges() == count
        await connection.close()


async def test_what_is_shown_is_whole_while_more_is_being_received(tmp_path: Path) -> None:
    size = Size(1024, 640)  # so large that it is compared in a thread
    half = asyncio.Event()

    async def dribbles(reader, writer) -> None:
        await says.greet(reader, writer, *size)
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, *size, b"\x01" * 4 * size.width * size.height)))
        await reader.readexactly(10)
        message = says.update(says.raw(0, 0, *size, b"\x02" * 4 * size.width * size.height))
        writer.write(message[: len(message) // 2])
        await half.wait()
        writer.write(message[len(message) // 2 :])
        await reader.read()

    async with says.serving(tmp_path / "s", dribbles):
        connection = await connect_vnc(tmp_path / "s")
        first = await next_update(connection)
        assert first.changed is not None and first.changed.tiles.all()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(connection.source.next_update())
            await until(lambda: connection._link.client.frame.pixels[0, 0, 0] == 2)
            assert (first.frame.pixels == 1).all()
            waiting.cancel()
        half.set()
        await until(lambda: bool(connection.source._damage))
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(connection.source.next_update())
            await asyncio.sleep(0)
            assert connection.source._comparing is not None
            waiting.cancel()  # while it is compared
        second = await next_update(connection)
        assert second.changed is not None and second.changed.tiles.all() and (second.frame.pixels == 2).all()
        await connection.close()


async def test_what_scrolls_is_told_as_a_move_in_a_frame_of_its_own(tmp_path: Path) -> None:
    size, chance = Size(640, 400), np.random.default_rng(1)
    page = chance.integers(0, 256, (412, 640, 4), np.uint8)
    page[..., 3] = 0

    async def scrolls(reader, writer) -> None:
        await says.greet(reader, writer, *size)
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, *size, page[:400].tobytes())))
        await reader.readexactly(10)
        writer.write(says.update(says.raw(0, 0, *size, page[12:].tobytes())))
        await reader.read()

    async with says.serving(tmp_path / "s", scrolls):
        connection = await connect_vnc(tmp_path / "s")
        connection.source.finder.wanted = True
        first = await next_update(connection)
        assert first.moved is None
        second = await next_update(connection)
        assert second.moved is not None and second.changed is not None and second.changed.tiles.all()
        ((target, dx, dy),) = second.moved.moves
        assert (target, dx, dy) == (Rect(0, 0, 640, 388), 0, -12)
        assert second.moved.rest.tiles.any(axis=1).tolist() == [False] * 6 + [True]
        assert np.array_equal(first.frame.pixels[..., :3], page[:400, :, :3]), "what is shown is not written to"
        assert np.array_equal(second.frame.pixels[..., :3], page[12:, :, :3])
        await connection.close()


async def test_what_a_server_copies_is_a_move_without_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MoveFinder, "is_due", lambda *_: False)
    size = Size(640, 400)
    with vnc_server(tmp_path / "s", size) as server, painter(server) as paint:
        for row in range(0, 400, 8):
            paint.fill(Rect(row, row, 90, 5), row * 411)
        paint.display.sync()
        connection = await connect_vnc(tmp_path / "s")
        connection.source.finder.wanted = True
        await next_update(connection)
        paint.copy(Rect(0, 24, 640, 376), 0, 0)
        paint.fill(Rect(0, 376, 640, 24), 0xFF)
        paint.display.sync()
        moves: list[MovedArea] = []
        rest = 0
        for _ in range(20):
            update = await next_update(connection)
            if update.moved is not None:
                moves += update.moved.moves
                rest += int(update.moved.rest.tiles[1:4].sum())
            if np.array_equal(update.frame.pixels[..., :3], paint.truth()):
                break
        assert np.array_equal(update.frame.pixels[..., :3], paint.truth())
        assert moves == [MovedArea(Rect(0, 0, 640, 376), 0, -24)] and rest == 0
        await connection.close()


async def test_one_display_is_all_there_is_to_choose(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    size = (await next_update(connection)).frame.size
    connection.source.show_display(1)
    connection.source.watch(True)
    assert (await next_update(connection)).frame.size == size
    await connection.close()
