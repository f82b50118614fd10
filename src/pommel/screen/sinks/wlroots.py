"""Keyboard and mouse of a wlroots compositor: an `InputSink` by virtual-keyboard and wlr-virtual-pointer. Band: shell.

Keys are pressed by position, with the seat's own keyboard map. Text is typed with a map of just its characters, and
then the seat's map is put back: so every script can be typed with every layout.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

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
from pommel.screen.sinks.wlroots_keymaps import MOST_CHARACTERS, US_MAP, depressed, has_level3, lock_of, map_for
from pommel.screen.sinks.x11_keys import is_typable
from pommel.screen.wayland.memory import shared_file
from pommel.screen.wheel import Notches
from pommel.wire.keymap import find_key

if TYPE_CHECKING:
    from pommel.screen.sources.wlroots import WlrootsSource
    from pommel.screen.wayland.connection import Thing, WaylandConnection

# BTN_LEFT … of linux/input-event-codes.h
_BUTTONS = ((LEFT, 0x110), (MIDDLE, 0x112), (RIGHT, 0x111), (BACK, 0x113), (FORWARD, 0x114))
_HAS_KEYBOARD = 2  # wl_seat.capability
_XKB_V1 = 1  # wl_keyboard.keymap_format
_WHEEL = 0  # wl_pointer.axis_source
_VERTICAL, _HORIZONTAL = 0, 1
_NOTCH = 15  # libinput's degrees of a notch
_MOST_MAP_BYTES = 1 << 20


class WlrootsSink:
    """The keyboard and mouse of a wlroots compositor."""

    has_sides = True

    def __init__(self, connection: WaylandConnection, source: WlrootsSource) -> None:
        """Positions are those of the output that `source` shows."""
        self._connection = connection
        self._source = source
        self._map = US_MAP.encode()
        self._level3 = False
        self._held: dict[tuple[int, bool], int] = {}  # the wire's keys that are down, and their evdev codes
        self._locked = 0
        self._buttons = 0
        self._pointer: Thing | None = None
        self._pointed: int | None = None  # the output of `_pointer`
        self._up, self._right = Notches(), Notches()

    async def start(self) -> None:
        """Make a keyboard with the seat's own map. StateError: the compositor lacks something, or has ended."""
        seat = self._seat = self._connection.bind("wl_seat", 5)
        capabilities: list[int] = []
        seat.on["capabilities"] = capabilities.append
        await self._connection.roundtrip()
        if capabilities and capabilities[-1] & _HAS_KEYBOARD:
            # A map of ours would become that of all programs, with the first key that we press.
            theirs = seat.make("get_keyboard")
            theirs.on["keymap"] = self._learn
            await self._connection.roundtrip()
            theirs.on = {}
            theirs.ask("release")
        self._level3 = has_level3(self._map.decode(errors="replace"))
        manager = self._connection.bind("zwp_virtual_keyboard_manager_v1", 1)
        self._keyboard = manager.make("create_virtual_keyboard", seat)
        self._pointers = self._connection.bind("zwlr_virtual_pointer_manager_v1", 2)
        self._use(self._map)
        self._hand()  # now: a seat without a mouse has a pointer from here on, and programs must learn of it first
        await self._connection.roundtrip()

    async def perform(self, action: Action) -> str:
        """Do one action after all earlier ones; return the part that is impossible (see `InputSink`)."""
        return self._do(action)

    def release(self, actions: Iterable[Action]) -> None:
        """Release keys and buttons (see `InputSink`)."""
        for action in actions:
            self._do(action)

    def leave(self) -> None:
        """Release all keys and buttons: a compositor does not release the buttons of a client that ends."""
        for code in self._held.values():
            self._stroke(code, False)
        self._held.clear()
        self._tell_modifiers()
        self._set_buttons(0)

    def _do(self, action: Action) -> str:
        match action:
            case PressKey():
                return self._press(action)
            case MovePointer(x, y, buttons):
                self._point(x, y)
                self._set_buttons(buttons)
            case RelativeMove(right, down, buttons):
                if pointer := self._hand():
                    pointer.ask("motion", _now(), right, down)
                    pointer.ask("frame")
                self._set_buttons(buttons)
            case TurnWheel():
                self._turn(action)
            case TypeText(text):
                return self._type(text)
        return ""

    # --- keys ---

    def _learn(self, form: int, size: int, file: int) -> None:
        if form == _XKB_V1 and 0 < size <= _MOST_MAP_BYTES:
            self._map = os.pread(file, size, 0).rstrip(b"\0")

    def _use(self, keymap: bytes) -> None:
        with shared_file(keymap + b"\0") as file:
            self._keyboard.ask("keymap", _XKB_V1, file, len(keymap) + 1)

    def _press(self, action: PressKey) -> str:
        key = find_key(action.vk, action.extended)
        if key is None:
            return f"[key {action.vk:#04x}]" if action.down else ""
        name = key.vk, key.extended
        if action.down:
            if name in self._held:  # programs repeat a held key themselves
                return ""
            self._held[name] = key.evdev
            self._locked ^= lock_of(key.evdev)
        elif self._held.pop(name, None) is None:
            return ""
        self._stroke(key.evdev, action.down)
        self._tell_modifiers()
        return ""

    def _stroke(self, code: int, down: bool) -> None:
        self._keyboard.ask("key", _now(), code, int(down))

    def _tell_modifiers(self) -> None:
        self._keyboard.ask("modifiers", depressed(self._held.values(), level3=self._level3), 0, self._locked, 0)

    def _type(self, text: str) -> str:
        typable = [char for char in text.replace("\r\n", "\n") if is_typable(char)]
        for start in range(0, len(typable), MOST_CHARACTERS):
            part = typable[start : start + MOST_CHARACTERS]
            keymap, codes = map_for("".join(part))
            self._use(keymap.encode())
            self._keyboard.ask("modifiers", 0, 0, 0, 0)
            for char in part:
                self._stroke(codes[char], True)
                self._stroke(codes[char], False)
        if typable:
            self._use(self._map)
            self._tell_modifiers()
        return "".join(char for char in text if not is_typable(char))

    # --- the pointer ---

    def _hand(self) -> Thing | None:
        """The pointer of the shown output; None if there is no output."""
        number = self._source.outputs.shown
        if number is None or number != self._pointed:
            if self._pointer is not None:
                held, self._pointed = self._buttons, number
                self._click(self._pointer, held, 0)
                self._buttons = 0
                self._pointer.ask("destroy")
            self._pointer, self._pointed = None, number
            if number is not None:
                output = self._source.bound[number]
                self._pointer = self._pointers.make("create_virtual_pointer_with_output", self._seat, output)
        return self._pointer

    def _point(self, x: int, y: int) -> None:
        pointer, number = self._hand(), self._pointed
        if pointer is not None and number is not None:
            size = self._source.outputs.all[number].shown_size
            pointer.ask("motion_absolute", _now(), max(x, 0), max(y, 0), max(size.width, 1), max(size.height, 1))
            pointer.ask("frame")

    def _set_buttons(self, buttons: int) -> None:
        if (buttons or self._buttons) and (pointer := self._hand()):
            self._click(pointer, self._buttons, buttons)
            self._buttons = buttons

    def _click(self, pointer: Thing, before: int, after: int) -> None:
        for bit, code in _BUTTONS:
            if (before ^ after) & bit:
                pointer.ask("button", _now(), code, int(bool(after & bit)))
                pointer.ask("frame")

    def _turn(self, turn: TurnWheel) -> None:
        self._point(turn.x, turn.y)
        self._set_buttons(turn.buttons)
        pointer = self._hand()
        for axis, notches in ((_VERTICAL, -self._up.take(turn.up)), (_HORIZONTAL, self._right.take(turn.right))):
            if notches and pointer is not None:
                pointer.ask("axis_source", _WHEEL)
                pointer.ask("axis_discrete", _now(), axis, _NOTCH * notches, notches)
                pointer.ask("frame")


def _now() -> int:
    return int(time.monotonic() * 1000) & 0xFFFFFFFF
