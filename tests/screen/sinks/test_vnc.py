from __future__ import annotations

import asyncio
import re
import struct
from pathlib import Path

from pommel.machine import qmp
from pommel.machine.mouse import MonitorMouse
from pommel.screen.actions import BACK, FORWARD, LEFT, RIGHT, MovePointer, PressKey, RelativeMove, TurnWheel, TypeText
from pommel.screen.rfb_link import open_link
from pommel.screen.seams import SourceEnded
from pommel.screen.sinks.vnc import VncSink
from pommel.screen.sources.vnc import connect_vnc
from pommel.wire.keymap import KEYBOARD, LOCK_KEYS
from screen import rfb_bytes as says
from screen.bare_qemu import BareQemu
from waits import until

PRINTABLE = "".join(chr(code) for code in range(32, 127))


# --- with a real QEMU ---


async def test_the_guest_understands_every_character_a_us_keyboard_has(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    assert await connection.sink.perform(TypeText(PRINTABLE)) == ""
    await until(lambda: len(qemu.typed()) >= len(PRINTABLE))
    assert qemu.typed() == PRINTABLE
    await connection.close()


async def test_no_event_is_lost_or_reordered_on_the_way_into_qemu(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    # QEMU gives keys 10 ms each, so keys and buttons keep their order among themselves.
    keys, buttons_asked = [], []
    for round_ in range(12):
        for vk, name in ((0x10, "shift"), (0x41, "a"), (0x5B, "meta_l"), (0x25, "left")):
            for down in (True, False):
                await connection.sink.perform(PressKey(vk, False, down))
                keys.append(f"key {name} {'-+'[down]}")
        for buttons, name in ((LEFT, "left +"), (LEFT | RIGHT, "right +"), (RIGHT, "left -"), (0, "right -")):
            await connection.sink.perform(MovePointer(5 + round_, 5, buttons))
            buttons_asked.append(f"btn {name}")

    def log(kind: str) -> list[str]:
        return [line for line in qemu.input_log() if line.startswith(kind)]

    await until(lambda: len(log("key")) >= len(keys) and len(log("btn")) >= len(buttons_asked))
    assert log("key") == keys and log("btn") == buttons_asked
    await connection.close()


async def test_every_key_of_every_keyboard_is_qemu_s_by_place(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    told = [key for key in KEYBOARD if key.vk not in LOCK_KEYS and not re.fullmatch(r"f(1[3-9]|2\d)", key.qcode)]
    for key in told:
        for down in (True, False):
            assert await connection.sink.perform(PressKey(key.vk, key.extended, down)) == ""
    await until(lambda: len(qemu.input_log()) >= 2 * len(told))
    assert qemu.input_log() == [f"key {key.qcode} {'-+'[down]}" for key in told for down in (True, False)]
    await connection.close()


async def test_a_notch_is_one_press_of_a_wheel_button(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    for up in (120, 60, 60):
        await connection.sink.perform(TurnWheel(5, 5, 0, up))
    await connection.sink.perform(TurnWheel(5, 5, LEFT, -120))
    await until(lambda: len([line for line in qemu.input_log() if line.startswith("btn")]) >= 7)
    assert [line for line in qemu.input_log() if line.startswith("btn")] == [
        "btn wheel-up +", "btn wheel-up -", "btn wheel-up +", "btn wheel-up -",
        "btn left +", "btn wheel-down +", "btn wheel-down -",
    ]  # fmt: skip
    await connection.close()


async def test_a_guest_without_tablet_is_moved_by_differences(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    await connection.sink.perform(MovePointer(100, 100, 0))
    await connection.sink.perform(MovePointer(130, 90, 0))
    await until(lambda: "rel x 30" in qemu.input_log() and "rel y -10" in qemu.input_log())
    await connection.close()


async def test_a_guest_without_tablet_is_said_to_be_so_and_moves_by_what_a_mouse_says(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    update = await connection.source.next_update()
    assert not isinstance(update, SourceEnded) and update.relative is True
    await connection.sink.perform(MovePointer(100, 100, 0))
    await connection.sink.perform(RelativeMove(-7, 3, LEFT))
    await connection.sink.perform(MovePointer(101, 100, 0))
    await connection.sink.perform(TurnWheel(300, 300, 0, 120))  # which is no movement
    await until(lambda: "btn wheel-up -" in qemu.input_log())
    moved = [line for line in qemu.input_log() if line.startswith("rel") and not line.endswith(" 0")]
    assert moved == ["rel x -7", "rel y 3", "rel x 1"]
    await connection.close()


def buttons(qemu: BareQemu) -> list[str]:
    return [line for line in qemu.input_log() if line.startswith(("btn", "key"))]


async def test_back_forward_and_sideways_go_by_the_monitor(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc, monitor=MonitorMouse(qemu.qmp))
    assert connection.sink.has_sides
    for down in (BACK, BACK | FORWARD, FORWARD, 0):
        assert await connection.sink.perform(MovePointer(5, 5, down)) == ""
    for right in (60, 60, -120):
        await connection.sink.perform(TurnWheel(5, 5, 0, 0, right))
    heard = ["side +", "extra +", "side -", "extra -", "wheel-right +", "wheel-right -", "wheel-left +", "wheel-left -"]
    await until(lambda: len(buttons(qemu)) >= len(heard))
    assert buttons(qemu) == [f"btn {one}" for one in heard]
    qemu.forget()
    await connection.sink.perform(MovePointer(5, 5, BACK))
    connection.sink.release([MovePointer(5, 5, 0)])  # a viewer that leaves
    await connection.close()
    assert buttons(qemu) == ["btn side +", "btn side -"]


async def status(qemu: BareQemu, command: str) -> None:
    async def work(monitor: qmp.Qmp) -> None:
        await monitor.execute(command)

    await qmp.within(qemu.qmp, 10, work)


async def test_what_goes_up_while_the_guest_stands_goes_up_again_when_it_goes_on(qemu: BareQemu) -> None:
    """QEMU throws it away, and its VNC server says nothing to the guest of a key that is up already."""
    connection = await connect_vnc(qemu.vnc, monitor=MonitorMouse(qemu.qmp))
    sink = connection.sink
    keys = {"shift": 0x10, "meta_l": 0x5B, "a": 0x41, "b": 0x42}
    for vk in keys.values():
        await sink.perform(PressKey(vk, False, True))
    await sink.perform(MovePointer(5, 5, LEFT | RIGHT | BACK))
    await until(lambda: {"key b +", "btn right +", "btn side +"} <= set(buttons(qemu)))
    sink.runs()
    await asyncio.sleep(0.2)  # its VNC server keeps keys that come within 10 ms for later, and over the pause
    await status(qemu, "stop")
    qemu.forget()
    for name in ("shift", "meta_l", "a", "b"):
        await sink.perform(PressKey(keys[name], False, False))
    await sink.perform(MovePointer(5, 5, RIGHT))
    await asyncio.sleep(0.2)
    await sink.goes_on()
    assert buttons(qemu) == [], "it stands still"
    await status(qemu, "cont")
    await sink.perform(PressKey(keys["b"], False, True))  # and is held now
    await until(lambda: "key b +" in buttons(qemu))
    await sink.goes_on()
    await until(lambda: len(buttons(qemu)) >= 6)
    heard = buttons(qemu)  # QEMU spaces keys out, and lets buttons overtake them
    assert [one for one in heard if one.startswith("key")] == ["key b +", "key shift -", "key meta_l -", "key a -"]
    assert [one for one in heard if one.startswith("btn")] == ["btn left -", "btn side -"]
    qemu.forget()
    await sink.goes_on()
    await sink.perform(PressKey(keys["b"], False, False))
    await until(lambda: buttons(qemu))
    assert buttons(qemu) == ["key b -"]
    connection.sink.release([MovePointer(5, 5, 0)])
    await connection.close()


async def test_without_a_monitor_shift_turns_the_wheel_sideways_and_back_is_said_to_be_missing(qemu: BareQemu) -> None:
    connection = await connect_vnc(qemu.vnc)
    assert not connection.sink.has_sides
    await connection.sink.perform(TurnWheel(5, 5, 0, 0, 120))
    await until(lambda: "key shift -" in qemu.input_log())
    assert buttons(qemu) == ["key shift +", "btn wheel-down +", "btn wheel-down -", "key shift -"]
    qemu.forget()
    await connection.sink.perform(PressKey(0x10, False, True))
    await until(lambda: "key shift +" in qemu.input_log())
    await connection.sink.perform(TurnWheel(5, 5, 0, 0, -120))
    await connection.sink.perform(PressKey(0x10, False, False))
    await until(lambda: "key shift -" in qemu.input_log())
    assert buttons(qemu) == ["key shift +", "btn wheel-up +", "btn wheel-up -", "key shift -"], "it was held already"
    assert await connection.sink.perform(MovePointer(5, 5, BACK)) == "[a mouse's back button]"
    assert await connection.sink.perform(MovePointer(5, 5, 0)) == ""
    await connection.close()


# --- with a server that writes down what it hears ---


async def sink_and_record(path: Path, *, extended: bool, more: bytes = b""):
    heard = bytearray()

    async def record(reader, writer) -> None:
        await says.greet(reader, writer, 100, 100, extended=extended, more=more)
        while data := await reader.read(4096):
            heard.extend(data)

    return says.serving(path, record), heard


async def test_a_server_with_extended_buttons_gets_all_of_a_mouse(tmp_path: Path) -> None:
    server, heard = await sink_and_record(
        tmp_path / "s", extended=True, more=says.update(says.pointer_type(True), says.EXTENDED_BUTTONS)
    )
    async with server:
        link = await open_link(tmp_path / "s", timeout_s=5)
        await until(lambda: link.extended_buttons)
        sink = VncSink(link, pace_s=0)
        assert sink.has_sides
        await sink.perform(MovePointer(1, 2, BACK))
        await sink.perform(TurnWheel(1, 2, FORWARD, 0, -120))
        await link.close()
    events = [(mask, x, y, more) for _, mask, x, y, more in struct.iter_unpack(">BBHHB", bytes(heard))]
    assert events == [(0x80, 1, 2, 1), (0x80, 1, 2, 2), (0xA0, 1, 2, 2), (0x80, 1, 2, 2)]


async def test_a_mouse_that_becomes_another_is_told_in_its_own_way(tmp_path: Path) -> None:
    async def record(reader, writer) -> None:
        await says.greet(reader, writer, 100, 100, more=says.update(says.pointer_type(True)))
        for kind in (False, True):
            heard.append(await reader.readexactly(12))
            writer.write(says.update(says.pointer_type(kind)))
        heard.append(await reader.readexactly(6))

    heard: list[bytes] = []
    async with says.serving(tmp_path / "s", record):
        link = await open_link(tmp_path / "s", timeout_s=5)
        sink = VncSink(link, pace_s=0)
        for first, second in (
            (MovePointer(10, 20, 0), RelativeMove(200, -5, 0)),
            (RelativeMove(3, -4, LEFT), MovePointer(98, 15, 0)),
        ):
            await sink.perform(first)
            await sink.perform(second)
            was = link.absolute
            await until(lambda was=was: link.absolute is not was)
        await sink.perform(MovePointer(1, 2, 0))
        await until(lambda: len(heard) == 3)
        await link.close()
    told = [(mask, x, y) for data in heard for _, mask, x, y in struct.iter_unpack(">BBHH", data)]
    still = 0x7FFF  # 99, 15 is as far as 200 pixels to the right can go
    assert told == [(0, 10, 20), (0, 99, 15), (1, still + 3, still - 4), (0, still - 1, still), (0, 1, 2)]


def ext_keys(data: bytes) -> list[tuple[int, bool]]:
    return [(qnum, bool(down)) for _, _, down, _, qnum in struct.iter_unpack(">BBHII", data)]


async def test_a_server_without_qemus_extension_gets_the_keysym_that_shift_makes(tmp_path: Path) -> None:
    server, heard = await sink_and_record(tmp_path / "s", extended=False)
    async with server:
        link = await open_link(tmp_path / "s", timeout_s=5)
        await VncSink(link, pace_s=0).perform(TypeText("aA"))
        await link.close()
    keysyms = [(keysym, bool(down)) for _, down, keysym in struct.iter_unpack(">BBxxI", bytes(heard))]
    assert keysyms == [
        (0x61, True), (0x61, False), (0xFFE1, True), (0x41, True), (0x41, False), (0xFFE1, False),
    ]  # fmt: skip


async def test_what_cannot_be_done_is_said_and_the_rest_is_done(tmp_path: Path) -> None:
    server, heard = await sink_and_record(tmp_path / "s", extended=True)
    async with server:
        link = await open_link(tmp_path / "s", timeout_s=5)
        sink = VncSink(link, pace_s=0)
        assert await sink.perform(TypeText("aéb😀")) == "é😀"
        assert await sink.perform(PressKey(0xFE, False, True)) == "[key 0xfe]"
        await link.close()
    assert ext_keys(bytes(heard)) == [(0x1E, True), (0x1E, False), (0x30, True), (0x30, False)]


async def test_typing_that_is_cancelled_leaves_no_key_down(tmp_path: Path) -> None:
    server, heard = await sink_and_record(tmp_path / "s", extended=True)
    async with server:
        link = await open_link(tmp_path / "s", timeout_s=5)
        sink = VncSink(link, pace_s=0.02)
        async with asyncio.TaskGroup() as tasks:
            typing = tasks.create_task(sink.perform(TypeText("AAAA")))
            await asyncio.sleep(0.03)  # Shift and A are down
            typing.cancel()
        await link.close()
    events = ext_keys(bytes(heard))
    assert events == [(0x2A, True), (0x1E, True), (0x1E, False), (0x2A, False)]


async def test_a_key_of_one_viewer_does_not_fall_into_anothers_character(tmp_path: Path) -> None:
    server, heard = await sink_and_record(tmp_path / "s", extended=True)
    async with server:
        link = await open_link(tmp_path / "s", timeout_s=5)
        sink = VncSink(link, pace_s=0.005)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sink.perform(TypeText("A")))
            await asyncio.sleep(0)
            tasks.create_task(sink.perform(PressKey(0x42, False, True)))
        await link.close()
    assert [qnum for qnum, _ in ext_keys(bytes(heard))] == [0x2A, 0x1E, 0x1E, 0x2A, 0x30]


async def test_letting_go_waits_for_nothing_and_a_machine_that_has_gone_is_no_error(tmp_path: Path) -> None:
    server, heard = await sink_and_record(tmp_path / "s", extended=True)
    async with server:
        link = await open_link(tmp_path / "s", timeout_s=5)
        sink = VncSink(link)
        sink.release([PressKey(0x41, False, False), MovePointer(1, 2, 0)])
        await link.close()
        assert bytes(heard) == bytes.fromhex("ff000000000000610000001e050000010002")
        sink.release([PressKey(0x41, False, False)])
        assert await sink.perform(PressKey(0x41, False, True)) == ""
