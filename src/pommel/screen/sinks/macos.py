"""Keyboard and mouse of a Mac: an `InputSink` by CGEvent. Band: shell. Not run on a Mac yet.

Keys are posted as keys with all their flags, and typed text as characters, whatever the keyboard layout is. Only keys
that were pressed here are released. At the login window, macOS accepts keys only from its own Screen Sharing (it turns
secure input on): what is posted there is lost, and this process cannot find out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

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
from pommel.screen.sinks.macos_events import Events, Point
from pommel.screen.sinks.macos_keys import (
    CAPS,
    CAPS_LOCK_KEY,
    RETURN,
    TAB,
    CapsLock,
    Clicks,
    modifier_flags,
    own_flags,
)
from pommel.screen.sinks.x11_keys import is_typable
from pommel.screen.sources.macos_displays import View
from pommel.screen.sources.macos_frameworks import Frameworks
from pommel.screen.sources.macos_permissions import accessibility
from pommel.screen.wheel import Notches
from pommel.wire.keymap import find_key, mac_keycode
from pommel.wire.mouse import NOTCH

# Between typed characters: programs lose characters that arrive faster than they draw.
PACE_S = 0.004
LINES_PER_NOTCH = 3
_BUTTONS = (LEFT, RIGHT, MIDDLE, BACK, FORWARD)
# Asking macOS for the permission to type costs some time, so the answer is kept for this long.
_ASK_AGAIN_S = 2.0


class MacSink:
    """The keyboard and mouse of this session. Positions are relative to `view`."""

    def __init__(
        self,
        frameworks: Frameworks,
        events: Events,
        caps: CapsLock,
        view: Callable[[], View],
        *,
        pace_s: float = PACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._frameworks, self._events, self._caps, self._view = frameworks, events, caps, view
        self._pace_s, self._clock = pace_s, clock
        self._order = asyncio.Lock()  # fair: first come, first served
        self._held: dict[tuple[int, bool], int] = {}  # the wire's keys that are down, and their key codes
        self._at: Point = (0.0, 0.0)
        self._buttons = 0
        self._clicks = Clicks()
        self._up, self._right = Notches(NOTCH // LINES_PER_NOTCH), Notches(NOTCH // LINES_PER_NOTCH)
        self._allowed, self._asked_s = True, float("-inf")

    @property
    def has_sides(self) -> bool:
        """See `InputSink`."""
        return True

    async def perform(self, action: Action) -> str:
        """Do one action after all earlier ones; return the part that is impossible (see `InputSink`)."""
        async with self._order:
            match action:
                case PressKey():
                    return self._press(action) or (self._forbidden() if action.down else "")
                case MovePointer(x, y, buttons):
                    pressed = buttons & ~self._buttons
                    self._point(x, y, buttons)
                    return self._forbidden() if pressed else ""
                case RelativeMove():
                    self._move_by(action)
                    return ""
                case TurnWheel():
                    self._turn(action)
                    return self._forbidden()
                case TypeText(text):
                    return "".join([await self._type(char) for char in text]) or self._forbidden()

    def release(self, actions: Iterable[Action]) -> None:
        """Release keys and buttons at once (see `InputSink`)."""
        for action in actions:
            if isinstance(action, PressKey):
                self._press(action)
            elif isinstance(action, MovePointer):
                self._point(action.x, action.y, action.buttons)

    def leave(self) -> None:
        """Release all keys and buttons."""
        for vk, extended in list(self._held):
            self._press(PressKey(vk, extended, False))
        self._set_buttons(0)
        self._caps.flipped = False

    # --- keys ---

    def _press(self, action: PressKey) -> str:
        key = find_key(action.vk, action.extended)
        name = (key.vk, key.extended) if key else (action.vk, action.extended)
        if name[0] == CAPS_LOCK_KEY:
            if action.down:
                self._caps.flip()
            return ""
        if not action.down:
            self._let_go(name)
            return ""
        repeats = name in self._held
        code = self._held.get(name) if repeats else mac_keycode(action.vk, action.extended)
        if code is None:
            return f"[key {action.vk:#04x}]"
        self._held[name] = code
        self._stroke(code, True, repeats=repeats)
        return ""

    def _let_go(self, name: tuple[int, bool]) -> None:
        code = self._held.pop(name, None)
        if code is not None and code not in self._held.values():
            self._stroke(code, False)

    def _stroke(self, code: int, down: bool, *, repeats: bool = False) -> None:
        self._events.key(code, down, self._flags() | own_flags(code), repeats=repeats)

    def _flags(self) -> int:
        caps = CAPS if self._caps.seen(self._frameworks.caps_lock()) else 0
        return modifier_flags(self._held.values()) | caps

    async def _type(self, char: str) -> str:
        if not is_typable(char):
            return char
        if char in "\r\n\t":
            for down in (True, False):
                self._events.key(TAB if char == "\t" else RETURN, down, 0)
        else:
            self._events.text(char)
        await asyncio.sleep(self._pace_s)
        return ""

    # --- the pointer ---

    def _point(self, x: int, y: int, buttons: int) -> None:
        at = self._view().to_points(x, y)
        if at != self._at:
            by = at[0] - self._at[0], at[1] - self._at[1]
            self._at = at
            drags = next((button for button in _BUTTONS if self._buttons & button), 0)
            self._events.move(at, by, drags, self._clicks.count, self._flags())
        self._set_buttons(buttons)

    def _set_buttons(self, buttons: int) -> None:
        for button in _BUTTONS:
            if (buttons ^ self._buttons) & button:
                down = bool(buttons & button)
                clicks = self._clicks.press(button, self._at, self._clock()) if down else self._clicks.count
                self._events.click(self._at, button, down, clicks, self._flags())
        self._buttons = buttons

    def _move_by(self, move: RelativeMove) -> None:
        view = self._view()
        x, y = (self._at[0] - view.left) * view.scale, (self._at[1] - view.top) * view.scale
        self._point(round(x) + move.right, round(y) + move.down, move.buttons)

    def _turn(self, turn: TurnWheel) -> None:
        self._point(turn.x, turn.y, turn.buttons)
        up, right = self._up.take(turn.up), self._right.take(turn.right)
        if up or right:
            self._events.wheel(up, right, self._flags())

    # --- permission ---

    def _forbidden(self) -> str:
        """A message with the remedy if macOS does not permit input; "" if it does, as far as macOS reports it."""
        if self._clock() >= self._asked_s + _ASK_AGAIN_S:
            self._allowed, self._asked_s = self._frameworks.may_post(), self._clock()
        missing = accessibility(self._allowed, self._frameworks.release, self._frameworks.program)
        return f"[{missing.words}]" if missing.words else ""
