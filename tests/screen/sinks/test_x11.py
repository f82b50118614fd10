"""The X11 sink against a real X server: what a window gets, and what an xterm reads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from Xlib import X
from Xlib.error import BadWindow

from isolation import patient
from pommel.screen.actions import BACK, FORWARD, LEFT, RIGHT, MovePointer, PressKey, RelativeMove, TurnWheel, TypeText
from pommel.screen.geometry import Rect
from pommel.screen.sources.x11 import X11Connection, connect_x11
from screen.x_server import Painter, XServer, painter, x_server
from waits import until

A, B, SHIFT = 0x41, 0x42, 0x10


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with x_server() as one:
        yield one


@pytest.fixture
def window(server: XServer) -> Iterator[Painter]:
    """A client whose window covers the screen and has the keyboard."""
    with painter(server) as one:
        events = X.KeyPressMask | X.KeyReleaseMask | X.ButtonPressMask | X.ButtonReleaseMask
        only = one.open(Rect(0, 0, 320, 240), 0xFFFFFF, events=events)
        one.display.sync()
        only.set_input_focus(X.RevertToParent, X.CurrentTime)
        one.display.sync()
        yield one


@pytest.fixture
async def x11(server: XServer) -> AsyncIterator[X11Connection]:
    connection = await connect_x11(server.name)
    await connection.source.next_update()
    yield connection
    await connection.close()


def heard(paint: Painter) -> list[tuple[str, int]]:
    """What the window has got since the last time: ("+", code) for presses, ("-", code) for releases."""
    paint.display.sync()
    names = {X.KeyPress: "+key", X.KeyRelease: "-key", X.ButtonPress: "+button", X.ButtonRelease: "-button"}
    events = [paint.display.next_event() for _ in range(paint.display.pending_events())]
    return [(names[event.type], event.detail) for event in events if event.type in names]


async def hears(paint: Painter, what: list[tuple[str, int]]) -> None:
    """The window gets exactly this: another client's requests may be worked on before ours are."""
    got: list[tuple[str, int]] = []
    async with asyncio.timeout(patient(30)):
        while len(got) < len(what):
            got += heard(paint)
            await asyncio.sleep(0.005)
    assert got == what


def keys_down(paint: Painter) -> list[int]:
    return [8 * i + bit for i, byte in enumerate(paint.display.query_keymap()) for bit in range(8) if byte >> bit & 1]


def at(paint: Painter) -> tuple[int, int]:
    pointer = paint.root.query_pointer()
    return pointer.root_x, pointer.root_y


def code(paint: Painter, keysym: int) -> int:
    info = paint.display.display.info
    rows = paint.display.get_keyboard_mapping(info.min_keycode, info.max_keycode - info.min_keycode + 1)
    return info.min_keycode + next(number for number, row in enumerate(rows) if row[0] == keysym)


async def test_a_key_goes_down_and_up(x11: X11Connection, window: Painter) -> None:
    assert await x11.sink.perform(PressKey(A, False, True)) == ""
    await until(lambda: keys_down(window) == [code(window, 0x61)])
    await x11.sink.perform(PressKey(A, False, False))
    await until(lambda: keys_down(window) == [])
    await hears(window, [("+key", code(window, 0x61)), ("-key", code(window, 0x61))])


async def test_keys_for_a_server_that_is_busy_come_without_another_to_push_them(
    server: XServer, x11: X11Connection, window: Painter
) -> None:
    """A socket takes some hundred small requests that nobody reads; what is more is sent once they are read."""
    a = code(window, 0x61)
    for down in (True, False):  # the first makes the server tell everybody of a change of keyboards, which wakes us too
        await x11.sink.perform(PressKey(A, False, down))
    await hears(window, [("+key", a), ("-key", a)])
    server.kill(signal.SIGSTOP)
    try:
        for _ in range(400):
            for down in (True, False):
                await x11.sink.perform(PressKey(A, False, down))
    finally:
        server.kill(signal.SIGCONT)
    await hears(window, [("+key", a), ("-key", a)] * 400)


async def test_keys_are_told_apart_as_on_the_wire(x11: X11Connection, window: Painter) -> None:
    for vk, extended, keysym in (
        (0x0D, False, 0xFF0D),
        (0x0D, True, 0xFF8D),
        (0x11, True, 0xFFE4),
        (0x5B, True, 0xFFEB),
    ):
        for down in (True, False):
            assert await x11.sink.perform(PressKey(vk, extended, down)) == ""
        await hears(window, [("+key", code(window, keysym)), ("-key", code(window, keysym))])


async def test_a_key_nobody_has_is_said_to_be_so(x11: X11Connection) -> None:
    assert await x11.sink.perform(PressKey(0xFE, False, True)) == "[key 0xfe]"
    assert await x11.sink.perform(TypeText("\x07")) == "\x07"


async def test_what_was_not_pressed_here_is_not_let_go_of(x11: X11Connection, window: Painter) -> None:
    other = await connect_x11(window.display.get_display_name())
    await other.sink.perform(PressKey(A, False, True))
    await other.sink.perform(MovePointer(9, 9, LEFT))
    await hears(window, [("+key", code(window, 0x61)), ("+button", 1)])
    await x11.sink.perform(PressKey(A, False, False))
    await x11.sink.perform(MovePointer(9, 9, 0))
    assert heard(window) == [] and keys_down(window) == [code(window, 0x61)]
    await other.close()
    await hears(window, [("-key", code(window, 0x61)), ("-button", 1)])
    assert keys_down(window) == []


async def test_release_lets_go(x11: X11Connection, window: Painter) -> None:
    await x11.sink.perform(PressKey(SHIFT, False, True))
    await x11.sink.perform(MovePointer(3, 4, LEFT | RIGHT))
    x11.sink.release([PressKey(SHIFT, False, False), MovePointer(3, 4, 0)])
    await x11.sink.perform(TypeText(""))
    buttons = X.Button1Mask | X.Button3Mask
    await until(lambda: keys_down(window) == [] and window.root.query_pointer().mask & buttons == 0)


async def test_the_pointer_its_buttons_and_the_wheel(x11: X11Connection, window: Painter) -> None:
    await x11.sink.perform(MovePointer(100, 50, 0))
    await until(lambda: at(window) == (100, 50))
    await x11.sink.perform(MovePointer(100, 50, RIGHT))
    for up, right in ((240, 0), (-120, 0), (40, 60), (40, 60), (40, -120)):  # touchpads turn by parts of a notch
        await x11.sink.perform(TurnWheel(100, 50, RIGHT, up, right))
    await x11.sink.perform(MovePointer(100, 50, 0))
    turned = [("+button", n) if down else ("-button", n) for n in (4, 4, 5, 7, 4, 6) for down in (True, False)]
    await hears(window, [("+button", 3), *turned, ("-button", 3)])


async def test_back_and_forward_and_movements(x11: X11Connection, window: Painter) -> None:
    assert x11.sink.has_sides
    for buttons in (BACK, BACK | FORWARD, FORWARD, 0):
        await x11.sink.perform(MovePointer(100, 50, buttons))
    await hears(window, [("+button", 8), ("+button", 9), ("-button", 8), ("-button", 9)])
    await x11.sink.perform(RelativeMove(-30, 20, LEFT))
    await until(lambda: at(window) == (70, 70))
    await x11.sink.perform(RelativeMove(0, 0, 0))
    await hears(window, [("+button", 1), ("-button", 1)])


async def test_places_are_those_of_the_display_that_is_shown(
    x11: X11Connection, server: XServer, window: Painter
) -> None:
    server.run("xrandr", "--setmonitor", "left", "120/10x240/10+0+0", "screen")
    server.run("xrandr", "--setmonitor", "right", "200/10x200/10+120+40", "none")
    connection = await connect_x11(server.name)
    await connection.source.next_update()
    connection.source.show_display(2)
    await connection.source.next_update()
    await connection.sink.perform(MovePointer(10, 20, 0))
    await until(lambda: at(window) == (130, 60))
    await connection.close()
    for name in ("left", "right"):
        server.run("xrandr", "--delmonitor", name)


async def test_the_pointer_goes_to_the_x_screen_that_is_shown() -> None:
    with x_server("-screen", "1", "400x300x24") as server, painter(server) as paint:
        roots = [paint.display.screen(n).root for n in range(2)]
        boxes = [
            root.create_window(
                0, 0, 320, 240, 0, X.CopyFromParent, override_redirect=True, event_mask=X.ButtonPressMask
            )
            for root in roots
        ]
        for box in boxes:
            box.map()
        paint.display.sync()
        connections = [await connect_x11(f"{server.name}.{n}") for n in range(2)]
        for n in (1, 0, 1, 1):
            sink = connections[n].sink
            await sink.perform(MovePointer(100 + n, 50, 0))
            await sink.perform(MovePointer(110 + n, 60, LEFT))
            await sink.perform(MovePointer(110 + n, 60, 0))
            async with asyncio.timeout(patient(10)):
                while not paint.display.pending_events():
                    paint.display.sync()
                    await asyncio.sleep(0)
            event = paint.display.next_event()
            assert (event.window, event.root_x, event.root_y) == (boxes[n], 110 + n, 60)
            where = roots[n].query_pointer()
            assert where.same_screen and (where.root_x, where.root_y) == (110 + n, 60)
            # The server may read the next connection's press before this one's release, and a button that is down
            # cannot be pressed: no window hears of it.
            await until(lambda n=n: not roots[n].query_pointer().mask & X.Button1Mask)
        for connection in connections:
            await connection.close()


async def test_a_modifier_that_is_held_is_lifted_while_text_is_typed(x11: X11Connection, window: Painter) -> None:
    control, a = code(window, 0xFFE3), code(window, 0x61)
    await x11.sink.perform(PressKey(0x11, False, True))
    await x11.sink.perform(TypeText("a"))
    await x11.sink.perform(PressKey(0x11, False, False))
    seen = [("+key", control), ("-key", control), ("+key", a), ("-key", a), ("+key", control), ("-key", control)]
    await hears(window, seen)


async def test_borrowed_keys_are_given_back(server: XServer, window: Painter) -> None:
    info = window.display.display.info
    span = (info.min_keycode, info.max_keycode - info.min_keycode + 1)

    def keymap() -> list[list[int]]:
        rows = [list(row) for row in window.display.get_keyboard_mapping(*span)]
        return [row[: max((i + 1 for i, sym in enumerate(row) if sym), default=0)] for row in rows]

    before = keymap()
    connection = await connect_x11(server.name)
    assert await connection.sink.perform(TypeText("漢ж€")) == ""
    await until(lambda: keymap() != before)
    await connection.close()
    await until(lambda: keymap() == before)


async def test_once_the_server_has_gone_there_is_nothing_to_do() -> None:
    with x_server() as server:
        connection = await connect_x11(server.name)
        await connection.sink.perform(PressKey(A, False, True))
        server.kill()
        for _ in range(3):
            assert await connection.sink.perform(PressKey(B, False, True)) == ""
            await asyncio.sleep(0.05)
        connection.sink.release([PressKey(B, False, False)])
        await connection.close()


@pytest.mark.parametrize("caps_lock", [False, True])
async def test_an_xterm_reads_what_was_typed(server: XServer, tmp_path: Path, caps_lock: bool) -> None:
    out = tmp_path / "typed"
    text = "Hello, World! ~{|}\tGrüße, çà ЁжΩ 漢字 ✓ € 𝄞 aAäÄ" + "".join(map(chr, range(0x3041, 0x3061)))
    if caps_lock:
        text = "Hello, World! äÄ"
    env = {**os.environ, "DISPLAY": server.name, "LC_ALL": "C.UTF-8"}
    argv = ["xterm", "-u8", "-e", "sh", "-c", f"stty raw -echo; : > {out}.up; exec cat > {out}"]
    child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    connection = await connect_x11(server.name)
    try:
        while not Path(f"{out}.up").exists():
            await asyncio.sleep(0.02)
        await connection.sink.perform(MovePointer(50, 50, 0))  # without a window manager keys go where the pointer is
        for down in (True, False) if caps_lock else ():
            await connection.sink.perform(PressKey(0x14, False, down))
        await asyncio.sleep(0.1)
        assert await connection.sink.perform(TypeText(text)) == ""
        deadline = time.monotonic() + patient(10)
        while (got := out.read_text(errors="replace")) != text and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert got == text
    finally:
        for down in (True, False) if caps_lock else ():
            await connection.sink.perform(PressKey(0x14, False, down))
        await connection.close()
        child.kill()
        child.wait()


async def test_what_a_killed_process_held_is_let_go_of_by_the_next(server: XServer, window: Painter) -> None:
    killed, lives = await connect_x11(server.name), await connect_x11(server.name)
    await lives.sink.perform(PressKey(B, False, True))
    await killed.sink.perform(PressKey(A, False, True))
    await killed.sink.perform(MovePointer(10, 10, RIGHT))
    a, b = code(window, 0x61), code(window, 0x62)
    both = sorted([a, b])
    await until(lambda: keys_down(window) == both and bool(window.root.query_pointer().mask & X.Button3Mask))
    # As the kernel does with a killed process's: nothing is said, the connection is just gone.
    killed.sink._link._display.display.socket.shutdown(socket.SHUT_RDWR)
    await until(lambda: not killed.sink._link._open and len(_living(window)) == 1)
    assert keys_down(window) == both  # the X server lets go of nothing by itself
    heard(window)
    third = await connect_x11(server.name)
    await hears(window, [("-key", a), ("-button", 3)])
    await until(lambda: keys_down(window) == [b])
    await lives.sink.perform(PressKey(B, False, False))
    for connection in (third, lives, killed):
        await connection.close()
    await until(lambda: keys_down(window) == [] and not _records(window))


def _living(paint: Painter) -> list[str]:
    """The records whose writer's window is there still: the server takes its time to notice a death."""
    found = []
    for name in _records(paint):
        with contextlib.suppress(BadWindow):
            paint.display.create_resource_object("window", int(name.rpartition("_")[2], 16)).get_attributes()
            found.append(name)
    return found


def _records(paint: Painter) -> list[str]:
    names = [paint.display.get_atom_name(atom) for atom in paint.root.list_properties()]
    return [name for name in names if "POMMEL" in name]
