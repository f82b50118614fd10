"""What watches an X server and takes its pictures. Band: shell; all but `want` in its connection's thread.

DAMAGE says once that something was drawn and where it begins, and nothing more until we have taken the damage: a screen
nobody asks for costs one event. When a picture is asked for, one flight of requests takes the damage first and then the
pixels where it began, so what is drawn in between is damage again and never missed; a second flight takes what else the
damage turns out to be. Two frames take turns and are compared here, away from the event loop. A server without DAMAGE
is looked at in full, every now and then, and ever more rarely while nothing changes.
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
from pommel.screen.tiles import Changes, touched
from pommel.wire.messages import CAPS_LOCK, NUM_LOCK, SCROLL_LOCK, CursorShape

# The first change after a rest is shown at once. What a program draws in several requests follows it: not sooner than
# this, so that it comes in few pictures, and in the long run not more often than every `GAP_S`.
BURST_S = 0.004
GAP_S = 1 / 60
POLL_S, LONGEST_POLL_S = 0.03, 0.4
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
        self._began: Rect | None = None  # where, on the root window, damage began that was not taken yet
        self._asked = False
        self._looked_s = self._next_s = self._allowed_s = 0.0
        self._poll_s = POLL_S
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

    @property
    def polls(self) -> bool:
        """Tell whether the server does not tell of changes, and has to be looked at for them."""
        return not self._damage

    def want(self) -> bool:
        """Ask for one update, as soon as there is something new; from any thread. True: the thread is to be woken.

        Not a call in the thread, which sleeps until there is something new as a rule: waking it for this would cost
        more than all else while a picture is on its way to the viewers.
        """
        self._asked = True
        return self.polls or self._has_news()

    def poke(self) -> None:
        """Have the next update come even if nothing is new."""
        self._poked = True

    def hurry(self) -> None:
        """Expect a change soon: a server that does not tell of changes is looked at more often for it."""
        self._poll_s = POLL_S

    def choose(self, number: int) -> None:
        """Look at the display of this number, or at all of them."""
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
        """Take a picture of what is new and show it."""
        now = self._looked_s = time.monotonic()
        self._next_s = max(now + BURST_S, self._allowed_s)
        self._allowed_s = max(self._allowed_s, now - GAP_S) + GAP_S
        for _ in range(_TRIES):
            try:
                self._look()
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

    def _has_news(self) -> bool:
        return self._began is not None or self._moved or self._poked or self._pointer_changed or self._lamps_changed

    def _look(self) -> None:
        told, self._poked = self._has_news(), False
        update = self._update()
        if not told and not _says_something(update):  # looked at for nothing
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

    def _grab(self, picture: Picture, *, everything: bool) -> tuple[Rect, ...]:
        """Take what was drawn, and its pixels; return where that is in the frame."""
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

    def _pointer(self) -> tuple[CursorShape | None, PointerPicture | None]:
        changed, self._pointer_changed = self._pointer_changed, False
        if not (changed and self._has_xfixes):
            return None, None
        try:
            image = ask.cursor_image(self._display)
        except XError:  # the server shows nobody a pointer whose maker has left, as xsetroot does (Xext/security.c)
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
            xtest.grab_control(display, True)  # a program that has the server for itself must not freeze the picture
        self._events = events(display)
        told = tell_of_lamps(display)
        self._lamps = tuple(display.intern_atom(name) for name, _ in _LAMPS) if told else ()


def _says_something(update: Update) -> bool:
    news = update.lock_keys, update.cursor, update.displays
    return any(one is not None for one in news) or (update.changed is not None and bool(update.changed.tiles.any()))


def _within(rect: Rect, place: Rect) -> Rect:
    """Return the part of a rectangle of the root window that is in a frame that shows `place`, as the frame's."""
    moved = rect._replace(x=rect.x - place.x, y=rect.y - place.y)
    return moved.clipped(Size(place.width, place.height))


def _few(rects: Sequence[Rect]) -> list[Rect]:
    """Return what to grab for `rects`: one box about them if they nearly fill it, or are many."""
    if not rects:
        return []
    x, y = min(rect.x for rect in rects), min(rect.y for rect in rects)
    box = Rect(x, y, max(rect.right for rect in rects) - x, max(rect.bottom for rect in rects) - y)
    return [box] if len(rects) > _MANY_RECTS or box.area <= 2 * total_area(rects) else list(rects)
