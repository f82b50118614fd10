"""The source and sink of Wayland sessions against a real sway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import pytest

from isolation import patient
from pommel.errors import StateError
from pommel.screen.actions import LEFT, MovePointer, PressKey, TurnWheel, TypeText
from pommel.screen.geometry import Size
from pommel.screen.seams import Displays, SourceEnded, Update
from pommel.screen.sources.wlroots import WlrootsConnection, connect_wlroots
from pommel.screen.wayland.codec import written
from pommel.tasks import start_task
from screen.sway_window import BLUE, GREEN, RED, WHITE, Window, window
from sway import Sway
from waits import until

SIZE = Size(640, 360)
VK_A, VK_SHIFT, VK_CAPITAL = 0x41, 0x10, 0x14
COLOURS = (BLUE, GREEN, RED, WHITE)


@pytest.fixture(scope="module")
def sway() -> Iterator[Sway]:
    made = Sway()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
async def screen(sway: Sway) -> AsyncIterator[WlrootsConnection]:
    sway.message("output HEADLESS-1 mode 640x360, output HEADLESS-1 scale 1, output HEADLESS-1 transform normal")
    connection = await connect_wlroots(sway.display, str(sway.runtime), timeout_s=patient(10))
    yield connection
    await connection.close()


@pytest.fixture
async def shown(sway: Sway, screen: WlrootsConnection) -> AsyncIterator[Window]:
    """A window that is on the screen."""
    async with window(sway) as one:
        await frame(screen, lambda update: corners(update) == COLOURS)
        yield one


async def frame(connection: WlrootsConnection, good: Callable[[Update], bool]) -> Update:
    """Take updates until one is as wanted."""
    seen: list[object] = []
    try:
        async with asyncio.timeout(patient(15)):
            while True:
                update = await connection.source.next_update()
                assert isinstance(update, Update), update
                seen.append((update.frame.size, corners(update), update.displays))
                if good(update):
                    return update
    except TimeoutError:
        pytest.fail(f"no such frame came, but {seen[-3:]}")


def corners(update: Update) -> tuple[tuple[int, ...], ...]:
    """The colours of the four corners, in the order of `COLOURS`, away from the pointer in the middle."""
    pixels = update.frame.pixels
    return tuple(tuple(int(part) for part in pixels[row, column, :3]) for row in (4, -5) for column in (4, -5))


async def test_changes_are_shown_and_only_they_are_damage(screen: WlrootsConnection, shown: Window) -> None:
    screen.source.watch(True)
    first = await frame(screen, lambda _: True)
    assert first.frame.size == SIZE
    assert first.damage == ((0, 0, *SIZE),)
    assert screen.source.shows_something(first.frame)
    with pytest.raises(TimeoutError):
        for _ in range(5):  # wlroots counts a taken frame as a change of its own, once
            await asyncio.wait_for(screen.source.next_update(), 0.3)
    shown.paint((RED, GREEN, RED, WHITE))
    await frame(screen, lambda update: corners(update) == (RED, GREEN, RED, WHITE))


async def test_a_turned_scaled_and_resized_output_is_shown_upright(
    sway: Sway, screen: WlrootsConnection, shown: Window
) -> None:
    for transform in ("90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270", "normal"):
        sway.message("output", "HEADLESS-1", "transform", transform)
        size = Size(*reversed(SIZE)) if "90" in transform or "270" in transform else SIZE
        await frame(screen, lambda update, size=size: update.frame.size == size and corners(update) == COLOURS)  # type: ignore[misc]
    sway.message("output HEADLESS-1 scale 1.5, output HEADLESS-1 mode 800x600")
    await frame(screen, lambda update: update.frame.size == (800, 600) and corners(update) == COLOURS)
    before = len(shown.motions)
    await screen.sink.perform(MovePointer(600, 300, 0))
    await until(lambda: len(shown.motions) > before)
    assert np.allclose(shown.motions[-1], (400, 200), atol=1), "the window's units are those of the scale"


async def test_keys_with_modifiers_reach_the_window(screen: WlrootsConnection, shown: Window) -> None:
    shift, a = PressKey(VK_SHIFT, False, True), PressKey(VK_A, False, True)
    # A seat without keyboards gets one with the first key, and a program asks for it after that.
    await screen.sink.perform(shift)
    screen.sink.release([PressKey(VK_SHIFT, False, False)])
    await until(lambda: shown.keymaps)
    before = len(shown.keys)
    await screen.sink.perform(shift)
    await screen.sink.perform(a)
    await until(lambda: (30, 1) in shown.keys[before:])
    assert shown.modifiers[-1] == (1, 0)
    screen.sink.release([PressKey(VK_A, False, False), PressKey(VK_SHIFT, False, False)])
    await until(lambda: shown.modifiers[-1] == (0, 0) and shown.keys[-1] == (42, 0))
    for down in (True, False):
        await screen.sink.perform(PressKey(VK_CAPITAL, False, down))
    await until(lambda: shown.modifiers[-1] == (0, 2))
    for down in (True, False):
        await screen.sink.perform(PressKey(VK_CAPITAL, False, down))
    await until(lambda: shown.modifiers[-1] == (0, 0))
    assert await screen.sink.perform(PressKey(0xFE, False, True)) == "[key 0xfe]"


async def test_text_of_any_script_is_typed_and_the_keymap_comes_back(screen: WlrootsConnection, shown: Window) -> None:
    await screen.sink.perform(TypeText("x"))
    await until(lambda: shown.keymaps)
    seen = len(shown.keymaps)
    assert await screen.sink.perform(TypeText("漢字漢\x07")) == "\x07"
    await until(lambda: shown.keys[-6:] == [(code, down) for code in (120, 121, 120) for down in (1, 0)])
    await until(lambda: len(shown.keymaps) >= seen + 2)
    assert "U6F22" in "".join(shown.keymaps[seen:])
    assert "AC01" in shown.keymaps[-1], "the seat's own map is back"


async def test_the_pointer_its_buttons_and_its_wheel(screen: WlrootsConnection, shown: Window) -> None:
    await screen.sink.perform(MovePointer(10, 20, 0))
    await screen.sink.perform(MovePointer(100, 50, LEFT))
    await until(lambda: (0x110, 1) in shown.buttons)
    assert np.allclose(shown.motions[-1], (100, 50), atol=1)
    await screen.sink.perform(TurnWheel(100, 50, LEFT, -240))
    await until(lambda: shown.notches)
    assert (0, 2) in shown.notches


async def test_who_disconnects_lets_go(sway: Sway, screen: WlrootsConnection, shown: Window) -> None:
    other = await connect_wlroots(str(sway.runtime / sway.display), timeout_s=patient(10))
    await other.sink.perform(MovePointer(100, 50, LEFT))
    await until(lambda: (0x110, 1) in shown.buttons)
    files = len(os.listdir("/proc/self/fd"))
    await other.close()
    await until(lambda: (0x110, 0) in shown.buttons)
    assert len(os.listdir("/proc/self/fd")) == files - 1


async def test_a_second_output_is_chosen_and_goes(sway: Sway, screen: WlrootsConnection, shown: Window) -> None:
    sway.message("create_output")
    told = await frame(screen, lambda update: update.displays is not None)
    assert told.displays is not None
    assert [one.id for one in told.displays.all] == [1, 2]
    assert told.displays.selected == 1
    screen.source.show_display(2)
    second = await frame(screen, lambda update: update.displays is not None and update.displays.selected == 2)
    assert second.frame.size == (told.displays.all[1].width, told.displays.all[1].height)
    # sway 1.7 refuses to end a headless output ("Failed to commit output"): this event is ours, the rest is real.
    wire = screen.source._connection
    wire._event(wire._registry.number, 1, written("u", screen.source.outputs.shown or 0))
    gone = await frame(screen, lambda update: update.displays == Displays())
    assert corners(gone) == COLOURS


async def test_a_compositor_that_dies_is_the_end() -> None:
    sway = Sway()
    try:
        connection = await connect_wlroots(sway.display, str(sway.runtime), timeout_s=patient(10))
        await frame(connection, lambda _: True)
        waiting = start_task(connection.source.next_update())
        sway.child.kill()
        ended = await asyncio.wait_for(waiting, patient(15))
        assert ended == SourceEnded("the Wayland compositor has ended")
        assert await connection.until_ended() == ended.reason
        assert await connection.sink.perform(MovePointer(1, 1, LEFT)) == ""
        await connection.close()
    finally:
        sway.close()


async def test_no_compositor_is_told() -> None:
    with pytest.raises(StateError, match="there is no Wayland compositor at /nonexistent/wayland-9"):
        await connect_wlroots("wayland-9")
