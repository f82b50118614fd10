"""Keyboard and mouse of an X server: an `InputSink` by XTEST. Band: shell.

Keys are pressed by position, whatever the server's keyboard map has there. For a character that is on no key, an unused
key is borrowed: it gets this character, is pressed, and loses it again after a while. Not at once: programs read the
map only when they handle the key. Only keys that were pressed here are released.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from Xlib import X
from Xlib.display import Display
from Xlib.ext import xtest

from pommel.errors import StateError
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
from pommel.screen.geometry import Rect
from pommel.screen.sinks.x11_keys import SHIFT_L, KeysymPair, ServerKeys, around, is_typable, pair_for
from pommel.screen.sinks.x11_record import HeldRecord, take_orphans
from pommel.screen.sources.x11_link import X11Link
from pommel.screen.wheel import Notches
from pommel.wire.keymap import PhysicalKey, find_key

_BUTTONS = ((LEFT, 1), (MIDDLE, 2), (RIGHT, 3), (BACK, 8), (FORWARD, 9))
_WHEEL_UP, _WHEEL_DOWN, _WHEEL_LEFT, _WHEEL_RIGHT = 4, 5, 6, 7
_SIDES_END = 9
_BUTTON = 0x100  # marks a button in the record of what is held; keycodes are smaller
# A borrowed key keeps its character for this long after its last use, or at least this long if another one needs it.
_RETURN_AFTER_S = 3.0
_REUSE_AFTER_S = 0.15
_MAX_BORROWED = 24


class X11Sink:
    """The keyboard and mouse of an X server."""

    def __init__(self, link: X11Link, keyboard: Keyboard, on_input: Callable[[], None] = lambda: None) -> None:
        """Use the tenant of a connection; `on_input` is called after each action."""
        self._link = link
        self._keyboard = keyboard
        self._on_input = on_input

    @property
    def has_sides(self) -> bool:
        """See `InputSink`."""
        return self._keyboard.last_button >= _SIDES_END

    async def perform(self, action: Action) -> str:
        """Do one action after all earlier ones; return the part that is impossible (see `InputSink`)."""
        with contextlib.suppress(ConnectionError):
            cannot = await asyncio.wrap_future(self._link.call(lambda: self._keyboard.perform(action)))
            self._on_input()
            return cannot
        return ""

    def release(self, actions: Iterable[Action]) -> None:
        """Release keys and buttons (see `InputSink`)."""
        for action in actions:
            self._link.call(lambda action=action: self._keyboard.perform(action))  # type: ignore[misc]


class Keyboard:
    """Does the work of a sink in its connection's thread: the connection's tenant."""

    def __init__(self, display: Display, view: Callable[[], Rect]) -> None:
        """Read the server's keyboard map. Positions are relative to `view`. StateError: the server has no XTEST."""
        if not display.has_extension(xtest.extname):
            raise StateError(
                f"the X server {display.get_display_name()} has no XTEST, so Pommel cannot type there",
                hint="start it without `-tst` and `-extension XTEST`",
            )
        self._display, self._root, self._view = display, display.screen().root, view
        self._has_other_screens = display.screen_count() > 1
        xtest.grab_control(display, True)  # so that our input works while a menu grabs the server
        self._held: dict[tuple[int, bool, bool], int] = {}  # the wire's keys that are down, and their keycodes
        self._buttons = 0
        self.last_button = len(display.get_pointer_mapping())  # the server refuses higher buttons
        self._up, self._right = Notches(), Notches()
        self._borrowed: dict[int, float] = {}  # borrowed keycodes, and the time of each one's last use
        self._keys = self._learn()
        self._stale = False
        for one in take_orphans(display):
            (self._click if one & _BUTTON else self._stroke)(one & ~_BUTTON, False)
        self._record = HeldRecord(display)

    def perform(self, action: Action) -> str:
        """Do one action; return the part that is impossible."""
        match action:
            case PressKey():
                return self._press(action)
            case MovePointer(x, y, buttons):
                self._point(x, y, buttons)
            case RelativeMove(right, down, buttons):
                xtest.fake_input(self._display, X.MotionNotify, 1, x=right, y=down)  # 1: relative
                self._set_buttons(buttons)
            case TurnWheel():
                self._turn(action)
            case TypeText(text):
                return "".join(char for char in text if not self._type(char))
        return ""

    # --- a connection's tenant ---

    def handle(self, event: Any) -> None:
        """See `Tenant`."""
        ours = event.type == X.MappingNotify and event.count == 1 and event.first_keycode in self._borrowed
        self._stale = self._stale or (event.type == X.MappingNotify and not ours)

    def due_s(self) -> float | None:
        """See `Tenant`."""
        return min(self._borrowed.values()) + _RETURN_AFTER_S if self._borrowed else None

    def act(self) -> None:
        """Restore the borrowed keys that were not used for `_RETURN_AFTER_S`."""
        now = time.monotonic()
        for code in [code for code, used in self._borrowed.items() if used + _RETURN_AFTER_S <= now]:
            self._give_back(code)

    def leave(self) -> None:
        """Release all keys and buttons, and restore the borrowed keys."""
        for code in self._held.values():
            self._stroke(code, False)
        self._held.clear()
        self._set_buttons(0)
        self._note()
        if self._borrowed:
            # programs must read the last typed characters before the keys lose them
            with contextlib.suppress(Exception):
                self._display.sync()
            time.sleep(_REUSE_AFTER_S)
        for code in list(self._borrowed):
            self._give_back(code)

    # --- keys ---

    def _press(self, action: PressKey) -> str:
        key = find_key(action.vk, action.extended)
        name = (*((key.vk, key.extended) if key else (action.vk, action.extended)), action.legend)
        if not action.down:
            code = self._held.pop(name, None)
            if code is not None and code not in self._held.values():
                self._stroke(code, False)
                self._note()
            return ""
        code = self._held.get(name) or (self._find(key, action.legend) if key else None)
        if code is None:
            return f"[key {action.vk:#04x}]"
        self._held[name] = code
        self._note()
        self._stroke(code, True)  # pressed again if it is down already: a repetition
        return ""

    def _find(self, key: PhysicalKey, legend: bool) -> int | None:
        keys = self._known()
        return keys.code_of_legend(key, self._layout(self._state())) if legend else keys.code_of(key)

    def _state(self) -> int:
        return int(self._root.query_pointer().mask)

    @staticmethod
    def _layout(state: int) -> int:
        return state >> 13 & 3

    def _type(self, char: str) -> bool:
        if not is_typable(char):
            return False
        state = self._state()
        layout = self._layout(state)
        pair = pair_for(char)
        found = self._known().typing(pair, layout) if layout < 2 else None
        code, typed = found or (self._borrow(pair), pair)
        if code is None:
            return False
        caps = bool(state & X.LockMask) and typed.follows_caps_lock
        self._strike(code, typed.wants_shift != caps)
        if code in self._borrowed:
            self._borrowed[code] = time.monotonic()
        return True

    def _strike(self, code: int, wants_shift: bool) -> None:
        """Type with a key as if no modifier were held: held modifiers are released before and pressed after it."""
        keys = self._keys
        shift = keys.code_of_sym(SHIFT_L)
        shifts = [one for one in (shift, keys.code_of_sym(SHIFT_L + 1)) if one is not None]
        lifted, press_shift = around(tuple(self._held.values()), keys.modifiers, shifts, wants_shift)
        for one in lifted:
            self._stroke(one, False)
        if code in self._held.values():  # the key is down already: it types only when it goes down again
            self._stroke(code, False)
        with_shift = [shift] if press_shift and shift is not None else []
        for one, down in (
            *((s, True) for s in with_shift),
            (code, True),
            (code, False),
            *((s, False) for s in with_shift),
        ):
            self._stroke(one, down)
        if code in self._held.values():
            self._stroke(code, True)
        for one in lifted:
            self._stroke(one, True)

    def _stroke(self, code: int, down: bool) -> None:
        xtest.fake_input(self._display, X.KeyPress if down else X.KeyRelease, code)

    # --- the map ---

    def _learn(self) -> ServerKeys:
        info = self._display.display.info
        first, count = info.min_keycode, info.max_keycode - info.min_keycode + 1
        rows = self._display.get_keyboard_mapping(first, count)
        modifiers = frozenset(code for codes in self._display.get_modifier_mapping() for code in codes if code)
        return ServerKeys({first + i: tuple(row) for i, row in enumerate(rows)}, modifiers)

    def _known(self) -> ServerKeys:
        if self._stale:
            self._stale = False
            self._keys = self._learn()
        return self._keys

    def _borrow(self, pair: KeysymPair) -> int | None:
        """Give an unused key these characters; None if there is no unused key."""
        spare = self._known().spare()
        if spare and len(self._borrowed) < _MAX_BORROWED:
            code = spare[0]
        elif self._borrowed:
            code = min(self._borrowed, key=lambda one: self._borrowed[one])
            # A program may not have read the last character of this key yet.
            time.sleep(max(self._borrowed[code] + _REUSE_AFTER_S - time.monotonic(), 0.0))
        else:
            return None
        self._borrowed[code] = time.monotonic()
        self._mean(code, (pair.plain, pair.shifted))
        return code

    def _give_back(self, code: int) -> None:
        self._mean(code, (0, 0))
        del self._borrowed[code]

    def _mean(self, code: int, row: tuple[int, int]) -> None:
        self._display.change_keyboard_mapping(code, [row])
        self._keys = ServerKeys({**self._keys.rows, code: row}, self._keys.modifiers)

    # --- the pointer ---

    def _point(self, x: int, y: int, buttons: int) -> None:
        view = self._view()
        # XTEST's motion stays on the X screen of the pointer, even if it names another root window.
        if self._has_other_screens and not self._root.query_pointer().same_screen:
            self._root.warp_pointer(view.x + x, view.y + y)
        xtest.fake_input(self._display, X.MotionNotify, 0, root=self._root, x=view.x + x, y=view.y + y)
        self._set_buttons(buttons)

    def _set_buttons(self, buttons: int) -> None:
        before, self._buttons = self._buttons, self._buttons | buttons
        self._note()
        for bit, number in _BUTTONS:
            if (buttons ^ before) & bit:
                self._click(number, bool(buttons & bit))
        self._buttons = buttons
        self._note()

    def _note(self) -> None:
        buttons = {number | _BUTTON for bit, number in _BUTTONS if self._buttons & bit}
        self._record.note({*self._held.values(), *buttons})

    def _turn(self, turn: TurnWheel) -> None:
        self._point(turn.x, turn.y, turn.buttons)
        up, right = self._up.take(turn.up), self._right.take(turn.right)
        wheels = ((_WHEEL_UP if up > 0 else _WHEEL_DOWN, up), (_WHEEL_RIGHT if right > 0 else _WHEEL_LEFT, right))
        for number, notches in wheels:
            for _ in range(abs(notches)):
                for down in (True, False):
                    self._click(number, down)

    def _click(self, number: int, down: bool) -> None:
        if number <= self.last_button:
            xtest.fake_input(self._display, X.ButtonPress if down else X.ButtonRelease, number)
