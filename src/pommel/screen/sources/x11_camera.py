"""What watches an X server and takes its pictures. Band: shell; all of it in its connection's thread.

DAMAGE says once that something was drawn, and nothing more until we have taken the damage: a screen nobody asks for
costs one event. When a picture is asked for, the damage is taken first and the pixels after it, so what is drawn in
between is damage again and never missed. A server without DAMAGE is looked at in full, every now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from Xlib import X
from Xlib.display import Display
from Xlib.error import XError
from Xlib.ext import damage, randr, xfixes, xtest

from pommel.errors import StateError
from pommel.screen.geometry import Rect, Size, total_area, whole
from pommel.screen.seams import Displays, Update
from pommel.screen.sources import x11_requests as ask
from pommel.screen.sources.x11_displays import Desktop
from pommel.screen.sources.x11_pictures import Picture, SharedPicture, new_picture
from pommel.screen.sources.x11_server import (
    check_readable,
    events,
    monitors,
    randr_version,
    share_memory,
    tell_of_lamps,
)
from pommel.screen.sources.x11_shapes import shape_of
from pommel.wire.messages import CAPS_LOCK, NUM_LOCK, SCROLL_LOCK, CursorShape

# A program draws a change in several requests: this long after the first of them most are there.
SETTLE_S = 0.002
# Pictures may follow each other at once now and then, but not more often than this in the long run.
GAP_S = 1 / 60
POLL_S = 0.05
_MANY_RECTS = 16
_TRIES = 5
_LAMPS = (("Num Lock", NUM_LOCK), ("Scroll Lock", SCROLL_LOCK), ("Caps Lock", CAPS_LOCK))


class Camera:
    """The tenant of a source's connection. Each `want` brings one call of `show`, in this thread."""

    def __init__(self, display: Display, show: Callable[[Update], None]) -> None:
        """Look at what the server is and can. StateError: its pictures cannot be had."""
        self._display, self._show = display, show
        self._root = display.screen().root
        self._randr = randr_version(display)
        check_readable(display, self._randr)
        self._desktop = Desktop(Size(0, 0))
        self._told = Displays()
        self._picture: Picture | None = None
        self._shared = share_memory(display)
        self._damage = 0
        self._drawn_s: float | None = None  # when the first damage that was not taken yet was done
        self._asked_s: float | None = None
        self._next_s = 0.0
        self._moved = self._pointer_changed = self._lamps_changed = True
        self._poked = True
        self._broken = False  # damage was taken, but its pixels were not
        self._start()

    @property
    def view(self) -> Rect:
        """The part of the root window that the frame shows."""
        return self._desktop.view

    @property
    def is_shared(self) -> bool:
        """Tell whether the picture's memory is shared with the server."""
        return isinstance(self._picture, SharedPicture)

    def want(self) -> None:
        """Ask for one update, as soon as there is something new."""
        if self._asked_s is None:
            self._asked_s = time.monotonic()

    def poke(self) -> None:
        """Have the next update come even if nothing is new."""
        self._poked = True

    def choose(self, number: int) -> None:
        """Look at the display of this number, or at all of them."""
        self._desktop = self._desktop.choose(number)
        self._moved = True

    # --- a connection's tenant ---

    def handle(self, event: Any) -> None:
        """See `Tenant`."""
        match self._events.get(event.type):
            case damage.extname:
                self._drawn_s = self._drawn_s or time.monotonic()
            case xfixes.extname:
                self._pointer_changed = True
            case ask.XKB:
                self._lamps_changed = True
            case randr.extname:
                self._moved = True

    def due_s(self) -> float | None:
        """See `Tenant`."""
        if self._asked_s is None:
            return None
        if self._moved or self._pointer_changed or self._lamps_changed or self._poked:
            return 0.0
        if not self._damage:
            return max(self._asked_s + POLL_S, self._next_s)
        return None if self._drawn_s is None else max(self._drawn_s + SETTLE_S, self._next_s)

    def act(self) -> None:
        """Take a picture of what is new and show it."""
        self._asked_s, self._poked = None, False
        now = time.monotonic()
        self._next_s = max(self._next_s, now - GAP_S) + GAP_S
        for _ in range(_TRIES):
            try:
                self._show(self._update())
                return
            except XError:  # the root window has shrunk and the news of it is on its way
                self._moved, self._broken = True, True
        raise StateError("the X server refuses to show its screen")

    def leave(self) -> None:
        """See `Tenant`."""
        if self._picture is not None:
            self._picture.close()
            self._picture = None

    # --- the picture ---

    def _update(self) -> Update:
        if self._moved:
            self._look_around()
        fresh = self._broken or self._picture is None or self._picture.place != self.view
        picture = self._fit() if fresh else self._picture
        if picture is None:
            raise StateError("the X server has no picture")
        rects = self._new(picture.place)
        everything = whole(picture.frame.size)
        picture.grab([everything] if fresh else _few(rects))
        self._broken = False
        return Update(
            picture.frame, (everything,) if fresh else rects,
            lock_keys=self._lock_keys(), cursor=self._cursor(), displays=self._displays(),
        )  # fmt: skip

    def _new(self, place: Rect) -> tuple[Rect, ...]:
        """Take what was drawn, as rectangles of the frame; everything, if the server does not tell."""
        size = Size(place.width, place.height)
        if not self._damage:
            return (whole(size),)
        if self._drawn_s is None:
            return ()
        self._drawn_s = None
        taken = ask.take_damage(self._display, self._root, self._damage, self._region)
        moved = (rect._replace(x=rect.x - place.x, y=rect.y - place.y).clipped(size) for rect in taken)
        return tuple(rect for rect in moved if rect.area)

    def _fit(self) -> Picture:
        """Make a picture of what is to be looked at now."""
        if self._picture is not None:
            self._picture.close()
        self._picture = new_picture(self._display, self.view, shared=self._shared)
        return self._picture

    def _look_around(self) -> None:
        self._moved = False
        now = self._root.get_geometry()
        self._desktop = self._desktop.changed(Size(now.width, now.height), monitors(self._display, self._randr))

    def _displays(self) -> Displays | None:
        now, before = self._desktop.displays, self._told
        self._told = now
        return now if now != before else None

    def _cursor(self) -> CursorShape | None:
        changed, self._pointer_changed = self._pointer_changed, False
        if not (changed and self._has_xfixes):
            return None
        image = ask.cursor_image(self._display)
        return shape_of(image.name, image.visible)

    def _lock_keys(self) -> int | None:
        changed, self._lamps_changed = self._lamps_changed, False
        if not (changed and self._lamps):
            return None
        lit = ask.lit_lamps(self._display, self._lamps)
        return sum(bit for (_, bit), on in zip(_LAMPS, lit, strict=True) if on)

    # --- the beginning ---

    def _start(self) -> None:
        display, root = self._display, self._root
        root.change_attributes(event_mask=X.StructureNotifyMask)
        self._has_xfixes = display.has_extension(xfixes.extname)
        if self._has_xfixes:
            xfixes.query_version(display)
            xfixes.select_cursor_input(display, root, xfixes.XFixesDisplayCursorNotifyMask)
        if self._has_xfixes and display.has_extension(damage.extname):
            damage.query_version(display)
            self._region = ask.create_region(display)
            self._damage = damage.damage_create(root, damage.DamageReportNonEmpty)
        if self._randr > (0, 0):
            mask = randr.RRScreenChangeNotifyMask | randr.RRCrtcChangeNotifyMask | randr.RROutputChangeNotifyMask
            randr.select_input(root, mask)
        if display.has_extension(xtest.extname):
            xtest.grab_control(display, True)  # a program that has the server for itself must not freeze the picture
        self._events = events(display)
        told = tell_of_lamps(display)
        self._lamps = tuple(display.intern_atom(name) for name, _ in _LAMPS) if told else ()


def _few(rects: tuple[Rect, ...]) -> list[Rect]:
    """Return what to grab for `rects`: one box about them if they nearly fill it, or are many."""
    if not rects:
        return []
    x, y = min(rect.x for rect in rects), min(rect.y for rect in rects)
    box = Rect(x, y, max(rect.right for rect in rects) - x, max(rect.bottom for rect in rects) - y)
    return [box] if len(rects) > _MANY_RECTS or box.area <= 2 * total_area(rects) else list(rects)
