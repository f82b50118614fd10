"""Watches an X server and takes its pictures. Band: shell; all but `want` in its connection's thread.

DAMAGE sends one event with the first damaged rectangle, and no more until we fetch the damage: a screen without viewers
costs one event. For a picture, one batch of requests fetches the damage first and then the pixels of the first
rectangle; a second batch fetches the other damaged rectangles. This order loses nothing: pixels that are drawn in
between are new damage. Two frames take turns and are compared here, not in the event loop. From a server without
DAMAGE the whole picture is fetched from time to time, and more rarely while nothing changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from Xlib import X
from Xlib.display import Display
from Xlib.error import XError
from Xlib.ext import damage, randr, xfixes, xtest

from pommel.errors import StateError
from pommel.screen.geometry import Rect, Size, total_area, whole
from pommel.screen.pointer import UNKNOWN, PointerPicture
from pommel.screen.seams import Displays, Update
from pommel.screen.sources import x11_requests as ask
from pommel.screen.sources.x11_displays import X11Desktop
from pommel.screen.sources.x11_pictures import SharedPicture, X11Picture, new_picture
from pommel.screen.sources.x11_server import (
    check_readable,
    events,
    monitors,
    randr_version,
    tell_of_lamps,
)
from pommel.screen.sources.x11_shapes import shape_of
from pommel.screen.tiles import Changes, touched
from pommel.wire.messages import CAPS_LOCK, NUM_LOCK, SCROLL_LOCK, CursorShape

# The first change after a pause is shown at once. The next picture comes after this time at the earliest, because a
# program draws in several requests, which should be in few pictures; and the mean rate is at most one per `GAP_S`.
BURST_S = 0.004
GAP_S = 1 / 60
POLL_S, LONGEST_POLL_S = 0.03, 0.4
_MANY_RECTS = 16
_TRIES = 5
_LAMPS = (("Num Lock", NUM_LOCK), ("Scroll Lock", SCROLL_LOCK), ("Caps Lock", CAPS_LOCK))


class Camera:
    """The tenant of a source's connection. After each `want`, `show` is called once, in this thread."""

    def __init__(self, display: Display, show: Callable[[Update], None]) -> None:
        """Ask for the server's properties. StateError: its screen cannot be read."""
        self._display, self._show = display, show
        self._root = display.screen().root
        self._randr = randr_version(display)
        check_readable(display, self._randr)
        self._desktop = X11Desktop(Size(0, 0))
        self._told = Displays()
        self._picture: X11Picture | None = None
        self._shared = display.has_extension(ask.SHM)
        self._damage = 0
        self._began: Rect | None = None  # the first rectangle, on the root window, of damage that was not fetched yet
        self._asked = False
        self._looked_s = self._next_s = self._allowed_s = 0.0
        self._poll_s = POLL_S
        self._moved = self._pointer_changed = self._lamps_changed = True
        self._poked = True
        self._broken = False  # the damage was fetched, but its pixels were not: the next picture must be whole
        self._start()

    @property
    def view(self) -> Rect:
        """The rectangle of the root window that the frame shows."""
        return self._desktop.view

    @property
    def is_shared(self) -> bool:
        """Whether the picture's memory is shared with the server."""
        return isinstance(self._picture, SharedPicture)

    @property
    def polls(self) -> bool:
        """Whether the server has no DAMAGE, so that its picture must be fetched to find changes."""
        return not self._damage

    def want(self) -> bool:
        """Ask for one update as soon as there is something new; called in any thread. True: wake the thread.

        It only sets a flag, because the thread usually sleeps until there is something new. Waking it each time would
        cost more than all other work while a picture is on its way to the viewers.
        """
        self._asked = True
        return self.polls or self._has_news()

    def poke(self) -> None:
        """Send the next update even if nothing is new."""
        self._poked = True

    def hurry(self) -> None:
        """Expect a change soon: a server without DAMAGE is polled more often for a while."""
        self._poll_s = POLL_S

    def choose(self, number: int) -> None:
        """Show the display with this number, or all of them."""
        self._desktop = self._desktop.choose(number)
        self._moved = True

    # --- a connection's tenant ---

    def handle(self, event: Any) -> None:
        """See `Tenant`."""
        match self._events.get(event.type):
            case damage.extname:
                self._began = self._began or Rect(event.area.x, event.area.y, event.area.width, event.area.height)
            case xfixes.extname:
                self._pointer_changed = True
            case ask.XKB:
                self._lamps_changed = True
            case randr.extname:
                self._moved = True

    def due_s(self) -> float | None:
        """See `Tenant`."""
        if not self._asked:
            return None
        if self._moved or self._poked:
            return 0.0
        if self._has_news():
            return self._next_s
        return max(self._looked_s + self._poll_s, self._next_s) if self.polls else None

    def act(self) -> None:
        """Fetch the changes and show them."""
        now = self._looked_s = time.monotonic()
        self._next_s = max(now + BURST_S, self._allowed_s)
        self._allowed_s = max(self._allowed_s, now - GAP_S) + GAP_S
        for _ in range(_TRIES):
            try:
                self._look()
                return
            except XError:  # the root window is smaller now, and its event is still on the way: look again
                self._moved, self._broken = True, True
        raise StateError("the X server refuses to show its screen")

    def leave(self) -> None:
        """See `Tenant`."""
        if self._picture is not None:
            self._picture.close()
            self._picture = None

    # --- the picture ---

    def _has_news(self) -> bool:
        return self._began is not None or self._moved or self._poked or self._pointer_changed or self._lamps_changed

    def _look(self) -> None:
        told, self._poked = self._has_news(), False
        update = self._update()
        if not told and not _says_something(update):  # polled, and nothing changed
            self._poll_s = min(1.5 * self._poll_s, LONGEST_POLL_S)
            return
        self._poll_s, self._asked = POLL_S, False
        self._show(update)

    def _update(self) -> Update:
        if self._moved:
            self._look_around()
        fresh = self._broken or self._picture is None or self._picture.place != self.view
        picture = self._fit() if fresh else self._picture
        if picture is None:
            raise StateError("the X server has no picture")
        drawn = self._grab(picture, everything=fresh or self.polls)
        changed = picture.turn()
        self._broken = False
        cursor, pointer = self._pointer()
        return Update(
            picture.frame, drawn, lock_keys=self._lock_keys(), cursor=cursor, pointer=pointer,
            displays=self._displays(),
            changed=Changes.throughout(touched(picture.frame.size, drawn)) if fresh else changed,
        )  # fmt: skip

    def _grab(self, picture: X11Picture, *, everything: bool) -> tuple[Rect, ...]:
        """Fetch the damage and its pixels; return the damaged rectangles of the frame."""
        size = picture.frame.size
        began, self._began = self._began, None
        taking = None
        if began is not None:
            taking = ask.start_taking_damage(self._display, self._root, self._damage, self._region)
        place = whole(size) if everything else _within(began or Rect(0, 0, 0, 0), picture.place)
        picture.grab([place] if place.area else [])
        rects = (_within(rect, picture.place) for rect in ask.rects(taking)) if taking else ()
        drawn = tuple(rect for rect in rects if rect.area)
        picture.grab(_few([rect for rect in drawn if not place.contains(rect)]))
        return (place,) if everything else drawn

    def _fit(self) -> X11Picture:
        """Make a picture for the current view."""
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

    def _pointer(self) -> tuple[CursorShape | None, PointerPicture | None]:
        changed, self._pointer_changed = self._pointer_changed, False
        if not (changed and self._has_xfixes):
            return None, None
        try:
            image = ask.cursor_image(self._display)
        except XError:  # the pointer's maker, such as xsetroot, has ended: then the server refuses (Xext/security.c)
            return CursorShape.ARROW, UNKNOWN
        return shape_of(image.name, image.visible), image.picture

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
            xtest.grab_control(display, True)  # so that a program that grabs the server does not freeze the picture
        self._events = events(display)
        told = tell_of_lamps(display)
        self._lamps = tuple(display.intern_atom(name) for name, _ in _LAMPS) if told else ()


def _says_something(update: Update) -> bool:
    news = update.lock_keys, update.cursor, update.displays
    return any(one is not None for one in news) or (update.changed is not None and bool(update.changed.tiles.any()))


def _within(rect: Rect, place: Rect) -> Rect:
    """Convert a rectangle of the root window to one of a frame that shows `place`, clipped to the frame."""
    moved = rect._replace(x=rect.x - place.x, y=rect.y - place.y)
    return moved.clipped(Size(place.width, place.height))


def _few(rects: Sequence[Rect]) -> list[Rect]:
    """Return the rectangles to fetch for `rects`: their bounding box if they fill half of it, or are many."""
    if not rects:
        return []
    x, y = min(rect.x for rect in rects), min(rect.y for rect in rects)
    box = Rect(x, y, max(rect.right for rect in rects) - x, max(rect.bottom for rect in rects) - y)
    return [box] if len(rects) > _MANY_RECTS or box.area <= 2 * total_area(rects) else list(rects)
