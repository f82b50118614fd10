"""Hands on a stand-in for macOS (`mac`); not on a Mac."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.screen.actions import (
    BACK,
    FORWARD,
    LEFT,
    MIDDLE,
    RIGHT,
    Action,
    MovePointer,
    PressKey,
    RelativeMove,
    TurnWheel,
    TypeText,
)
from pommel.screen.sinks.macos import LINES_PER_NOTCH, MacSink
from pommel.screen.sinks.macos_events import Events
from pommel.screen.sinks.macos_keys import CAPS, COMMAND, CONTROL, FN, KEYPAD, OPTION, SHIFT, CapsLock, Clicks
from pommel.screen.sources.macos_displays import DisplayLayout
from pommel.wire.keymap import KEYBOARD
from screen.mac import Event, FakeDisplay, Mac, Quartz, mac

GENERIC = CAPS | SHIFT | CONTROL | OPTION | COMMAND | KEYPAD | FN


@dataclass
class Desk:
    it: Mac
    sink: MacSink
    now_s: float = 0.0

    def do(self, *actions: Action) -> str:
        async def all_of_them() -> str:
            return "".join([await self.sink.perform(action) for action in actions])

        return asyncio.run(all_of_them())

    def posted(self) -> list[Event]:
        found, self.it.posted[:] = list(self.it.posted), []
        return found

    def strokes(self) -> list[tuple[int, bool, int]]:
        return [(event.key, event.down, event.flags & GENERIC) for event in self.posted()]


def new_desk(it: Mac) -> Desk:
    frameworks = it.frameworks()
    view = DisplayLayout().changed(frameworks.displays()).view
    made = Desk(it, None)  # type: ignore[arg-type]
    made.sink = MacSink(
        frameworks, Events(frameworks), CapsLock(), lambda: view, pace_s=0, clock=lambda: made.now_s
    )  # fmt: skip
    return made


@pytest.fixture
def desk() -> Iterator[Desk]:
    with mac(FakeDisplay(1, -50, 20, 100, 80, 2)) as it:
        yield new_desk(it)


def down(vk: int, extended: bool = False) -> PressKey:
    return PressKey(vk, extended, True)


def up(vk: int, extended: bool = False) -> PressKey:
    return PressKey(vk, extended, False)


# --- keys ---


def test_a_shortcut_names_its_modifiers_on_each_event(desk: Desk) -> None:
    assert desk.do(down(0x5B, True), down(0x43), up(0x43), up(0x5B, True)) == ""
    assert desk.strokes() == [(0x37, True, COMMAND), (0x08, True, COMMAND), (0x08, False, COMMAND), (0x37, False, 0)]


def test_left_and_right_modifiers_differ_in_their_device_bits(desk: Desk) -> None:
    desk.do(down(0xA0), up(0xA0), down(0xA1), up(0xA1), down(0xA5), up(0xA5))
    assert [event.flags for event in desk.posted() if event.down] == [SHIFT | 2, SHIFT | 4, OPTION | 0x40]


def test_arrows_function_keys_and_the_number_pad_have_their_own_flags(desk: Desk) -> None:
    desk.do(down(0x11), down(0x25, True), up(0x25, True), up(0x11), down(0x70), up(0x70), down(0x61), up(0x61))
    assert desk.strokes() == [
        (0x3B, True, CONTROL),
        (0x7B, True, CONTROL | KEYPAD | FN),
        (0x7B, False, CONTROL | KEYPAD | FN),
        (0x3B, False, 0),
        (0x7A, True, FN),
        (0x7A, False, FN),
        (0x53, True, KEYPAD),
        (0x53, False, KEYPAD),
    ]


def test_a_key_that_stays_down_repeats(desk: Desk) -> None:
    desk.do(down(0x41), down(0x41), up(0x41))
    repeat = Quartz.kCGKeyboardEventAutorepeat
    assert [(event.down, event.fields.get(repeat, 0)) for event in desk.posted()] == [(True, 0), (True, 1), (False, 0)]


def test_two_keys_of_a_viewer_that_are_one_on_a_mac(desk: Desk) -> None:
    desk.do(down(0x13), down(0x2C), up(0x13))
    assert [(event.key, event.down) for event in desk.posted()] == [(0x72, True), (0x72, True)]
    desk.do(up(0x2C))
    assert [(event.key, event.down) for event in desk.posted()] == [(0x72, False)]


def test_a_key_that_no_mac_has(desk: Desk) -> None:
    assert desk.do(down(0x91), up(0x91)) == "[key 0x91]"
    assert desk.do(down(0xFE)) == "[key 0xfe]"
    assert desk.posted() == []


def test_a_release_without_a_press_is_nothing(desk: Desk) -> None:
    desk.do(up(0x41))
    assert desk.posted() == []


def test_caps_lock_is_ours_beside_the_macs_own(desk: Desk) -> None:
    desk.do(down(0x14), up(0x14), down(0x41), up(0x41), down(0x14), down(0x41), up(0x41))
    assert [flags for _, _, flags in desk.strokes()] == [CAPS, CAPS, 0, 0]
    desk.it.caps = True
    desk.do(down(0x41), down(0x14), up(0x41))
    assert [flags for _, _, flags in desk.strokes()] == [CAPS, 0]


@pytest.mark.parametrize("key", [key for key in KEYBOARD if key.mac is not None and key.vk != 0x14])
def test_every_key_of_a_mac(desk: Desk, key: object) -> None:
    vk, extended, code = key.vk, key.extended, key.mac  # type: ignore[attr-defined]
    assert desk.do(down(vk, extended), up(vk, extended)) == ""
    assert [(event.key, event.down) for event in desk.posted()] == [(code, True), (code, False)]


# --- text ---


def test_text_is_typed_as_characters_whatever_is_held(desk: Desk) -> None:
    desk.do(down(0x12))
    desk.posted()
    assert desk.do(TypeText("é𝄞\n\t")) == ""
    assert [(event.text, event.key, event.down, event.flags) for event in desk.posted()] == [
        ("é", 0, True, 0), ("é", 0, False, 0), ("𝄞", 0, True, 0), ("𝄞", 0, False, 0),
        ("", 0x24, True, 0), ("", 0x24, False, 0), ("", 0x30, True, 0), ("", 0x30, False, 0),
    ]  # fmt: skip


def test_control_characters_are_told_of(desk: Desk) -> None:
    assert desk.do(TypeText("a\x07b")) == "\x07"


# --- the pointer ---


def kinds(desk: Desk) -> list[tuple[int | str, tuple[float, float], int]]:
    clicks = Quartz.kCGMouseEventClickState
    return [(event.type, event.at, event.fields.get(clicks, 0)) for event in desk.posted()]


def test_pixels_become_points_of_the_desktop(desk: Desk) -> None:
    desk.do(MovePointer(20, 10, 0))
    event = desk.posted()[0]
    assert (event.type, event.at) == (Quartz.kCGEventMouseMoved, (-40, 25))
    assert (event.fields[Quartz.kCGMouseEventDeltaX], event.fields[Quartz.kCGMouseEventDeltaY]) == (-40, 25)


def test_a_drag(desk: Desk) -> None:
    desk.do(MovePointer(0, 0, 0), MovePointer(0, 0, LEFT), MovePointer(40, 0, LEFT), MovePointer(40, 0, 0))
    assert kinds(desk) == [
        (Quartz.kCGEventMouseMoved, (-50, 20), 0),
        (Quartz.kCGEventLeftMouseDown, (-50, 20), 1),
        (Quartz.kCGEventLeftMouseDragged, (-30, 20), 1),
        (Quartz.kCGEventLeftMouseUp, (-30, 20), 1),
    ]


def test_the_other_buttons(desk: Desk) -> None:
    desk.do(
        MovePointer(0, 0, RIGHT | MIDDLE), MovePointer(0, 0, MIDDLE), MovePointer(2, 0, MIDDLE), MovePointer(2, 0, 0)
    )
    assert [(event.type, event.button) for event in desk.posted()] == [
        (Quartz.kCGEventMouseMoved, 0),
        (Quartz.kCGEventRightMouseDown, 1),
        (Quartz.kCGEventOtherMouseDown, 2),
        (Quartz.kCGEventRightMouseUp, 1),
        (Quartz.kCGEventOtherMouseDragged, 2),
        (Quartz.kCGEventOtherMouseUp, 2),
    ]


def test_back_forward_and_movements(desk: Desk) -> None:
    assert desk.sink.has_sides
    desk.do(MovePointer(20, 10, BACK), MovePointer(20, 10, FORWARD), RelativeMove(10, -4, 0))
    assert [(event.type, event.button) for event in desk.posted()] == [
        (Quartz.kCGEventMouseMoved, 0),
        (Quartz.kCGEventOtherMouseDown, 3),
        (Quartz.kCGEventOtherMouseUp, 3),
        (Quartz.kCGEventOtherMouseDown, 4),
        (Quartz.kCGEventOtherMouseDragged, 4),
        (Quartz.kCGEventOtherMouseUp, 4),
    ]
    desk.do(MovePointer(30, 6, 0))
    assert list(desk.posted()) == [], "it is there already"


def click(desk: Desk, x: int, at_s: float, button: int = LEFT) -> list[int]:
    desk.now_s = at_s
    desk.do(MovePointer(x, 0, button), MovePointer(x, 0, 0))
    clicks = Quartz.kCGMouseEventClickState
    return [event.fields[clicks] for event in desk.posted() if event.type != Quartz.kCGEventMouseMoved]


def test_clicks_are_counted(desk: Desk) -> None:
    assert click(desk, 10, 1.0) == [1, 1]
    assert click(desk, 12, 1.2) == [2, 2]
    assert click(desk, 12, 1.5) == [3, 3]
    assert click(desk, 12, 2.5) == [1, 1]
    assert click(desk, 100, 2.6) == [1, 1]
    assert click(desk, 100, 2.7, RIGHT) == [1, 1]


@given(st.lists(st.tuples(st.sampled_from([LEFT, RIGHT]), st.floats(0, 2)), max_size=20))
def test_a_count_goes_up_by_one_or_begins_again(presses: list[tuple[int, float]]) -> None:
    clicks, now, before = Clicks(), 0.0, 0
    for button, pause in presses:
        now += pause
        count = clicks.press(button, (0, 0), now)
        assert count in (1, before + 1)
        before = count


def test_the_wheel(desk: Desk) -> None:
    desk.do(down(0x10), *(TurnWheel(20, 10, 0, *turn) for turn in ((240, 0), (-120, 0), (20, -40), (20, 40))))
    wheel = [event for event in desk.posted() if event.type == "wheel"]
    # Of its second number positive is to the left.
    assert [event.lines for event in wheel] == [(2 * LINES_PER_NOTCH, 0), (-LINES_PER_NOTCH, 0), (0, 1), (1, -1)]
    assert all(event.flags & GENERIC == SHIFT for event in wheel)


# --- letting go, and permission ---

actions = st.one_of(
    st.builds(
        PressKey, st.sampled_from([0x10, 0xA1, 0x41, 0x42, 0x0D, 0x5B, 0x14, 0x6C]), st.booleans(), st.booleans()
    ),
    st.builds(MovePointer, st.integers(-9, 300), st.integers(-9, 300), st.integers(0, 7)),
    st.builds(TurnWheel, st.integers(0, 99), st.integers(0, 99), st.integers(0, 7), st.integers(-2, 2)),
)
UPS = {1: LEFT, 3: RIGHT, 25: MIDDLE}
DOWNS = {2: LEFT, 4: RIGHT, 26: MIDDLE}


@given(st.lists(actions, max_size=25))
def test_nothing_is_held_in_the_end(done: list[Action]) -> None:
    with mac() as it:
        desk = new_desk(it)
        desk.do(*done)
        desk.sink.leave()
        held: set[tuple[str, int]] = set()
        for event in it.posted:
            if event.type == "key":
                what = ("key", event.key)
                (held.add if event.down else held.remove)(what)
            elif event.type in UPS:
                assert ("button", UPS[event.type]) not in held  # type: ignore[index]
                held.add(("button", UPS[event.type]))  # type: ignore[index]
            elif event.type in DOWNS:
                held.remove(("button", DOWNS[event.type]))  # type: ignore[index]
        assert held == set()


def test_release_does_not_wait(desk: Desk) -> None:
    desk.do(down(0x41), MovePointer(0, 0, LEFT))
    desk.posted()
    desk.sink.release([up(0x41), MovePointer(0, 0, 0)])
    assert [event.type for event in desk.posted()] == ["key", Quartz.kCGEventLeftMouseUp]


async def test_text_and_keys_keep_their_order() -> None:
    with mac() as it:
        desk = new_desk(it)
        await asyncio.gather(desk.sink.perform(TypeText("abc")), desk.sink.perform(down(0x41)))
        assert [event.text for event in it.posted if event.down] == ["a", "b", "c", ""]


def test_a_viewer_hears_that_keys_do_nothing_and_where_to_permit_them(desk: Desk) -> None:
    desk.it.accessibility = False
    words = desk.do(down(0x41))
    assert "Accessibility" in words
    assert desk.do(up(0x41)) == ""
    assert "Accessibility" in desk.do(MovePointer(0, 0, LEFT))
    assert desk.do(MovePointer(9, 9, LEFT)) == ""
    assert len(desk.posted()) == 5, "macOS may be wrong: it is tried all the same"
    desk.it.accessibility = True
    desk.now_s += 10
    assert desk.do(down(0x42)) == ""


def test_the_macs_own_mouse_is_not_held_up(desk: Desk) -> None:
    assert desk.sink._events._source.suppression_s == 0
