from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pommel.errors import MachineError, StateError, UsageError
from pommel.screen import hands
from waits import until

from . import rfb_bytes as says
from .bare_qemu import BareQemu


async def test_text_is_understood_by_the_guest(qemu: BareQemu) -> None:
    await hands.type_text(qemu.vnc, 'echo "Hi, {you}" > ~/x_1\n')
    await until(lambda: qemu.typed().endswith("\r"))
    assert qemu.typed() == 'echo "Hi, {you}" > ~/x_1\r'


async def test_text_at_a_pace_has_each_key_held_and_is_the_same_text(qemu: BareQemu) -> None:
    began = asyncio.get_running_loop().time()
    await hands.type_text(qemu.vnc, "sh /V L\n", pause_s=0.05)
    took_s = asyncio.get_running_loop().time() - began
    await until(lambda: qemu.typed().endswith("\r"))
    assert qemu.typed() == "sh /V L\r" and took_s >= 8 * (0.05 + hands.HOLD_S)


async def test_what_cannot_be_typed_is_said_before_anything_is(qemu: BareQemu) -> None:
    with pytest.raises(UsageError, match="cannot type 'é' '√' on a US keyboard") as caught:
        await hands.type_text(qemu.vnc, "aé√é")
    assert caught.value.hint
    await hands.press(qemu.vnc, "b")
    assert qemu.typed() == "b"


async def test_a_chord_goes_down_in_order_and_up_in_reverse_before_the_call_returns(qemu: BareQemu) -> None:
    await hands.press(qemu.vnc, "ctrl-alt-f1")
    assert qemu.input_log() == ["key ctrl +", "key alt +", "key f1 +", "key f1 -", "key alt -", "key ctrl -"]


async def test_acts_one_after_the_other_do_not_disturb_each_other(qemu: BareQemu) -> None:
    # QEMU releases all keys when a client goes: the next one's Shift must come after that.
    for _ in range(5):
        await hands.type_text(qemu.vnc, "H")
    assert qemu.input_log() == ["key shift +", "key h +", "key h -", "key shift -"] * 5


async def test_clicks_are_clicks(qemu: BareQemu) -> None:
    await hands.click(qemu.vnc, 100, 50, "right", 2)
    log = [line for line in qemu.input_log() if line.startswith("btn")]
    assert log == ["btn right +", "btn right -"] * 2


async def test_a_drag_holds_its_button_all_the_way_and_releases_it_at_the_end(qemu: BareQemu) -> None:
    await hands.drag(qemu.vnc, (100, 50), (300, 250))
    log = qemu.input_log()
    down, up = log.index("btn left +"), log.index("btn left -")
    moved = [line for line in log[down:up] if not line.startswith("btn")]
    assert [line for line in log if line.startswith("btn")] == ["btn left +", "btn left -"]
    assert len(moved) >= 2 * hands.DRAG_STEPS
    assert not any(line.startswith("rel") and not line.endswith(" 0") for line in log[up:])
    with pytest.raises(UsageError, match="not on the screen"):
        await hands.drag(qemu.vnc, (100, 50), (9999, 50))


async def test_the_wheel_turns_up_down_and_sideways(qemu: BareQemu) -> None:
    await hands.scroll(qemu.vnc, 100, 50, 2)
    await hands.scroll(qemu.vnc, 100, 50, -1)
    wheel = [line for line in qemu.input_log() if "wheel" in line]
    assert wheel == ["btn wheel-up +", "btn wheel-up -"] * 2 + ["btn wheel-down +", "btn wheel-down -"]


@pytest.mark.parametrize(
    ("x", "y", "button", "said"), [(720, 0, "left", "720×400"), (0, -1, "left", "not on"), (0, 0, "thumb", "no button")]
)
async def test_places_and_buttons_that_are_not_there_are_refused(
    qemu: BareQemu, x: int, y: int, button: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await hands.click(qemu.vnc, x, y, button)
    assert not any(line.startswith("btn") for line in qemu.input_log())


async def test_a_chord_that_is_cancelled_leaves_no_key_down(qemu: BareQemu) -> None:
    async with asyncio.TaskGroup() as tasks:
        pressing = tasks.create_task(hands.press(qemu.vnc, "shift-a"))
        await until(lambda: "key a +" in qemu.input_log())
        pressing.cancel()
    await until(lambda: qemu.input_log()[-2:] == ["key a -", "key shift -"])


async def test_no_machine_or_no_such_key_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        await hands.press(tmp_path / "none", "a")
    with pytest.raises(UsageError, match="no key called 'hyperx'"):
        await hands.press(tmp_path / "none", "hyperx-a")


async def test_a_machine_that_goes_meanwhile_is_an_error(tmp_path: Path) -> None:
    async def dies(reader, writer) -> None:
        await says.greet(reader, writer, 4, 4)
        await reader.readexactly(24)

    async with says.serving(tmp_path / "s", dies):
        with pytest.raises(MachineError, match="may not have received the input"):
            await hands.press(tmp_path / "s", "a")
