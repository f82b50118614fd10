"""Waiting for a real QEMU's screen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from isolation import patient
from pommel.errors import DeadlineError, MachineError, StateError
from pommel.screen import hands
from pommel.screen.conditions import Changed, Rest, Watch
from pommel.screen.geometry import Rect
from pommel.screen.stillness import TOLERANCE
from pommel.screen.watching import until_holds

from . import rfb_bytes as says
from .bare_qemu import BareQemu


async def test_a_screen_that_draws_is_not_at_rest_until_it_ends(qemu: BareQemu) -> None:
    await hands.press(qemu.vnc, "f2")
    await hands.press(qemu.vnc, "f5")  # noise without end, in the upper half
    told: list[str] = []
    with pytest.raises(DeadlineError, match="at rest for 0 s of 1 s"):
        await until_holds(qemu.vnc, Watch(Rest(1, None, TOLERANCE)), 2.0, lambda _, text: told.append(text))
    assert len(told) > 3
    below = await until_holds(qemu.vnc, Watch(Rest(1, Rect(0, 500, 1368, 276), TOLERANCE)), patient(20))
    assert below.seconds >= 1 and below.sight.size == (1368, 776)
    begun, watch = asyncio.Event(), Watch(Rest(1, None, TOLERANCE))
    async with asyncio.TaskGroup() as tasks:
        resting = tasks.create_task(until_holds(qemu.vnc, watch, patient(30), lambda *_: begun.set()))
        await begun.wait()
        await hands.press(qemu.vnc, "a")
    assert resting.result().seconds >= 1 and watch.still_s >= 1


async def test_a_change_is_told_with_its_place_and_a_caret_is_none(qemu: BareQemu) -> None:
    with pytest.raises(DeadlineError, match="% of it has changed"):  # the text's caret blinks
        await until_holds(qemu.vnc, Watch(Changed(0, None, TOLERANCE)), 1.5)
    begun, watch = asyncio.Event(), Watch(Changed(0, None, TOLERANCE))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            until_holds(qemu.vnc, watch, patient(20), lambda _, told: begun.set() if "changed" in told else None)
        )
        await begun.wait()
        await hands.type_text(qemu.vnc, "WWWWWWWWWWWWWWWWWW\n")
    assert watch.where is not None and watch.where.y < 16 and watch.where.height <= 48


async def test_what_can_go_wrong_is_said(qemu: BareQemu, tmp_path: Path) -> None:
    with pytest.raises(DeadlineError, match="the screen has 720×400 pixels, and the region is not on it"):
        await until_holds(qemu.vnc, Watch(Rest(1, Rect(0, 0, 721, 1))), 1.0)
    with pytest.raises(StateError):
        await until_holds(tmp_path / "none", Watch(Rest(1)), 5)

    async def leaves(reader, writer) -> None:
        await says.greet(reader, writer, 4, 4)
        await reader.readexactly(10)

    async with says.serving(tmp_path / "s", leaves):
        with pytest.raises(MachineError, match="the server closed the connection"):
            await until_holds(tmp_path / "s", Watch(Changed()), 5)
