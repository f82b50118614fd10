"""The X11 requests that python-xlib lacks: MIT-SHM, XFIXES regions and cursor names, XKB's lamps. Band: core, no I/O.

Only layouts, written with python-xlib's own classes, so that one connection carries these requests and the library's.
python-xlib 0.33 itself has DAMAGE, RandR with monitors, XTEST, and the cursor events of XFIXES. Sources: shmproto.h,
xfixesproto.h, XKBproto.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from Xlib import X
from Xlib.display import Display
from Xlib.ext import damage, xfixes
from Xlib.protocol import rq
from Xlib.xobject.drawable import Window

from pommel.screen.geometry import Rect
from pommel.screen.pointer import PointerPicture, picture_of

ALL_PLANES = 0xFFFFFFFF
SHM, XKB = "MIT-SHM", "XKEYBOARD"  # in x11_display too, which loads them
_CORE_KEYBOARD, _DEFAULT_CLASS, _DEFAULT_ID = 0x100, 0x300, 0x400
_INDICATOR_STATE = 1 << 4  # XkbIndicatorStateNotifyMask


def _reply(*fields: rq.Field, first: rq.Field | None = None) -> rq.Struct:
    return rq.Struct(rq.ReplyCode(), first or rq.Pad(1), rq.Card16("sequence_number"), rq.ReplyLength(), *fields)


def _request(number: int, *fields: rq.Field) -> rq.Struct:
    return rq.Struct(rq.Card8("opcode"), rq.Opcode(number), rq.RequestLength(), *fields)


# --- MIT-SHM ---


class ShmAttach(rq.Request):
    """1: the server maps a segment; `onerror` is called with an error."""

    _request = _request(1, rq.Card32("segment"), rq.Card32("shm_id"), rq.Bool("read_only"), rq.Pad(3))


class ShmDetach(rq.Request):
    """2: the server unmaps a segment."""

    _request = _request(2, rq.Card32("segment"))


class ShmGetImage(rq.ReplyRequest):
    """4: the server writes a part of a drawable into a segment, then replies."""

    _request = _request(
        4, rq.Drawable("drawable"), rq.Int16("x"), rq.Int16("y"), rq.Card16("width"), rq.Card16("height"),
        rq.Card32("plane_mask"), rq.Card8("format"), rq.Pad(3), rq.Card32("segment"), rq.Card32("offset"),
    )  # fmt: skip
    _reply = _reply(rq.Card32("visual"), rq.Card32("size"), rq.Pad(16), first=rq.Card8("depth"))


def start_shm_image(display: Display, window: Window, rect: Rect, segment: int, offset: int) -> ShmGetImage:
    """Ask the server to write `rect` of `window` at `offset` of a segment, rows packed; `.reply()` waits."""
    return ShmGetImage(
        display=display.display, defer=True, opcode=display.display.get_extension_major(SHM), drawable=window.id,
        x=rect.x, y=rect.y, width=rect.width, height=rect.height, plane_mask=ALL_PLANES, format=X.ZPixmap,
        segment=segment, offset=offset,
    )  # fmt: skip


# --- XFIXES ---


class CreateRegion(rq.Request):
    """5: make a region; here always an empty one."""

    _request = _request(5, rq.Card32("region"))


class FetchRegion(rq.ReplyRequest):
    """19: the rectangles of a region, and their bounding box."""

    _request = _request(19, rq.Card32("region"))
    _reply = _reply(
        rq.Int16("x"), rq.Int16("y"), rq.Card16("width"), rq.Card16("height"), rq.Pad(16), rq.Binary("rects")
    )


class GetCursorImageAndName(rq.ReplyRequest):
    """25: the pointer's image, ARGB, and the atom of its name if it has one."""

    _request = _request(25)
    _reply = _reply(
        rq.Int16("x"), rq.Int16("y"), rq.Card16("width"), rq.Card16("height"), rq.Card16("xhot"), rq.Card16("yhot"),
        rq.Card32("serial"), rq.Card32("name_atom"), rq.Card16("name_bytes"), rq.Pad(2), rq.Binary("image_and_name"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CursorImage:
    """The pointer's image. `name` is "" if its program gave none; `visible`: at least one pixel is not transparent."""

    name: str
    visible: bool
    picture: PointerPicture


def create_region(display: Display) -> int:
    """Make an empty region and return its id."""
    region: int = display.display.allocate_resource_id()
    CreateRegion(display=display.display, opcode=display.display.get_extension_major(xfixes.extname), region=region)
    return region


def start_taking_damage(display: Display, window: Window, which: int, region: int) -> FetchRegion:
    """Move the damage of a damage object into `region` and ask for the region; `rects` reads the answer."""
    damage.damage_subtract(window, which, X.NONE, region)
    opcode = display.display.get_extension_major(xfixes.extname)
    return FetchRegion(display=display.display, defer=True, opcode=opcode, region=region)


def rects(fetched: FetchRegion) -> tuple[Rect, ...]:
    """Wait for the rectangles of a region; they do not overlap."""
    fetched.reply()
    return tuple(_rects(bytes(fetched.rects)))


def _rects(data: bytes) -> Iterator[Rect]:
    words = memoryview(data).cast("H")
    for i in range(0, len(words) - 3, 4):
        x, y = (word - 0x10000 if word & 0x8000 else word for word in words[i : i + 2])
        yield Rect(x, y, words[i + 2], words[i + 3])


def cursor_image(display: Display) -> CursorImage:
    """Ask for the pointer's image. XError: the server refuses."""
    got = GetCursorImageAndName(display=display.display, opcode=display.display.get_extension_major(xfixes.extname))
    data = bytes(got.image_and_name)
    count = 4 * got.width * got.height
    name = data[count : count + got.name_bytes].decode("latin-1")
    # ARGB words, low byte first; alpha is multiplied in (fixesproto.txt, GetCursorImage; Render's formats).
    pixels = np.frombuffer(data, np.uint8, count).reshape(got.height, got.width, 4)
    picture = picture_of(pixels, got.xhot, got.yhot, multiplied=True)
    return CursorImage(name, bool(pixels[:, :, 3].any()), picture)


# --- XKB ---


class XkbUseExtension(rq.ReplyRequest):
    """0: must be the first request of XKB."""

    _request = _request(0, rq.Card16("major"), rq.Card16("minor"))
    _reply = _reply(rq.Card16("major"), rq.Card16("minor"), rq.Pad(20), first=rq.Card8("supported"))


class XkbSelectEvents(rq.Request):
    """1: choose the events that the server sends; here without details, so all events of a type."""

    _request = _request(
        1, rq.Card16("device"), rq.Card16("affect_which"), rq.Card16("clear"), rq.Card16("select_all"),
        rq.Card16("affect_map"), rq.Card16("map"),
    )  # fmt: skip


class XkbGetNamedIndicator(rq.ReplyRequest):
    """15: the state of the lamp with a name. Its number differs between keyboards, its name does not."""

    _request = _request(
        15, rq.Card16("device"), rq.Card16("led_class"), rq.Card16("led_id"), rq.Pad(2), rq.Card32("indicator")
    )
    _reply = _reply(
        rq.Card32("indicator"), rq.Card8("found"), rq.Card8("on"), rq.Card8("real"), rq.Card8("number"),
        rq.Pad(16), first=rq.Card8("device"),
    )  # fmt: skip


def select_lamp_events(display: Display) -> bool:
    """Ask for an XKB event at each change of a keyboard lamp; False if the server cannot send it."""
    opcode = display.display.get_extension_major(XKB)
    if not XkbUseExtension(display=display.display, opcode=opcode, major=1, minor=0).supported:
        return False
    XkbSelectEvents(
        display=display.display, opcode=opcode, device=_CORE_KEYBOARD, affect_which=_INDICATOR_STATE, clear=0,
        select_all=_INDICATOR_STATE, affect_map=0, map=0,
    )  # fmt: skip
    return True


def lit_lamps(display: Display, names: tuple[int, ...]) -> tuple[bool, ...]:
    """Return for each lamp, named by its atom, whether it is lit."""
    opcode = display.display.get_extension_major(XKB)
    asked = [
        XkbGetNamedIndicator(
            display=display.display, defer=True, opcode=opcode, device=_CORE_KEYBOARD, led_class=_DEFAULT_CLASS,
            led_id=_DEFAULT_ID, indicator=name,
        )
        for name in names
    ]  # fmt: skip
    for one in asked:
        one.reply()
    return tuple(bool(one.found and one.on) for one in asked)
