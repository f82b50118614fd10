"""Keys on a real X server under the layouts of a dozen countries: each is pressed where it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from Xlib import X
from Xlib.protocol.event import KeyPress

from isolation import patient
from pommel.screen.actions import PressKey, TypeText
from pommel.screen.geometry import Rect
from pommel.screen.sinks.x11_keys import keysym
from pommel.screen.sources.x11 import X11Connection, connect_x11
from pommel.wire.keymap import KEYBOARD, LOCK_KEYS
from screen.x_server import Painter, XServer, painter, x_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Layout and variant; "" is none.
LAYOUTS = [
    ("us", ""), ("us", "intl"), ("us", "dvorak"), ("us", "colemak"), ("de", ""), ("de", "neo"), ("fr", ""), ("fr", "bepo"),
    ("gb", ""), ("es", ""), ("it", ""), ("se", ""), ("ru", ""), ("jp", ""), ("br", ""), ("ch", ""), ("ch", "fr"),
    ("tr", ""), ("tr", "f"), ("pl", ""), ("us,ru", ","),
]  # fmt: skip
# A place, by its virtual key, and the character that AltGr makes of it.
ALT_GR = [
    ("de", "", 0x51, "@"),
    ("pl", "", 0x41, "ą"),
    ("es", "", 0x45, "€"),
    ("fr", "", 0x30, "@"),
    ("gb", "", 0x34, "€"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with x_server() as one:
        yield one


@pytest.fixture(scope="module")
def window(server: XServer) -> Iterator[Painter]:
    with painter(server) as one:
        only = one.open(Rect(0, 0, 320, 240), 0xFFFFFF, events=X.KeyPressMask)
        one.display.sync()
        only.set_input_focus(X.RevertToParent, X.CurrentTime)
        one.display.sync()
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def x11(server: XServer) -> AsyncIterator[X11Connection]:
    connection = await connect_x11(server.name)
    yield connection
    await connection.close()


async def use(server: XServer, x11: X11Connection, layout: str, variant: str) -> None:
    server.run("setxkbmap", "-layout", layout, "-variant", variant, "-option", "")
    await x11.sink.perform(TypeText(""))  # the connection's thread has read what the server said of it


async def pressed(x11: X11Connection, paint: Painter, *keys: PressKey) -> list[KeyPress]:
    """What the window gets of these keys, pressed together and let go of."""
    for key in keys:
        assert await x11.sink.perform(key) == ""
    for key in reversed(keys):
        await x11.sink.perform(PressKey(key.vk, key.extended, False, key.legend))
    got: list[KeyPress] = []
    async with asyncio.timeout(patient(10)):
        while len(got) < len(keys):
            paint.display.sync()
            events = [paint.display.next_event() for _ in range(paint.display.pending_events())]
            got += [event for event in events if event.type == X.KeyPress]
            await asyncio.sleep(0)
    return got


@pytest.mark.parametrize(("layout", "variant"), LAYOUTS)
async def test_every_key_is_pressed_where_it_is(
    server: XServer, x11: X11Connection, window: Painter, layout: str, variant: str
) -> None:
    await use(server, x11, layout, variant)
    wrong = {}
    for key in KEYBOARD:
        if key.vk in LOCK_KEYS:  # they would stay on
            continue
        (got,) = await pressed(x11, window, PressKey(key.vk, key.extended, True))
        if got.detail != key.evdev + 8:
            wrong[key.code] = got.detail
    assert wrong == {}


@pytest.mark.parametrize(("layout", "variant", "vk", "char"), ALT_GR)
async def test_alt_gr_is_what_the_layout_makes_of_it(
    server: XServer, x11: X11Connection, window: Painter, layout: str, variant: str, vk: int, char: str
) -> None:
    await use(server, x11, layout, variant)
    alt_gr, key = await pressed(x11, window, PressKey(0xE1, False, True), PressKey(vk, False, True))
    assert alt_gr.detail == 108 and key.state & X.Mod5Mask
    legacy = {"ą": 0x1B1, "€": 0x20AC}
    assert window.display.get_keyboard_mapping(key.detail, 1)[0][4] == legacy.get(char, keysym(char))


@pytest.mark.parametrize(
    ("layout", "variant", "vk", "place"),
    [
        ("fr", "", 0x41, "KeyQ"), ("fr", "", 0x31, "Digit1"), ("fr", "", 0xBC, "KeyM"), ("de", "", 0x5A, "KeyY"),
        ("de", "", 0xBB, "BracketRight"), ("de", "", 0xBA, "Semicolon"), ("us", "dvorak", 0x43, "KeyI"),
        ("us", "dvorak", 0xBA, "KeyZ"), ("tr", "f", 0x41, "KeyF"), ("ru", "", 0x43, "KeyC"), ("us", "", 0xE2, "IntlBackslash"),
    ],
)  # fmt: skip
async def test_a_key_by_legend_is_the_one_that_types_it(
    server: XServer, x11: X11Connection, window: Painter, layout: str, variant: str, vk: int, place: str
) -> None:
    await use(server, x11, layout, variant)
    where = {key.code: key.evdev + 8 for key in KEYBOARD}
    (got,) = await pressed(x11, window, PressKey(vk, False, True, legend=True))
    assert got.detail == where[place]


async def test_a_legend_is_looked_up_in_the_layout_that_is_on(
    server: XServer, x11: X11Connection, window: Painter
) -> None:
    server.run("setxkbmap", "-layout", "us,fr", "-variant", ",", "-option", "grp:menu_toggle")
    await x11.sink.perform(TypeText(""))
    a = PressKey(0x41, False, True, legend=True)
    menu = PressKey(0x5D, True, True)
    assert [event.detail for event in await pressed(x11, window, a)] == [38]
    await pressed(x11, window, menu)
    assert [event.detail for event in await pressed(x11, window, a)] == [24]
    await pressed(x11, window, menu)
