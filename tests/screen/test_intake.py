from __future__ import annotations

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
)
from pommel.screen.geometry import Size
from pommel.screen.hold import Hold
from pommel.screen.intake import MESHCENTRAL_NOTCH, Intake
from pommel.screen.scaling import Scaling
from pommel.wire import messages as wire
from pommel.wire import mouse
from pommel.wire.mouse import TURN_MOST

PLAIN = Scaling(Size(1000, 800), 1024)


def actions(*commands: wire.Command, scaling: Scaling = PLAIN, notch: int = 120) -> list[Action]:
    intake = Intake(Hold(), wheel_notch=notch)
    return [action for command in commands for action in intake.actions(command, scaling)]


def test_keys_are_passed_on_as_they_come() -> None:
    assert actions(wire.Key(65, True), wire.Key(65, True), wire.Key(65, False), wire.Key(0x5B, True, True)) == [
        PressKey(65, False, True),
        PressKey(65, False, True),
        PressKey(65, False, False),
        PressKey(0x5B, True, True),
    ]


def test_keys_that_type_are_marked_for_a_viewer_that_names_them_by_legend() -> None:
    intake = Intake(Hold())
    intake.by_legend = True
    assert intake.actions(wire.Key(65, True), PLAIN) == [PressKey(65, False, True, legend=True)]
    assert intake.actions(wire.Key(0x10, True), PLAIN) == [PressKey(0x10, False, True)]
    assert intake.leave() == [PressKey(0x10, False, False), PressKey(65, False, False, legend=True)]


@pytest.mark.parametrize(
    ("down", "up", "bit"),
    [
        (wire.LEFT_DOWN, wire.LEFT_UP, LEFT),
        (wire.RIGHT_DOWN, wire.RIGHT_UP, RIGHT),
        (wire.MIDDLE_DOWN, wire.MIDDLE_UP, MIDDLE),
    ],
)
def test_buttons_go_down_and_up_where_they_are(down: int, up: int, bit: int) -> None:
    assert actions(wire.Mouse(3, 4, down), wire.Mouse(9, 9), wire.Mouse(5, 6, up)) == [
        MovePointer(3, 4, bit),
        MovePointer(9, 9, bit),
        MovePointer(5, 6, 0),
    ]


def test_both_in_one_command_are_both_done() -> None:
    assert actions(wire.Mouse(1, 1, wire.LEFT_DOWN | wire.LEFT_UP)) == [MovePointer(1, 1, LEFT), MovePointer(1, 1, 0)]


def test_the_double_click_mark_is_no_click() -> None:
    assert actions(wire.Mouse(1, 1, wire.DOUBLE_CLICK)) == []


def test_places_are_mapped_back_from_the_announced_picture_and_kept_inside() -> None:
    half = Scaling(Size(1000, 800), 512)
    assert actions(wire.Mouse(250, 200), wire.Mouse(65535, 65535), scaling=half) == [
        MovePointer(501, 401, 0),
        MovePointer(999, 799, 0),
    ]


def test_a_wheel_turns_by_steps_as_they_come() -> None:
    turns = [wire.MouseWheel(1, 2, delta) for delta in (60, -1, 300)]
    assert actions(*turns) == [TurnWheel(1, 2, 0, 60), TurnWheel(1, 2, 0, -1), TurnWheel(1, 2, 0, 300)]
    assert actions(wire.Turn(1, 2, -7, 120), wire.Turn(1, 2, 0, 0)) == [TurnWheel(1, 2, 0, -7, 120)]


def test_a_turn_that_is_none_of_a_wheel_is_cut_short() -> None:
    most = TurnWheel(1, 2, 0, TURN_MOST, -TURN_MOST)
    assert actions(wire.Turn(1, 2, 0x7FFF, -0x8000)) == [most]
    assert actions(wire.MouseWheel(1, 2, 0x7FFF)) == [TurnWheel(1, 2, 0, TURN_MOST)]


def test_meshcentrals_page_sends_three_times_as_much_for_one_notch() -> None:
    assert actions(wire.MouseWheel(1, 2, -360), notch=MESHCENTRAL_NOTCH) == [TurnWheel(1, 2, 0, -120)]


@given(st.lists(st.integers(-400, 400), max_size=30))
def test_nothing_of_another_viewers_notch_is_lost(deltas: list[int]) -> None:
    turned = actions(*(wire.MouseWheel(1, 2, delta) for delta in deltas), notch=MESHCENTRAL_NOTCH)
    steps = sum(one.up for one in turned if isinstance(one, TurnWheel))
    assert abs(3 * steps - sum(deltas)) < 3


def test_a_wheel_turned_while_dragging_keeps_the_button_down() -> None:
    assert actions(wire.Mouse(0, 0, wire.LEFT_DOWN), wire.MouseWheel(1, 2, 120))[-1] == TurnWheel(1, 2, LEFT, 120)


def test_back_and_forward_are_buttons_like_others_and_what_is_neither_is_nothing() -> None:
    sides = [wire.SideButton(3, 4, button, True) for button in (mouse.BACK, mouse.FORWARD, 2, 255)]
    assert actions(wire.Mouse(3, 4, wire.LEFT_DOWN), *sides, wire.SideButton(5, 6, mouse.BACK, False)) == [
        MovePointer(3, 4, LEFT),
        MovePointer(3, 4, LEFT | BACK),
        MovePointer(3, 4, LEFT | BACK | FORWARD),
        MovePointer(5, 6, LEFT | FORWARD),
    ]


def test_a_mouse_that_says_how_far_it_moved_presses_after_it() -> None:
    both = wire.LEFT_DOWN | wire.LEFT_UP
    assert actions(wire.MoveBy(-3, 5, 0), wire.MoveBy(1, 0, both), wire.MoveBy(0, 0, wire.DOUBLE_CLICK)) == [
        RelativeMove(-3, 5, 0),
        RelativeMove(1, 0, LEFT),
        RelativeMove(0, 0, 0),
        RelativeMove(0, 0, 0),
    ]
    intake = Intake(Hold())
    intake.actions(wire.MoveBy(1, 1, wire.RIGHT_DOWN), PLAIN)
    intake.actions(wire.SideButton(7, 8, mouse.BACK, True), PLAIN)
    assert intake.leave() == [MovePointer(7, 8, 0)]


def test_ctrl_alt_del_is_a_chord() -> None:
    pressed = actions(wire.CtrlAltDel())
    assert [(one.vk, one.down) for one in pressed] == [  # type: ignore[union-attr]
        (0x11, True), (0x12, True), (0x2E, True), (0x2E, False), (0x12, False), (0x11, False),
    ]  # fmt: skip


@given(st.text(max_size=20))
def test_text_comes_back_from_its_code_units(text: str) -> None:
    data = text.encode("utf-16-be")
    units = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    typed = actions(*(wire.KeyUnicode(unit, down) for unit in units for down in (True, False)))
    assert "".join(one.text for one in typed) == text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("units", "text"),
    [
        ([0xD83D, 0xDE00], "😀"),
        ([0xD83D, 0x61], "\ufffda"),
        ([0xDE00, 0x61], "\ufffda"),
        ([0xD83D, 0xD83D, 0xDE00], "\ufffd😀"),
    ],
)
def test_half_a_pair_is_a_character_that_cannot_be_typed(units: list[int], text: str) -> None:
    typed = actions(*(wire.KeyUnicode(unit, True) for unit in units))
    assert "".join(one.text for one in typed) == text  # type: ignore[union-attr]


def test_leaving_lets_go() -> None:
    intake = Intake(Hold())
    intake.actions(wire.Key(65, True), PLAIN)
    intake.actions(wire.Mouse(7, 8, wire.LEFT_DOWN), PLAIN)
    assert intake.leave() == [PressKey(65, False, False), MovePointer(7, 8, 0)]


def test_other_commands_are_no_input() -> None:
    assert actions(wire.Refresh(), wire.Nop(), wire.Unknown(99, b"")) == []
