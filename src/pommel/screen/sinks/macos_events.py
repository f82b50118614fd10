"""Events into macOS, and nothing else. Band: shell. Not run on a Mac yet.

A part of the seam that `sources.macos_frameworks` tells of; from Apple's CGEvent.h, CGEventSource.h and CGEventTypes.h.
The source is a private one: what is held here and what the Mac's own keyboard holds do not mix. Events enter where a
keyboard's do (kCGHIDEventTap), so shortcuts of the system work.
"""

from __future__ import annotations

from typing import Any

from pommel.errors import StateError
from pommel.screen.actions import BACK, FORWARD, LEFT, MIDDLE, RIGHT
from pommel.screen.sources.macos_frameworks import Frameworks

Point = tuple[float, float]
_BACK, _FORWARD = 3, 4  # buttons from 3 on have no names in CGEventTypes.h; browsers on a Mac go back and on by these


class Events:
    """What posts events. Places are points of the desktop, flags those of `macos_keys`."""

    def __init__(self, frameworks: Frameworks) -> None:
        """Make the event source. StateError: macOS has none for us."""
        Quartz = self._quartz = frameworks.Quartz
        self._source = Quartz.CGEventSourceCreate(Quartz.kCGEventSourceStatePrivate)
        if self._source is None:
            raise StateError(
                "macOS accepts no keyboard or mouse input from here",
                hint="run it inside a login session: as a LaunchAgent, or in Terminal",
            )
        # Without this the Mac's own mouse stands still for a quarter of a second after each event.
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
        """Press a key, or let it go; `repeats` if it has been down for long."""
        Quartz = self._quartz
        event = Quartz.CGEventCreateKeyboardEvent(self._source, keycode, down)
        if repeats:
            Quartz.CGEventSetIntegerValueField(event, Quartz.kCGKeyboardEventAutorepeat, 1)
        self._post(event, flags)

    def text(self, char: str) -> None:
        """Type a character that no key may have."""
        Quartz = self._quartz
        units = len(char.encode("utf-16-le")) // 2
        for down in (True, False):
            event = Quartz.CGEventCreateKeyboardEvent(self._source, 0, down)
            Quartz.CGEventKeyboardSetUnicodeString(event, units, char)
            self._post(event, 0)

    def move(self, at: Point, by: Point, held: int, clicks: int, flags: int) -> None:
        """Put the pointer at a place, `by` from where it was; `held` is the button that drags, or 0."""
        Quartz = self._quartz
        kind, button = self._moves[held]
        event = Quartz.CGEventCreateMouseEvent(self._source, kind, at, button)
        Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventDeltaX, round(by[0]))
        Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventDeltaY, round(by[1]))
        if held:
            Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventClickState, clicks)
        self._post(event, flags)

    def click(self, at: Point, button: int, down: bool, clicks: int, flags: int) -> None:
        """Press a button for the `clicks`-th time in a row, or let it go."""
        Quartz = self._quartz
        pressed, let_go, number = self._presses[button]
        event = Quartz.CGEventCreateMouseEvent(self._source, pressed if down else let_go, at, number)
        Quartz.CGEventSetIntegerValueField(event, Quartz.kCGMouseEventClickState, clicks)
        self._post(event, flags)

    def wheel(self, up: int, right: int, flags: int) -> None:
        """Turn the wheel where the pointer is, by lines; negative ones scroll down, and to the left."""
        Quartz = self._quartz
        unit = Quartz.kCGScrollEventUnitLine
        # Of the second wheel positive is to the left (CGEvent.h).
        self._post(Quartz.CGEventCreateScrollWheelEvent2(self._source, unit, 2, up, -right, 0), flags)

    def _post(self, event: Any, flags: int) -> None:
        Quartz = self._quartz
        Quartz.CGEventSetFlags(event, flags)
        Quartz.CGEventPost(Quartz.kCGHIDEventTap, event)
