from __future__ import annotations

import asyncio
import re
import struct
from pathlib import Path

from pommel.screen.actions import LEFT, RIGHT, MovePointer, PressKey, TurnWheel, TypeText
from pommel.screen.rfb_link import open_link
from pommel.screen.sinks.vnc import VncSink
from pommel.screen.sources.vnc import connect_vnc
from pommel.wire.keymap import KEYBOARD, LOCK_KEYS
from screen import rfb_bytes as says
from screen.bare_qemu import BareQemu
from screen.doubles import until

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
    await connection.sink.perform(TurnWheel(5, 5, 0, 2))
    await connection.sink.perform(TurnWheel(5, 5, LEFT, -1))
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


# --- with a server that writes down what it hears ---


async def sink_and_record(path: Path, *, extended: bool):
    heard = bytearray()

    async def record(reader, writer) -> None:
        await says.greet(reader, writer, 100, 100, extended=extended)
        while data := await reader.read(4096):
            heard.extend(data)

    return says.serving(path, record), heard


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
