"""Posts events to macOS, and nothing else. Band: shell. Not run on a Mac yet.

`sources.macos_frameworks` explains why these calls are separate. They are from Apple's CGEvent.h, CGEventSource.h and
CGEventTypes.h. The event source is private, so that keys that are held here do not mix with those of the Mac's own
keyboard. Events are posted where a keyboard's are (kCGHIDEventTap), so shortcuts of the system work.
"""

from __future__ import annotations

from typing import Any

from pommel.errors import StateError
from pommel.screen.actions import BACK, FORWARD, LEFT, MIDDLE, RIGHT
from pommel.screen.sources.macos_frameworks import Frameworks

Point = tuple[float, float]
_BACK, _FORWARD = 3, 4  # CGEventTypes.h names no buttons from 3 on; browsers on a Mac use these for back and forward


class Events:
    """Posts events. Positions are points of the desktop; flags are those of `macos_keys`."""

    def __init__(self, frameworks: Frameworks) -> None:
        """Make the event source. StateError: macOS refuses it."""
        Quartz = self._quartz = frameworks.Quartz
        self._source = Quartz.CGEventSourceCreate(Quartz.kCGEventSourceStatePrivate)
        if self._source is None:
            raise StateError(
                "macOS accepts no keyboard or mouse input from here",
                hint="run it inside a login session: as a LaunchAgent, or in Terminal",
            )
        # Otherwise macOS ignores the Mac's own mouse for a quarter of a second after each of our events.
        Quartz.CGEventSourceSetLocalEventsSuppressionInterval(self._source, 0.0)
        left, right, other = Quartz.kCGMouseButtonLeft, Quartz.kCGMouseButtonRight, Quartz.kCGMouseButtonCenter
        self._presses = {
            LEFT: (Quartz.kCGEventLeftMouseDown, Quartz.kCGEventLeftMouseUp, left),
            RIGHT: (Quartz.kCGEventRightMouseDown, Quartz.kCGEventRightMouseUp, right),
            MIDDLE: (Quartz.kCGEventOtherMouseDown, Quartz.kCGEventOtherMouseUp, other),
            BACK: (Quartz.kCGEventOtherMouseDown, Quartz.kCGEventOtherMouseUp, _BACK),
            FORWARD: (Quartz.kCGEventOtherMouseDown, Quartz.kCGEventOtherMouseUp, _FORWARD),
        }
        self._moves = {
            LEFT: (Quartz.kCGEventLeftMouseDragged, left),
            RIGHT: (Quartz.kCGEventRightMouseDragged, right),
            MIDDLE: (Quartz.kCGEventOtherMouseDragged, other),
            BACK: (Quartz.kCGEventOtherMouseDragged, _BACK),
            FORWARD: (Quartz.kCGEventOtherMouseDragged, _FORWARD),
            0: (Quartz.kCGEventMouseMoved, left),
        }

    def key(self, keycode: int, down: bool, flags: int, *, repeats: bool = False) -> None:
        """Press or release a key; `repeats`: it was down already, and this is a repetition."""
        Quartz = self._quartz
        event = Quartz.CGEventCreateKeyboardEvent(self._source, keycode, down)
        if repeats:
            Quartz.CGEventSetIntegerValueField(event, Quartz.kCGKeyboardEventAutorepeat, 1)
        self._post(event, flags)

    def text(self, char: str) -> None:
        """Type a character, even one that is on no key."""
        Quartz = self._quartz
        units = len(char.encode("utf-16-le")) // 2
        for down in (True, False):
            event = Quartz.CGEventCreateKeyboardEvent(self._source, 0, down)
            Quartz.CGEventKeyboardSetUnicodeString(event, units, char)
            self._post(event, 0)

    def move(self, at: Point, by: Point, held: int, clicks: int, flags: int) -> None:
        """Move the pointer to `at`, `by` from its last position; `held` is the button that drags, or 0."""
        Quartz = self._quartz
        kind, button = self._moves[held]
        event = Quartz.CGEventCreateMouseEvent(self._source, kind, at, button)
        Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventDeltaX, round(by[0]))
        Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventDeltaY, round(by[1]))
        if held:
            Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventClickState, clicks)
        self._post(event, flags)

    def click(self, at: Point, button: int, down: bool, clicks: int, flags: int) -> None:
        """Press a button for the `clicks`-th time in a row, or release it."""
        Quartz = self._quartz
        pressed, let_go, number = self._presses[button]
        event = Quartz.CGEventCreateMouseEvent(self._source, pressed if down else let_go, at, number)
        Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventClickState, clicks)
        self._post(event, flags)

    def wheel(self, up: int, right: int, flags: int) -> None:
        """Turn the wheel at the pointer, by lines; negative numbers scroll down and to the left."""
        Quartz = self._quartz
        unit = Quartz.kCGScrollEventUnitLine
        # The second wheel counts positive to the left (CGEvent.h).
        self._post(Quartz.CGEventCreateScrollWheelEvent2(self._source, unit, 2, up, -right, 0), flags)

    def _post(self, event: Any, flags: int) -> None:
        Quartz = self._quartz
        Quartz.CGEventSetFlags(event, flags)
        Quartz.CGEventPost(Quartz.kCGHIDEventTap, event)
