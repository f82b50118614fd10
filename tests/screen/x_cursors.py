"""Pointers for an X server with any pixels, by the Render extension, which python-xlib lacks (render.h, renderproto.h)."""

from __future__ import annotations

import struct

import numpy as np
from Xlib import X
from Xlib.protocol import rq

from screen.x_server import Painter


def _request(number: int, *fields: rq.Field) -> rq.Struct:
    return rq.Struct(rq.Card8("opcode"), rq.Opcode(number), rq.RequestLength(), *fields)


class _QueryVersion(rq.ReplyRequest):
    _request = _request(0, rq.Card32("major"), rq.Card32("minor"))
    _reply = rq.Struct(
        rq.ReplyCode(), rq.Pad(1), rq.Card16("sequence_number"), rq.ReplyLength(), rq.Card32("major"),
        rq.Card32("minor"), rq.Pad(16),
    )  # fmt: skip


class _QueryPictFormats(rq.ReplyRequest):
    _request = _request(1)
    _reply = rq.Struct(
        rq.ReplyCode(), rq.Pad(1), rq.Card16("sequence_number"), rq.ReplyLength(), rq.Card32("formats"),
        rq.Pad(20), rq.Binary("more"),
    )  # fmt: skip


class _CreatePicture(rq.Request):
    _request = _request(4, rq.Card32("picture"), rq.Card32("drawable"), rq.Card32("format"), rq.Card32("values"))


class _CreateCursor(rq.Request):
    _request = _request(27, rq.Card32("cursor"), rq.Card32("source"), rq.Card16("x"), rq.Card16("y"))


def show_image(paint: Painter, argb: np.ndarray, hot_x: int, hot_y: int) -> None:
    """Make the root window's pointer of a (height, width) array of words 0xAARRGGBB, alpha multiplied in."""
    display, opcode = paint.display.display, paint.display.query_extension("RENDER").major_opcode
    _QueryVersion(display=display, opcode=opcode, major=0, minor=11)
    height, width = argb.shape
    image = paint.root.create_pixmap(width, height, 32)
    gc, data = image.create_gc(), argb.astype("<u4").tobytes()
    rows = max((1 << 17) // (4 * width), 1)  # a request carries 256 KiB at most
    for y in range(0, height, rows):
        part = data[4 * width * y : 4 * width * (y + rows)]
        image.put_image(gc, 0, y, width, len(part) // (4 * width), X.ZPixmap, 32, 0, part)
    picture, cursor = display.allocate_resource_id(), display.allocate_resource_id()
    _CreatePicture(
        display=display, opcode=opcode, picture=picture, drawable=image.id, format=_argb32(paint, opcode), values=0
    )
    _CreateCursor(display=display, opcode=opcode, cursor=cursor, source=picture, x=hot_x, y=hot_y)
    paint.root.change_attributes(cursor=cursor)
    paint.display.sync()


def _argb32(paint: Painter, opcode: int) -> int:
    found = _QueryPictFormats(display=paint.display.display, opcode=opcode)
    wanted = (1, 32, 16, 255, 8, 255, 0, 255, 24, 255)  # direct, depth; shift and mask of red, green, blue, alpha
    formats = struct.iter_unpack("<IBB2xHHHHHHHH4x", bytes(found.more)[: 28 * found.formats])
    return next(one[0] for one in formats if one[1:] == wanted)
