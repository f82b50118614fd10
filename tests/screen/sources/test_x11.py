"""The X11 source against a real X server."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from Xlib.ext import xfixes
from Xlib.protocol import request, rq

from isolation import patient
from pommel.errors import DeadlineError, NotPermitted, StateError
from pommel.screen.actions import MovePointer, PressKey
from pommel.screen.endpoint import Endpoint
from pommel.screen.engine import Engine
from pommel.screen.geometry import Rect, Size, total_area, whole
from pommel.screen.pointer import UNKNOWN, PointerPicture
from pommel.screen.seams import Displays, SourceEnded, Update
from pommel.screen.sources.x11 import X11Connection, connect_x11
from pommel.screen.sources.x11_camera import POLL_S
from pommel.wire import messages as wire
from pommel.wire.messages import ALL_DISPLAYS, CAPS_LOCK, CursorShape, Display
from screen.doubles import Onlooker, RawEncoder
from screen.x_cursors import show_image
from screen.x_server import Painter, XServer, authority, painter, x_server
from waits import until

SIZE = Size(320, 240)


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with x_server() as one:
        yield one


@pytest.fixture
def paint(server: XServer) -> Iterator[Painter]:
    with painter(server) as one:
        yield one


@pytest.fixture
async def x11(server: XServer, paint: Painter) -> AsyncIterator[X11Connection]:
    """Connected, with the first picture taken."""
    connection = await connect_x11(server.name)
    await next_update(connection)
    yield connection
    await connection.close()


async def next_update(connection: X11Connection) -> Update:
    update = await asyncio.wait_for(connection.source.next_update(), 10)
    assert isinstance(update, Update)
    return update


async def follow(connection: X11Connection, engine: Engine, truth: np.ndarray) -> None:
    """Have the engine take updates until it shows the truth, which it must soon."""
    async with asyncio.timeout(patient(10)):
        while engine.frame.pixels.shape[:2] != truth.shape[:2] or (engine.frame.pixels[:, :, :3] != truth).any():
            update = await next_update(connection)
            engine.update(update.frame, update.damage)


async def nothing_comes(connection: X11Connection, for_s: float = 0.15) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.source.next_update(), for_s)


# --- pictures ---


async def test_the_first_update_is_the_whole_screen_as_it_is(server: XServer, paint: Painter) -> None:
    paint.fill(Rect(0, 0, 320, 240), 0x102030)
    paint.open(Rect(17, 33, 100, 51), 0xA0B0C0)
    paint.display.sync()
    connection = await connect_x11(server.name)
    update = await next_update(connection)
    assert update.damage == (whole(SIZE),) and (update.frame.pixels[:, :, :3] == paint.truth()).all()
    assert update.frame.pixels[40, 20, :3].tolist() == [0xC0, 0xB0, 0xA0]
    assert connection.source.shows_something(update.frame)
    await connection.close()
    assert (update.frame.pixels[:, :, :3] == paint.truth()).all()  # its memory lives as long as who looks at it


async def test_a_small_change_is_a_small_damage(x11: X11Connection, paint: Painter) -> None:
    paint.open(Rect(200, 100, 20, 10), 0xFF0000)
    paint.display.flush()
    update = await next_update(x11)
    assert update.damage == (Rect(200, 100, 20, 10),)
    assert (update.frame.pixels[:, :, :3] == paint.truth()).all()


async def test_a_screen_that_rests_gives_no_update_unless_somebody_begins_to_look(x11: X11Connection) -> None:
    await nothing_comes(x11)
    x11.source.watch(True)
    assert (await next_update(x11)).damage == ()
    x11.source.watch(False)
    await nothing_comes(x11)


async def test_what_was_waited_for_in_vain_comes_later(x11: X11Connection, paint: Painter) -> None:
    for _ in range(3):
        await nothing_comes(x11, 0.01)
    paint.open(Rect(1, 2, 3, 4), 0xFF00FF)
    paint.display.sync()
    await asyncio.sleep(0.1)  # it is taken now, for the wish that was given up
    assert (await next_update(x11)).damage == (Rect(1, 2, 3, 4),)


async def test_a_screen_that_never_rests_is_not_looked_at_more_often_than_it_is_worth(
    x11: X11Connection, paint: Painter
) -> None:
    begin = time.monotonic()
    for n in range(20):
        paint.fill(Rect(0, 0, 50, 50), n)
        paint.display.flush()
        await next_update(x11)
    assert time.monotonic() - begin > 17 / 60


rect = st.builds(Rect, st.integers(-20, 330), st.integers(-20, 250), st.integers(0, 200), st.integers(0, 150))
colour = st.integers(0, 0xFFFFFF)
draws = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), rect, colour),
        st.tuples(st.just("open"), rect, colour),
        st.tuples(st.just("copy"), rect, st.tuples(st.integers(-20, 330), st.integers(-20, 250))),
        st.tuples(st.just("move"), st.integers(0, 5), st.tuples(st.integers(-50, 330), st.integers(-50, 250))),
        st.tuples(st.just("close"), st.integers(0, 5), st.none()),
        st.tuples(st.just("dots"), st.integers(1, 40), colour),
        st.tuples(st.just("look"), st.none(), st.none()),
    ),
    max_size=20,
)


def draw(paint: Painter, what: str, how, more) -> None:
    windows = paint.windows
    match what:
        case "fill":
            paint.fill(how, more)
        case "open":
            paint.open(how, more)
        case "copy":
            paint.copy(how, *more)
        case "move" if how < len(windows):
            windows[how].configure(x=more[0], y=more[1])
        case "close" if how < len(windows):
            windows.pop(how).destroy()
        case "dots":
            for i in range(how):
                paint.fill(Rect(i * 37 % 317, i * 53 % 237, 3, 3), more)


async def play(server: XServer, script) -> None:
    with painter(server) as paint:
        connection = await connect_x11(server.name)
        engine = Engine()
        for what, how, more in script:
            if what == "look":
                connection.source.watch(True)
                update = await next_update(connection)
                engine.update(update.frame, update.damage)
            else:
                draw(paint, what, how, more)
                paint.display.flush()
        await follow(connection, engine, paint.truth())
        await connection.close()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=draws)
def test_whatever_is_drawn_the_damage_tells_all_of_it(server: XServer, script) -> None:
    asyncio.run(play(server, script))


BUSY = [
    ("open", Rect(10, 10, 80, 60), 0xFF), ("look", None, None), ("move", 0, (150, 90)), ("dots", 40, 0xFFFF00),
    ("look", None, None), ("copy", Rect(0, 0, 160, 100), (120, 100)), ("fill", Rect(0, 200, 320, 40), 0x808080),
]  # fmt: skip


@pytest.mark.parametrize("lacks", ["DAMAGE", "MIT-SHM", "XFIXES", "RANDR", "XKEYBOARD"])
async def test_a_server_that_lacks_an_extension_shows_the_same(lacks: str, server: XServer) -> None:
    with x_server("-extension", lacks) as other:
        keeps = await connect_x11(server.name)  # extensions have other numbers there
        await play(other, BUSY)
        await next_update(keeps)
        await keeps.close()


async def test_a_server_without_damage_is_looked_at_again_and_again() -> None:
    with x_server("-extension", "DAMAGE") as other, painter(other) as paint:
        connection, engine = await connect_x11(other.name), Engine()
        for n in range(3):
            paint.fill(Rect(n, n, 30, 30), 0xFF << n)
            await follow(connection, engine, paint.truth())
        await connection.close()


async def test_a_server_without_damage_is_looked_at_ever_more_rarely_until_something_happens() -> None:
    with x_server("-extension", "DAMAGE") as other, painter(other) as paint:
        connection = await connect_x11(other.name)
        await next_update(connection)
        camera = connection.source._camera
        assert camera is not None
        looked_s = camera._looked_s
        await asyncio.sleep(0.2)
        assert camera._looked_s == looked_s  # for nobody
        await nothing_comes(connection, 0.6)
        rarely_s = camera._poll_s
        assert rarely_s > 3 * POLL_S
        await connection.sink.perform(MovePointer(5, 5, 0))
        await until(lambda: camera._poll_s < rarely_s)
        await nothing_comes(connection, 0.4)
        paint.fill(Rect(5, 5, 10, 10), 0xABCDEF)
        paint.display.flush()
        update = await next_update(connection)
        assert update.changed is not None and update.changed.tiles.any() and camera._poll_s == POLL_S
        await connection.close()


async def test_a_frame_that_is_shown_is_left_alone_while_the_next_is_taken(x11: X11Connection, paint: Painter) -> None:
    paint.fill(whole(SIZE), 0x010101)
    paint.display.sync()
    shown = (await next_update(x11)).frame
    before = shown.pixels.copy()
    for n in range(2, 5):
        paint.fill(Rect(0, 0, 320, 100), n)
        paint.display.sync()
        waiting = asyncio.ensure_future(x11.source.next_update())
        await asyncio.sleep(0)  # now it has asked
        waiting.cancel()
        await until(lambda: x11.source._ready is not None)
        assert (shown.pixels == before).all()  # the next is ready, and this one may still be read
        update = await next_update(x11)
        assert update.frame is not shown and update.changed is not None and update.changed.tiles.any()
        shown, before = update.frame, update.frame.pixels.copy()


async def test_what_is_drawn_at_once_in_several_places_is_one_update(x11: X11Connection, paint: Painter) -> None:
    paint.fill(whole(SIZE), 0)
    paint.display.sync()
    await next_update(x11)
    for x in (0, 150, 300):
        paint.fill(Rect(x, 70, 10, 10), 0xFF)
    paint.display.flush()
    update = await next_update(x11)
    assert update.changed is not None
    assert np.argwhere(update.changed.tiles).tolist() == [[1, 0], [1, 2], [1, 4]]


def test_the_fast_way_is_taken_here(server: XServer) -> None:
    async def shared() -> bool:
        connection = await connect_x11(server.name)
        await next_update(connection)
        camera = connection.source._camera
        is_shared = camera is not None and camera.is_shared
        await connection.close()
        return is_shared

    assert asyncio.run(shared())


# --- sizes and displays ---


async def test_another_resolution_is_another_frame() -> None:
    with x_server() as server, painter(server) as paint:
        server.run("xrandr", "--newmode", "small", "1", "200", "0", "0", "200", "150", "0", "0", "150")
        server.run("xrandr", "--addmode", "screen", "small")
        connection, engine = await connect_x11(server.name), Engine()
        for mode, size in (("320x240", SIZE), ("small", Size(200, 150)), ("320x240", SIZE)):
            server.run("xrandr", "--output", "screen", "--mode", mode)
            paint.fill(whole(size), 0x123456)
            await follow(connection, engine, paint.truth())
            assert engine.size == size
        await connection.close()


@pytest.fixture
def two_monitors(server: XServer) -> Iterator[None]:
    server.run("xrandr", "--setmonitor", "left", "120/10x240/10+0+0", "screen")
    server.run("xrandr", "--setmonitor", "right", "200/10x200/10+120+40", "none")
    yield
    for name in ("left", "right"):
        server.run("xrandr", "--delmonitor", name)


async def test_monitors_can_be_looked_at_one_by_one(two_monitors: None, server: XServer, paint: Painter) -> None:
    paint.fill(whole(SIZE), 0)
    paint.fill(Rect(120, 40, 1, 1), 0xFFFFFF)
    paint.display.sync()
    connection = await connect_x11(server.name)
    both = (Display(1, 0, 0, 120, 240), Display(2, 120, 40, 200, 200))
    update = await next_update(connection)
    assert update.displays == Displays(both, ALL_DISPLAYS) and update.frame.size == SIZE
    connection.source.show_display(2)
    update = await next_update(connection)
    assert update.displays == Displays(both, 2) and update.frame.size == (200, 200)
    assert update.damage == (Rect(0, 0, 200, 200),) and update.frame.pixels[0, 0, 0] == 255
    assert (update.frame.pixels[:, :, :3] == paint.truth()[40:, 120:]).all()
    paint.fill(Rect(110, 50, 20, 5), 0xFF)
    paint.display.flush()
    while not (update := await next_update(connection)).damage:
        pass
    assert update.damage == (Rect(0, 10, 10, 5),) and update.displays is None
    connection.source.show_display(99)
    assert (await next_update(connection)).frame.size == SIZE
    await connection.close()


async def test_a_monitor_that_is_taken_away_leaves_everything_shown(server: XServer, paint: Painter) -> None:
    server.run("xrandr", "--setmonitor", "left", "120/10x240/10+0+0", "screen")
    server.run("xrandr", "--setmonitor", "right", "200/10x200/10+120+40", "none")
    connection = await connect_x11(server.name)
    await next_update(connection)
    connection.source.show_display(1)
    assert (await next_update(connection)).frame.size == (120, 240)
    for name in ("left", "right"):
        server.run("xrandr", "--delmonitor", name)
    while (update := await next_update(connection)).frame.size != SIZE:
        pass
    assert update.displays is not None and update.displays.selected == ALL_DISPLAYS
    await connection.close()


# --- the pointer and the lamps ---


class NameCursor(rq.Request):
    """XFIXES 23, as libXcursor calls it for each cursor it loads."""

    _request = rq.Struct(
        rq.Card8("opcode"), rq.Opcode(23), rq.RequestLength(), rq.Card32("cursor"), rq.LengthOf("name", 2), rq.Pad(2),
        rq.String8("name"),
    )  # fmt: skip


def show_cursor(paint: Painter, name: str, *, blank: bool = False) -> None:
    image = paint.root.create_pixmap(8, 8, 1)
    gc = image.create_gc(foreground=0 if blank else 1)
    image.fill_rectangle(gc, 0, 0, 8, 8)
    cursor = image.create_cursor(image, (0, 0, 0), (65535, 65535, 65535), 0, 0)
    if name:
        xfixes.query_version(paint.display)
        opcode = paint.display.display.get_extension_major("XFIXES")
        NameCursor(display=paint.display.display, opcode=opcode, cursor=cursor.id, name=name)
    paint.root.change_attributes(cursor=cursor)
    paint.display.sync()


async def cursor_of(connection: X11Connection) -> CursorShape:
    while (cursor := (await next_update(connection)).cursor) is None:
        pass
    return cursor


async def test_the_pointers_shape_is_known_by_its_name(x11: X11Connection, paint: Painter) -> None:
    shapes = [("xterm", CursorShape.TEXT), ("hand2", CursorShape.POINTER), ("something", CursorShape.ARROW)]
    for name, shape in shapes:
        show_cursor(paint, name)
        assert (await cursor_of(x11)) == shape
    show_cursor(paint, "watch", blank=True)
    assert (await cursor_of(x11)) == CursorShape.NONE
    show_cursor(paint, "")
    assert (await cursor_of(x11)) == CursorShape.ARROW


async def pointer_of(connection: X11Connection) -> PointerPicture:
    while (pointer := (await next_update(connection)).pointer) is None:
        pass
    return pointer


async def test_the_pointers_pixels_are_told_as_they_are(x11: X11Connection, paint: Painter) -> None:
    words = np.array([[0xFFFF8000, 0x80804000, 0x40000000], [0x00000000, 0x01010000, 0xFFFFFFFF]], np.uint32)
    show_image(paint, words, 2, 1)
    rgba = bytes.fromhex("ff8000ff ff800080 00000040  00000000 ff000001 ffffffff")
    assert (await pointer_of(x11)) == PointerPicture(3, 2, 2, 1, rgba)


async def test_another_pointer_is_told_with_its_shape_and_alone(x11: X11Connection, paint: Painter) -> None:
    show_image(paint, np.full((3, 5), 0xFF102030, np.uint32), 0, 0)
    assert (await pointer_of(x11)).rgba == b"\x10\x20\x30\xff" * 15
    show_cursor(paint, "xterm")
    update = await next_update(x11)
    assert update.cursor == CursorShape.TEXT and not update.damage
    assert update.pointer == PointerPicture(8, 8, 0, 0, b"\x00\x00\x00\xff" * 64)
    paint.fill(Rect(0, 0, 5, 5), 0x010203)
    paint.display.flush()
    update = await next_update(x11)
    assert update.damage and update.pointer is None and update.cursor is None


async def test_a_pointer_of_the_cursor_font_is_black_with_a_white_edge(x11: X11Connection, paint: Painter) -> None:
    font = paint.display.open_font("cursor")
    crosshair = 34  # cursorfont.h; its mask is the glyph after it
    cursor = font.create_glyph_cursor(font, crosshair, crosshair + 1, (0, 0, 0), (65535, 65535, 65535))
    paint.root.change_attributes(cursor=cursor)
    paint.display.sync()
    pointer = await pointer_of(x11)
    pixels = np.frombuffer(pointer.rgba, np.uint8).reshape(pointer.height, pointer.width, 4)
    black, white, nothing = (0, 0, 0, 255), (255, 255, 255, 255), (0, 0, 0, 0)
    assert {tuple(pixel) for pixel in pixels.reshape(-1, 4).tolist()} == {black, white, nothing}
    assert tuple(pixels[pointer.hot_y, 0]) in (black, white)  # the bar across is where it points
    assert tuple(pixels[0, 0]) == nothing


async def test_a_pointer_whose_maker_has_left_is_unknown(x11: X11Connection, paint: Painter, server: XServer) -> None:
    show_cursor(paint, "xterm")
    assert (await next_update(x11)).cursor == CursorShape.TEXT
    server.run("xsetroot", "-cursor_name", "watch")
    update = await next_update(x11)
    assert update.cursor == CursorShape.ARROW and update.pointer == UNKNOWN


async def test_a_pointer_nobody_sees_and_one_too_large(x11: X11Connection, paint: Painter) -> None:
    show_image(paint, np.zeros((4, 4), np.uint32), 0, 0)
    update = await next_update(x11)
    assert update.cursor == CursorShape.NONE and update.pointer == PointerPicture(4, 4, 0, 0, bytes(64))
    show_image(paint, np.full((257, 20), 0xFFFFFFFF, np.uint32), 0, 0)
    update = await next_update(x11)
    assert update.cursor == CursorShape.ARROW and update.pointer == UNKNOWN


async def test_a_server_without_xfixes_says_nothing_of_the_pointer() -> None:
    with x_server("-extension", "XFIXES") as other:
        connection = await connect_x11(other.name)
        update = await next_update(connection)
        assert update.pointer is None and update.cursor is None
        await connection.close()


async def test_the_lamps_are_told_of(x11: X11Connection) -> None:
    for lit in (CAPS_LOCK, 0):
        for down in (True, False):
            await x11.sink.perform(PressKey(0x14, False, down))
        while (update := await next_update(x11)).lock_keys is None:
            pass
        assert update.lock_keys == lit


# --- an endpoint ---


async def test_viewers_follow_and_hear_when_the_server_goes() -> None:
    with x_server() as server, painter(server) as paint:
        server.run("xrandr", "--setmonitor", "left", "120/10x240/10+0+0", "screen")
        server.run("xrandr", "--setmonitor", "right", "200/10x200/10+120+40", "none")
        connection = await connect_x11(server.name)
        endpoint = Endpoint(connection.source, connection.sink, encoder=RawEncoder())
        viewers = [Onlooker(), Onlooker()]
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(endpoint.run())
            for viewer in viewers:
                tasks.create_task(endpoint.serve(viewer))
            for n in range(20):
                paint.fill(Rect(n * 10, n * 7, 40, 30), 0xFFFFFF - n)
                paint.display.flush()
                await asyncio.sleep(0.005)
            truth = paint.truth()
            await until(
                lambda: all(v.canvas.shape[:2] == (240, 320) and (v.canvas[:, :, :3] == truth).all() for v in viewers)
            )
            assert viewers[0].of(wire.DisplayList) == [wire.DisplayList((1, 2, ALL_DISPLAYS), ALL_DISPLAYS)]
            assert len(viewers[1].of(wire.DisplayInfo)) == 1
            server.kill()
            await run
        assert [viewer.closed for viewer in viewers] == [(1001, "the X server closed the connection")] * 2
        assert isinstance(await connection.source.next_update(), SourceEnded)
        await connection.close()


# --- what cannot be ---


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # see x11_display.opened
async def test_no_server_is_said_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StateError, match="no X server at :4242") as caught:
        await connect_x11(":4242")
    assert caught.value.hint
    for name in ("nonsense", ":99999"):
        with pytest.raises(StateError, match=f"no X server at {name}"):
            await connect_x11(name)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(StateError, match="no X11 display is set") as caught:
        await connect_x11()
    assert "--display" in (caught.value.hint or "")


async def test_display_names_the_server_unless_another_is_named(
    server: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", server.name)
    connection = await connect_x11()
    assert (await next_update(connection)).frame.size == SIZE
    await connection.close()


async def test_a_server_that_does_not_let_us_in(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = authority(tmp_path / "theirs")
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "none"))
    with x_server("-auth", str(theirs)) as server:
        with pytest.raises(NotPermitted, match="refuses the connection") as caught:
            await connect_x11(server.name)
        assert "XAUTHORITY" in (caught.value.hint or "")
        monkeypatch.setenv("XAUTHORITY", str(theirs))
        connection = await connect_x11(server.name)
        await connection.close()


async def test_a_screen_of_another_depth_is_refused() -> None:
    with x_server(screen="320x240x16") as server, pytest.raises(StateError, match="depth 16, but 24 is needed"):
        await connect_x11(server.name)


async def test_a_server_without_xtest_is_refused() -> None:
    with x_server("-extension", "XTEST") as server, pytest.raises(StateError, match="no XTEST"):
        await connect_x11(server.name)


async def test_a_server_that_hangs_hangs_nobody() -> None:
    with x_server() as server:
        connection = await connect_x11(server.name)
        await next_update(connection)
        server.kill(signal.SIGSTOP)
        with pytest.raises(DeadlineError, match=r"did not answer within 0\.2 s"):
            await connect_x11(server.name, timeout_s=0.2)
        connection.source.show_display(1)
        await nothing_comes(connection)
        await connection.close()
        assert isinstance(await connection.source.next_update(), SourceEnded)


async def test_a_program_that_has_the_server_for_itself_does_not_freeze_the_picture(
    x11: X11Connection, paint: Painter
) -> None:
    request.GrabServer(display=paint.display.display)
    paint.open(Rect(5, 5, 10, 10), 0xFF)
    paint.display.sync()
    assert (await next_update(x11)).damage == (Rect(5, 5, 10, 10),)
    request.UngrabServer(display=paint.display.display)
    paint.display.sync()


async def test_nothing_stays_behind(server: XServer) -> None:
    gc.collect()
    segments = set(_segments())
    fds = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        connection = await connect_x11(server.name)
        update = await next_update(connection)
        assert total_area(update.damage) == SIZE.width * SIZE.height
        del update
        await connection.close()
    gc.collect()
    assert set(_segments()) <= segments and len(os.listdir("/proc/self/fd")) == fds


def _segments() -> list[str]:
    with open("/proc/sysvipc/shm") as table:
        return [line.split()[1] for line in table if f" {os.getpid()} " in line]
