"""One action on a machine's keyboard or mouse, for scripts: connect, act, wait for QEMU, disconnect. Band: shell.

Each function returns when QEMU has read the events (it has answered a request that was sent after them). Each releases
every key and button, also after an error.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pommel.errors import DeadlineError, MachineError, UsageError
from pommel.screen import rfb
from pommel.screen import rfb_requests as ask
from pommel.screen.actions import LEFT, MIDDLE, RIGHT, Action, MovePointer, PressKey, TurnWheel, TypeText
from pommel.screen.geometry import Rect, Size
from pommel.screen.rfb_link import RfbLink, open_link
from pommel.screen.sinks.vnc import VncSink
from pommel.wire.keymap import Chord, chord_of, parse_chord, untypable

TIMEOUT_S = 10.0
# How long a chord or a button is held, and the time between two events. QEMU's VNC server handles one key event each
# 10 ms (key-delay-ms); faster events would wait there, and this call would return before they are handled.
HOLD_S = 0.05
STEP_S = 0.02
NOTCH = 120  # the unit of TurnWheel
DRAG_STEPS = 10

_BUTTONS = {"left": LEFT, "middle": MIDDLE, "right": RIGHT}


async def type_text(path: Path, text: str, *, pause_s: float = 0.0) -> None:
    """Type `text` on the machine's US keyboard.

    With `pause_s`, each key is held, and that time passes between two keys. Some firmware and installers lose faster
    keys.

    Raises:
        UsageError: a US keyboard cannot type a character of it; nothing was typed.
        StateError, DeadlineError, MachineError, RfbError: as in `press`.
    """
    if cannot := untypable(text):
        raise UsageError(
            f"cannot type {' '.join(repr(char) for char in cannot)} on a US keyboard",
            hint="paste it through the clipboard instead",
        )
    async with _hands(path) as (sink, _):
        if not pause_s:
            await sink.perform(TypeText(text))
            return
        for char in text:
            await _chord(sink, chord_of(char))
            await asyncio.sleep(pause_s)


async def press(path: Path, chord: str) -> None:
    """Press keys together, such as `cmd-q`, and release them in reverse order.

    Raises:
        UsageError: no key has this name.
        StateError: no machine shows its screen at `path`.
        DeadlineError: QEMU did not confirm it within 10 s.
        MachineError: QEMU ended meanwhile.
        RfbError: the server there cannot be used.
    """
    keys = parse_chord(chord)
    async with _hands(path) as (sink, _):
        await _chord(sink, keys)


async def click(path: Path, x: int, y: int, button: str = "left", count: int = 1) -> None:
    """Move the pointer to x, y of the machine's screen and click `count` times.

    Raises:
        UsageError: the point is not on the screen, or there is no such button.
        StateError, DeadlineError, MachineError, RfbError: as in `press`.
    """
    mask = _mask(button)
    async with _hands(path) as (sink, size):
        _must_be_on(size, x, y)
        await sink.perform(MovePointer(x, y, 0))
        for _ in range(count):
            await asyncio.sleep(STEP_S)
            await _hold(sink, [MovePointer(x, y, mask)], [MovePointer(x, y, 0)])


async def drag(path: Path, start: tuple[int, int], end: tuple[int, int], button: str = "left") -> None:
    """Press the button at `start` of the machine's screen, move to `end`, and release it there.

    Raises:
        UsageError: a point is not on the screen, or there is no such button.
        StateError, DeadlineError, MachineError, RfbError: as in `press`.
    """
    mask = _mask(button)
    async with _hands(path) as (sink, size):
        for x, y in (start, end):
            _must_be_on(size, x, y)
        await sink.perform(MovePointer(*start, 0))
        await asyncio.sleep(STEP_S)
        # In several steps: a system starts a drag only after movements with the button down.
        way: list[Action] = [
            MovePointer(*_between(start, end, part / DRAG_STEPS), mask) for part in range(DRAG_STEPS + 1)
        ]
        await _hold(sink, way, [MovePointer(*end, 0)])


def _between(start: tuple[int, int], end: tuple[int, int], part: float) -> tuple[int, int]:
    return round(start[0] + (end[0] - start[0]) * part), round(start[1] + (end[1] - start[1]) * part)


def _mask(button: str) -> int:
    if (mask := _BUTTONS.get(button)) is None:
        raise UsageError(f"there is no button {button!r}", hint=f"buttons are {', '.join(_BUTTONS)}")
    return mask


def _must_be_on(size: Size, x: int, y: int) -> None:
    if not Rect(x, y, 1, 1).within(size):
        raise UsageError(f"{x}, {y} is not on the screen, which has {size.width}×{size.height} pixels")


async def _chord(sink: VncSink, keys: Chord) -> None:
    downs: list[Action] = [PressKey(vk, extended, True) for vk, extended in keys]
    ups: list[Action] = [PressKey(vk, extended, False) for vk, extended in reversed(keys)]
    await _hold(sink, downs, ups)


async def scroll(path: Path, x: int, y: int, up: int = 0, right: int = 0) -> None:
    """Move the pointer to x, y of the machine's screen and turn the wheel by notches; negative values: down and left.

    Raises:
        UsageError: the point is not on the screen.
        StateError, DeadlineError, MachineError, RfbError: as in `press`.
    """
    async with _hands(path) as (sink, size):
        _must_be_on(size, x, y)
        await sink.perform(MovePointer(x, y, 0))
        await asyncio.sleep(STEP_S)
        await sink.perform(TurnWheel(x, y, 0, NOTCH * up, NOTCH * right))


async def _hold(sink: VncSink, downs: list[Action], ups: list[Action]) -> None:
    try:
        for down in downs:
            await sink.perform(down)
            await asyncio.sleep(STEP_S)
        await asyncio.sleep(HOLD_S)
        while ups:
            await sink.perform(ups.pop(0))
            await asyncio.sleep(STEP_S)
    finally:  # without an await: even after Ctrl-C, no key must stay down
        sink.release(ups)


@contextlib.asynccontextmanager
async def _hands(path: Path) -> AsyncIterator[tuple[VncSink, Size]]:
    link = await open_link(path, timeout_s=TIMEOUT_S)
    try:
        yield VncSink(link), link.client.frame.size
        await _settle(link)
    finally:
        await link.close()


async def _settle(link: RfbLink) -> None:
    """Wait for the answer to a last request: the server handles messages in order, so it has then read all of them."""
    answered = asyncio.Event()

    def heard(event: rfb.Event) -> None:
        if isinstance(event, rfb.Updated):
            answered.set()

    link.on_event, link.on_end = heard, answered.set
    link.write(ask.update_request(Rect(0, 0, 1, 1), incremental=False))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while link.ended is None and not answered.is_set():
                await answered.wait()
    except TimeoutError:
        raise DeadlineError(f"the machine did not accept the input within {TIMEOUT_S:g} s") from None
    if link.ended is not None:
        raise MachineError(f"the machine may not have received the input: {link.ended}")
