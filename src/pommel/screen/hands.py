"""One act on a machine's keyboard or mouse, for scripts: connect, act, make sure, part. Band: shell.

Each function returns when QEMU has taken the events (its answer to a request sent after them says so), and lets go of
every key and button whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pommel.errors import DeadlineError, MachineError, UsageError
from pommel.screen import rfb
from pommel.screen import rfb_requests as ask
from pommel.screen.actions import LEFT, MIDDLE, RIGHT, Action, MovePointer, PressKey, TypeText
from pommel.screen.geometry import Rect, Size
from pommel.screen.rfb_link import RfbLink, open_link
from pommel.screen.sinks.vnc import VncSink
from pommel.wire.keymap import parse_chord, untypable

TIMEOUT_S = 10.0
# How long a chord or a button is held, and the time between two events. QEMU's VNC server gives each key event 10 ms
# (its key-delay-ms) and keeps those that come faster for later, when this call would be over.
HOLD_S = 0.05
STEP_S = 0.02

_BUTTONS = {"left": LEFT, "middle": MIDDLE, "right": RIGHT}


async def type_text(path: Path, text: str) -> None:
    """Type `text` on the machine's US keyboard.

    Raises:
        UsageError: it has characters that no key types; nothing was typed.
        StateError, DeadlineError, MachineError, RfbError: as in `press`.
    """
    if cannot := untypable(text):
        raise UsageError(
            f"cannot type {' '.join(repr(char) for char in cannot)} on a US keyboard",
            hint="paste it through the clipboard instead",
        )
    async with _hands(path) as (sink, _):
        await sink.perform(TypeText(text))


async def press(path: Path, chord: str) -> None:
    """Press keys together, such as `cmd-q`, and let them go in reverse order.

    Raises:
        UsageError: no key is called so.
        StateError: no machine shows its screen at `path`.
        DeadlineError: QEMU did not take it within 10 s.
        MachineError: QEMU went away meanwhile.
        RfbError: what listens there cannot be used.
    """
    keys = parse_chord(chord)
    async with _hands(path) as (sink, _):
        downs: list[Action] = [PressKey(vk, extended, True) for vk, extended in keys]
        ups: list[Action] = [PressKey(vk, extended, False) for vk, extended in reversed(keys)]
        await _hold(sink, downs, ups)


async def click(path: Path, x: int, y: int, button: str = "left", count: int = 1) -> None:
    """Put the pointer at x, y of the machine's screen and click `count` times.

    Raises:
        UsageError: there is no such place or button.
        StateError, DeadlineError, MachineError, RfbError: as in `press`.
    """
    mask = _BUTTONS.get(button)
    if mask is None:
        raise UsageError(f"there is no button {button!r}", hint=f"buttons are {', '.join(_BUTTONS)}")
    async with _hands(path) as (sink, size):
        if not Rect(x, y, 1, 1).within(size):
            raise UsageError(f"{x}, {y} is not on the screen, which has {size.width}×{size.height} pixels")
        await sink.perform(MovePointer(x, y, 0))
        for _ in range(count):
            await asyncio.sleep(STEP_S)
            await _hold(sink, [MovePointer(x, y, mask)], [MovePointer(x, y, 0)])


async def _hold(sink: VncSink, downs: list[Action], ups: list[Action]) -> None:
    try:
        for down in downs:
            await sink.perform(down)
            await asyncio.sleep(STEP_S)
        await asyncio.sleep(HOLD_S)
        while ups:
            await sink.perform(ups.pop(0))
            await asyncio.sleep(STEP_S)
    finally:  # at once and without waiting: Ctrl-C must not leave a key down
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
    """Wait until the server has answered what it was asked after everything else."""
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
