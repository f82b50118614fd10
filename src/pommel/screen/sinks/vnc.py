"""Hands on QEMU through its VNC server: an `InputSink`. Band: shell.

Everything is written to the socket at once, in order, past all pictures. Only typed text and turns of the wheel are
paced: QEMU's keyboards and tablets keep 16 events that the guest has not fetched yet, and lose what comes then
(hw/input/hid.c, hw/input/ps2.c).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pommel.screen import rfb_requests as ask
from pommel.screen.actions import Action, MovePointer, PressKey, TurnWheel, TypeText
from pommel.screen.rfb_link import RfbLink
from pommel.screen.strokes import strokes
from pommel.wire.keymap import SHIFT, PhysicalKey, find_key, keysym_of

# A USB keyboard is polled every 7 to 10 ms, and QEMU's VNC server passes a key on every 10 ms (its key-delay-ms): at
# this pace nothing piles up anywhere.
PACE_S = 0.012


class VncSink:
    """The keyboard and tablet behind an `RfbLink`."""

    def __init__(self, link: RfbLink, *, pace_s: float = PACE_S) -> None:
        self._link = link
        self._pace_s = pace_s
        self._order = asyncio.Lock()  # fair: first come, first served
        self._held: dict[str, PhysicalKey] = {}

    async def perform(self, action: Action) -> str:
        """Do one thing after all before it; return what cannot be done (see `InputSink`)."""
        async with self._order:
            cannot = await self._perform(action)
            await self._link.drain()
        return cannot

    def release(self, actions: Iterable[Action]) -> None:
        """Let go of keys and buttons at once (see `InputSink`)."""
        for action in actions:
            if isinstance(action, PressKey):
                self._press(action)
            elif isinstance(action, MovePointer):
                self._link.write_input(ask.pointer_event(action.x, action.y, action.buttons))

    async def _perform(self, action: Action) -> str:
        match action:
            case PressKey():
                return self._press(action)
            case MovePointer(x, y, buttons):
                self._link.write_input(ask.pointer_event(x, y, buttons))
            case TurnWheel():
                await self._turn(action)
            case TypeText(text):
                return "".join([await self._type(char) for char in text])
        return ""

    def _press(self, action: PressKey) -> str:
        key = find_key(action.vk, action.extended)
        if key is None:
            return f"[key {action.vk:#04x}]"
        self._stroke(key, action.down)
        return ""

    async def _turn(self, turn: TurnWheel) -> None:
        wheel = ask.WHEEL_UP if turn.notches > 0 else ask.WHEEL_DOWN
        for notch in range(abs(turn.notches)):
            if notch:
                await asyncio.sleep(self._pace_s)
            self._link.write_input(
                ask.pointer_event(turn.x, turn.y, turn.buttons | wheel)
                + ask.pointer_event(turn.x, turn.y, turn.buttons)
            )

    async def _type(self, char: str) -> str:
        todo = strokes(char, tuple(self._held.values()))
        if todo is None:
            return char
        try:
            while todo:
                self._stroke(*todo.pop(0))
                await asyncio.sleep(self._pace_s)
                await self._link.drain()
        finally:
            for stroke in todo:  # cancelled: a character is typed whole, no key stays down
                self._stroke(*stroke)
        return ""

    def _stroke(self, key: PhysicalKey, down: bool) -> None:
        if self._link.extended_keys:
            self._link.write_input(ask.qemu_key_event(key.qnum, key.keysym, down))
        else:
            keysym = keysym_of(key.vk, key.extended, shift=self._shifted())
            self._link.write_input(ask.key_event(keysym or key.keysym, down))
        if down:
            self._held[key.code] = key
        else:
            self._held.pop(key.code, None)

    def _shifted(self) -> bool:
        return any(key.vk in (SHIFT, 0xA1) for key in self._held.values())
