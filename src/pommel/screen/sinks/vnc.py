"""Keyboard and mouse of QEMU through its VNC server: an `InputSink`. Band: shell.

Everything is written to the socket at once and in order, without waiting for pictures. Only typed text and turns of the
wheel are sent slowly: QEMU's keyboards and tablets keep at most 16 events that the guest has not read yet, and drop
further ones (hw/input/hid.c, hw/input/ps2.c).

QEMU's VNC server has neither a sideways wheel nor the buttons back and forward (ui/vnc.c, pointer_event). Its monitor
has them, and a server with RFB's extended buttons would have them too. If the guest's mouse has no sideways wheel,
Shift is held while the normal wheel turns: this scrolls sideways on a Mac, in browsers, and in most programs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Protocol

from pommel.errors import PommelError
from pommel.screen import rfb_requests as ask
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
from pommel.screen.rfb_link import RfbLink
from pommel.screen.strokes import strokes
from pommel.screen.wheel import Notches
from pommel.tasks import start_task
from pommel.wire.keymap import SHIFT, PhysicalKey, find_key, keysym_of

# A USB keyboard is polled every 7 to 10 ms, and QEMU's VNC server passes a key on every 10 ms (its key-delay-ms): at
# this pace nothing piles up anywhere.
PACE_S = 0.012
_SIDES = {BACK: "back", FORWARD: "forward"}
_BUTTONS = {LEFT: "left", MIDDLE: "middle", RIGHT: "right", BACK: "side", FORWARD: "extra"}
# A guest may have been paused for this long before we notice it.
_UNSEEN_S = 5.0
_SHIFT = find_key(SHIFT)


class QmpMouse(Protocol):
    """Mouse actions that QEMU's monitor can do and its VNC server cannot. PommelError: QEMU cannot be reached."""

    async def side(self, forward: bool, down: bool) -> bool:
        """Press or release a mouse's button back or forward; False if the guest's mouse has no such buttons."""

    async def sideways(self, notches: int) -> bool:
        """Turn the wheel to the right, or to the left if negative; False if the guest's mouse has no sideways wheel."""

    async def let_go(self, keys: Iterable[int], buttons: Iterable[str]) -> None:
        """Release keys (QEMU's numbers) and buttons (its names), even if its VNC server counts them as released."""


class VncSink:
    """The keyboard and tablet behind an `RfbLink`."""

    def __init__(self, link: RfbLink, *, monitor: QmpMouse | None = None, pace_s: float = PACE_S) -> None:
        self._link = link
        self._monitor = monitor
        self._pace_s = pace_s
        self._order = asyncio.Lock()  # fair: first come, first served
        self._held: dict[str, PhysicalKey] = {}
        self._at: tuple[int, int] | None = None  # the pointer's last position
        self._sides = 0  # the buttons back and forward that the monitor holds down
        self._up, self._right = Notches(), Notches()
        self._later: set[asyncio.Task[str]] = set()  # releases through the monitor that are under way
        self._buttons = 0
        self._gone: dict[int | str, float] = {}  # released keys and buttons, and the time of release

    @property
    def has_sides(self) -> bool:
        """See `InputSink`."""
        return self._link.extended_buttons or self._monitor is not None

    async def perform(self, action: Action) -> str:
        """Do one action after all earlier ones; return the part that is impossible (see `InputSink`)."""
        async with self._order:
            cannot = await self._perform(action)
            await self._link.drain()
        return cannot

    def release(self, actions: Iterable[Action]) -> None:
        """Release keys and buttons at once (see `InputSink`)."""
        for action in actions:
            if isinstance(action, PressKey):
                self._press(action)
            elif isinstance(action, MovePointer):
                self._point(action.x, action.y, action.buttons)
                if self._changed_sides(action.buttons):
                    self._soon(self._press_sides(action.buttons))

    async def settle(self) -> None:
        """Wait until the releases were sent to QEMU."""
        await asyncio.gather(*self._later, return_exceptions=True)

    def runs(self) -> None:
        """Note that the guest runs: it has received the releases of a while ago."""
        since = asyncio.get_running_loop().time() - _UNSEEN_S
        self._gone = {one: when for one, when in self._gone.items() if when > since}

    async def goes_on(self) -> None:
        """Note that the guest was paused and continues: release again what was released before the pause was noticed.

        QEMU gives no event to a paused guest, but its VNC server then counts the keys and buttons as released.
        """
        gone, self._gone = self._gone, {}
        if self._monitor is None or not gone:
            return
        keys = [one for one in gone if isinstance(one, int)]
        buttons = [one for one in gone if isinstance(one, str)]
        try:
            await self._monitor.let_go(keys, buttons)
        except PommelError:  # it is paused again: try at the next resume
            self._gone = gone | self._gone

    def _note(self, one: int | str, down: bool) -> None:
        self._gone.pop(one, None)
        if not down:
            self._gone[one] = asyncio.get_running_loop().time()

    async def _perform(self, action: Action) -> str:
        match action:
            case PressKey():
                return self._press(action)
            case MovePointer(x, y, buttons):
                self._point(x, y, buttons)
                return await self._press_sides(buttons)
            case RelativeMove():
                self._move_by(action)
                return await self._press_sides(action.buttons)
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

    # --- the mouse ---

    def _point(self, x: int, y: int, buttons: int) -> None:
        before, self._at = self._at or (x, y), (x, y)
        if self._link.absolute:
            self._send_pointer(x, y, buttons)
        else:
            self._send_pointer(x - before[0], y - before[1], buttons)

    def _move_by(self, move: RelativeMove) -> None:
        if not self._link.absolute:
            self._send_pointer(move.right, move.down, move.buttons)
            return
        size = self._link.client.frame.size
        x, y = self._at or (size.width // 2, size.height // 2)
        self._at = (_within(x + move.right, size.width), _within(y + move.down, size.height))
        self._send_pointer(*self._at, move.buttons)

    def _send_pointer(self, x: int, y: int, buttons: int) -> None:
        for one, name in _BUTTONS.items():
            if (buttons ^ self._buttons) & one:
                self._note(name, bool(buttons & one))
        self._buttons = buttons
        event = ask.pointer_event if self._link.absolute else ask.movement_event
        self._link.write_input(event(x, y, buttons, extended=self._link.extended_buttons))

    def _changed_sides(self, buttons: int) -> int:
        return 0 if self._link.extended_buttons else (buttons ^ self._sides) & (BACK | FORWARD)

    async def _press_sides(self, buttons: int) -> str:
        """Press or release back and forward as in `buttons`; return the part that is impossible."""
        cannot = ""
        for side, name in _SIDES.items():
            if not self._changed_sides(buttons) & side:
                continue
            self._sides ^= side  # noted first, so that it is released later even if the call fails halfway
            try:
                done = self._monitor is not None and await self._monitor.side(side == FORWARD, bool(buttons & side))
            except PommelError:
                done = False
            cannot += "" if done or not buttons & side else f"[a mouse's {name} button]"
        return cannot

    def _soon(self, work: Coroutine[None, None, str]) -> None:
        task = start_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _turn(self, turn: TurnWheel) -> None:
        if self._link.absolute:
            self._point(turn.x, turn.y, turn.buttons)
        if up := self._up.take(turn.up):
            await self._click(ask.WHEEL_UP if up > 0 else ask.WHEEL_DOWN, abs(up), turn.buttons)
        if right := self._right.take(turn.right):
            await self._turn_sideways(right, turn.buttons)

    async def _turn_sideways(self, notches: int, buttons: int) -> None:
        if self._link.extended_buttons:
            await self._click(ask.WHEEL_RIGHT if notches > 0 else ask.WHEEL_LEFT, abs(notches), buttons)
            return
        try:
            done = self._monitor is not None and await self._monitor.sideways(notches)
        except PommelError:
            done = False
        if not done:
            await self._click_with_shift(ask.WHEEL_DOWN if notches > 0 else ask.WHEEL_UP, abs(notches), buttons)

    async def _click_with_shift(self, wheel: int, times: int, buttons: int) -> None:
        shift = None if self._shifted() else _SHIFT
        if shift is None:
            await self._click(wheel, times, buttons)
            return
        self._stroke(shift, True)
        try:
            await asyncio.sleep(self._pace_s)  # Shift is on another device: the guest might read the mouse first
            await self._click(wheel, times, buttons)
            await asyncio.sleep(self._pace_s)
        finally:
            self._stroke(shift, False)

    async def _click(self, wheel: int, times: int, buttons: int) -> None:
        """Press one of the buttons that mean a notch of a wheel."""
        x, y = self._at if self._link.absolute and self._at else (0, 0)
        for turn in range(times):
            if turn:
                await asyncio.sleep(self._pace_s)
            self._send_pointer(x, y, buttons | wheel)
            self._send_pointer(x, y, buttons)

    # --- typing ---

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
            for stroke in todo:  # when cancelled: finish the character, so that no key stays down
                self._stroke(*stroke)
        return ""

    def _stroke(self, key: PhysicalKey, down: bool) -> None:
        if self._link.extended_keys:
            self._link.write_input(ask.qemu_key_event(key.qnum, key.keysym, down))
        else:
            keysym = keysym_of(key.vk, key.extended, shift=self._shifted())
            self._link.write_input(ask.key_event(keysym or key.keysym, down))
        self._note(key.qnum, down)
        if down:
            self._held[key.code] = key
        else:
            self._held.pop(key.code, None)

    def _shifted(self) -> bool:
        return any(key.vk in (SHIFT, 0xA1) for key in self._held.values())


def _within(at: int, length: int) -> int:
    return min(max(at, 0), max(length - 1, 0))
