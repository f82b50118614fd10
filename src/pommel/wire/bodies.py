"""The bytes of one KVM command without its header, in both directions. Band: core, no I/O.

The layouts are MeshCentral's; those of numbers from 200 on are Pommel's. `codec` adds the header to a body.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from pommel.errors import WireError
from pommel.wire import messages as m
from pommel.wire.messages import Command
from pommel.wire.numbers import Number

Unpack = Callable[[bytes], Command]

_HEADER_SIZE = 4
_TOUCH_POINT = struct.Struct(">BIHH")
_DISPLAY = struct.Struct(">HHHHH")
_VIDEO = struct.Struct(">HHHHBB")
_POINTER = struct.Struct(">HHHH")

# Commands whose body consists of their fields, in order.
_PLAIN: dict[type[Any], tuple[int, struct.Struct]] = {
    m.Nop: (Number.NOP, struct.Struct("")),
    m.Copy: (Number.COPY, struct.Struct(">HHHHHH")),
    m.Refresh: (Number.REFRESH, struct.Struct("")),
    m.Screen: (Number.SCREEN, struct.Struct(">HH")),
    m.CtrlAltDel: (Number.CTRL_ALT_DEL, struct.Struct("")),
    m.GetDisplays: (Number.DISPLAYS, struct.Struct("")),
    m.SetDisplay: (Number.SET_DISPLAY, struct.Struct(">H")),
    m.FrameRateTimer: (Number.FRAME_RATE_TIMER, struct.Struct(">H")),
    m.InitTouch: (Number.INIT_TOUCH, struct.Struct("")),
    m.TouchReady: (Number.INIT_TOUCH, struct.Struct(">H")),
    m.ResetTouches: (Number.TOUCH, struct.Struct("")),
    m.KeyState: (Number.KEY_STATE, struct.Struct("B")),
    m.Disconnect: (Number.DISCONNECT, struct.Struct("")),
    m.InputLock: (Number.INPUT_LOCK, struct.Struct("B")),
    m.Abilities: (Number.ABILITIES, struct.Struct(">H")),
    m.Shown: (Number.SHOWN, struct.Struct(">I")),
    m.MouseKind: (Number.MOUSE_KIND, struct.Struct(">H")),
    m.Move: (Number.MOVE, struct.Struct(">HHHHHH")),
    m.Turn: (Number.TURN, struct.Struct(">HHhh")),
    m.SideButton: (Number.SIDE_BUTTON, struct.Struct(">HHB?")),
    m.MoveBy: (Number.MOVE_BY, struct.Struct(">hhB")),
}
_TEXT: dict[type[Any], int] = {m.Message: Number.MESSAGE, m.Debug: Number.DEBUG, m.Alert: Number.ALERT}

# Key's action byte by (down, extended).
_ACTIONS = {(True, False): 0, (False, False): 1, (False, True): 3, (True, True): 4}


def pack(message: Command) -> tuple[int, bytes]:
    """A command's number and its body.

    Raises:
        struct.error, UnicodeEncodeError: a field's value is too large for its place.
        WireError: it is not a KVM command.
    """
    if plain := _PLAIN.get(type(message)):
        return plain[0], plain[1].pack(*astuple(message))
    if isinstance(message, m.Message | m.Debug | m.Alert):
        return _TEXT[type(message)], message.text.encode("latin-1", "replace")
    if isinstance(message, m.Unknown):
        return message.type, message.body
    if special := _SPECIAL.get(type(message)):
        return special[0], special[1](message)
    raise WireError(f"{type(message).__name__} is not a KVM command")


def _ones_complement(delta: int) -> int:
    # The browser builds a negative delta as 0xFFFF - |delta|; -360 is FE 97.
    if not -0x7FFF <= delta <= 0x7FFF:
        raise struct.error(f"a wheel delta of {delta} is outside -32767..32767")
    return delta if delta >= 0 else 0xFFFF + delta


def _picture_body(message: m.Picture) -> bytes:
    return struct.pack(">HH", message.x, message.y) + message.image


def _video_body(message: m.Video) -> bytes:
    place = (message.x, message.y, message.width, message.height)
    return _VIDEO.pack(*place, message.codec, message.flags) + message.chunk


def _pointer_body(message: m.Pointer) -> bytes:
    if misfit := _pointer_misfit(message):
        raise struct.error(misfit)
    return _POINTER.pack(message.width, message.height, message.hot_x, message.hot_y) + message.rgba


def _pointer_misfit(message: m.Pointer) -> str:
    width, height = message.width, message.height
    if max(width, height) > m.POINTER_SIDE:
        return f"a pointer of {width}×{height} pixels; the most is {m.POINTER_SIDE}×{m.POINTER_SIDE}"
    if len(message.rgba) != 4 * width * height:
        return f"a pointer of {width}×{height} pixels in {len(message.rgba)} bytes"
    return ""


def _key_body(message: m.Key) -> bytes:
    return struct.pack("BB", _ACTIONS[bool(message.down), bool(message.extended)], message.vk)


def _key_unicode_body(message: m.KeyUnicode) -> bytes:
    return struct.pack(">BH", 0 if message.down else 1, message.code_unit)


def _mouse_body(message: m.Mouse) -> bytes:
    return struct.pack(">BBHH", 0, message.button, message.x, message.y)


def _wheel_body(message: m.MouseWheel) -> bytes:
    return struct.pack(">BBHHH", 0, 0, message.x, message.y, _ones_complement(message.delta))


def _pause_body(message: m.Pause) -> bytes:
    return b"\x01" if message.paused else b"\x00"


def _compression_body(message: m.Compression) -> bytes:
    body = struct.pack("BB", message.format, message.quality)
    if message.scaling is None and message.frame_timer_ms is not None:
        raise struct.error("a frame timer needs a scaling before it")
    for value in (message.scaling, message.frame_timer_ms):
        body += b"" if value is None else struct.pack(">H", value)
    return body


def _display_list_body(message: m.DisplayList) -> bytes:
    return struct.pack(f">H{len(message.ids)}HH", len(message.ids), *message.ids, message.selected)


def _display_info_body(message: m.DisplayInfo) -> bytes:
    return b"".join(_DISPLAY.pack(*astuple(display)) for display in message.displays)


def _touch_body(message: m.Touch) -> bytes:
    return b"\x01" + _TOUCH_POINT.pack(*astuple(message.point))


def _multi_touch_body(message: m.MultiTouch) -> bytes:
    return b"\x02" + b"".join(_TOUCH_POINT.pack(*astuple(point)) for point in message.points)


def _mouse_cursor_body(message: m.MouseCursor) -> bytes:
    return struct.pack("B", message.shape)


_SPECIAL: dict[type[Any], tuple[int, Callable[[Any], bytes]]] = {
    m.Key: (Number.KEY, _key_body),
    m.Mouse: (Number.MOUSE, _mouse_body),
    m.MouseWheel: (Number.MOUSE, _wheel_body),
    m.Picture: (Number.PICTURE, _picture_body),
    m.Compression: (Number.COMPRESSION, _compression_body),
    m.Pause: (Number.PAUSE, _pause_body),
    m.DisplayList: (Number.DISPLAYS, _display_list_body),
    m.Touch: (Number.TOUCH, _touch_body),
    m.MultiTouch: (Number.TOUCH, _multi_touch_body),
    m.DisplayInfo: (Number.DISPLAY_INFO, _display_info_body),
    m.KeyUnicode: (Number.KEY_UNICODE, _key_unicode_body),
    m.MouseCursor: (Number.MOUSE_CURSOR, _mouse_cursor_body),
    m.Video: (Number.VIDEO, _video_body),
    m.Pointer: (Number.POINTER, _pointer_body),
}


def unpack(unpackers: dict[int, Unpack], kind: int, body: bytes) -> Command:
    """Make a command from its body. WireError: the body does not fit this number."""
    unpack = unpackers.get(kind)
    if unpack is None:
        return m.Unknown(kind, body)
    try:
        return unpack(body)
    except struct.error:
        raise WireError(f"a command of type {kind} cannot be {len(body) + _HEADER_SIZE} bytes long") from None


def _plain(cls: type[Any]) -> Unpack:
    layout = _PLAIN[cls][1]
    return lambda body: cls(*layout.unpack(body))


def _text(cls: Callable[[str], Command]) -> Unpack:
    return lambda body: cls(body.decode("latin-1"))


def _key(body: bytes) -> Command:
    action, vk = struct.unpack("BB", body)
    return m.Key(vk, down=action in (0, 4), extended=action in (3, 4))


def _key_unicode(body: bytes) -> Command:
    action, code_unit = struct.unpack(">BH", body)
    return m.KeyUnicode(code_unit, down=action == 0)


def _mouse(body: bytes) -> Command:
    if len(body) == 6:
        _, button, x, y = struct.unpack(">BBHH", body)
        return m.Mouse(x, y, button)
    _, button, x, y, delta = struct.unpack(">BBHHH", body)
    if button:  # no agent reads both from one command, so a button has priority: it must never be lost
        return m.Mouse(x, y, button)
    return m.MouseWheel(x, y, delta - 0xFFFF if delta >= 0x8000 else delta)


def _picture(body: bytes) -> Command:
    x, y = struct.unpack_from(">HH", body)
    return m.Picture(x, y, body[4:])


def _video(body: bytes) -> Command:
    x, y, width, height, codec, flags = _VIDEO.unpack_from(body)
    return m.Video(x, y, width, height, codec, flags, body[_VIDEO.size :])


def _pointer(body: bytes) -> Command:
    width, height, hot_x, hot_y = _POINTER.unpack_from(body)
    pointer = m.Pointer(width, height, hot_x, hot_y, body[_POINTER.size :])
    if misfit := _pointer_misfit(pointer):
        raise WireError(misfit)
    return pointer


def _compression(body: bytes) -> Command:
    # Older agents and viewers end this after the quality, or after the scaling.
    kind, quality, *rest = struct.unpack({2: ">BB", 4: ">BBH"}.get(len(body), ">BBHH"), body)
    return m.Compression(kind, quality, *rest)


def _pause(body: bytes) -> Command:
    return m.Pause(struct.unpack("B", body) != (0,))


def _display_list(body: bytes) -> Command:
    (n,) = struct.unpack_from(">H", body)
    _, *ids, selected = struct.unpack(f">H{n}HH", body)
    return m.DisplayList(tuple(ids), selected)


def _set_display(body: bytes) -> Command:
    # Old agents send a single byte.
    return m.SetDisplay(*struct.unpack("B" if len(body) == 1 else ">H", body))


def _display_info(body: bytes) -> Command:
    return m.DisplayInfo(tuple(m.Display(*fields) for fields in _DISPLAY.iter_unpack(body)))


def _touch(body: bytes) -> Command:
    points = tuple(m.TouchPoint(*fields) for fields in _TOUCH_POINT.iter_unpack(body[1:]))
    if body[:1] == b"\x01" and len(points) == 1:
        return m.Touch(points[0])
    if body[:1] == b"\x02":
        return m.MultiTouch(points)
    raise struct.error


def _mouse_cursor(body: bytes) -> Command:
    (shape,) = struct.unpack("B", body)
    # An unknown shape is no reason to disconnect, so it becomes the arrow.
    return m.MouseCursor(m.CursorShape(shape) if shape <= max(m.CursorShape) else m.CursorShape.ARROW)


def _disconnect(_: bytes) -> Command:
    return m.Disconnect()


_BOTH: dict[int, Unpack] = {
    Number.NOP: _plain(m.Nop),
    Number.SET_DISPLAY: _set_display,
    Number.MESSAGE: _text(m.Message),
    Number.DISCONNECT: _disconnect,
    Number.INPUT_LOCK: _plain(m.InputLock),
}
TO_ENDPOINT: dict[int, Unpack] = _BOTH | {
    Number.KEY: _key,
    Number.MOUSE: _mouse,
    Number.COMPRESSION: _compression,
    Number.REFRESH: _plain(m.Refresh),
    Number.PAUSE: _pause,
    Number.CTRL_ALT_DEL: _plain(m.CtrlAltDel),
    Number.DISPLAYS: _plain(m.GetDisplays),
    Number.FRAME_RATE_TIMER: _plain(m.FrameRateTimer),
    Number.INIT_TOUCH: _plain(m.InitTouch),
    Number.TOUCH: _touch,
    Number.KEY_UNICODE: _key_unicode,
    Number.ABILITIES: _plain(m.Abilities),
    Number.SHOWN: _plain(m.Shown),
    Number.TURN: _plain(m.Turn),
    Number.SIDE_BUTTON: _plain(m.SideButton),
    Number.MOVE_BY: _plain(m.MoveBy),
}
TO_VIEWER: dict[int, Unpack] = _BOTH | {
    Number.PICTURE: _picture,
    Number.COPY: _plain(m.Copy),
    Number.SCREEN: _plain(m.Screen),
    Number.DISPLAYS: _display_list,
    Number.INIT_TOUCH: _plain(m.TouchReady),
    Number.TOUCH: _plain(m.ResetTouches),
    Number.KEY_STATE: _plain(m.KeyState),
    Number.DEBUG: _text(m.Debug),
    Number.ALERT: _text(m.Alert),
    Number.DISPLAY_INFO: _display_info,
    Number.MOUSE_CURSOR: _mouse_cursor,
    Number.VIDEO: _video,
    Number.POINTER: _pointer,
    Number.MOUSE_KIND: _plain(m.MouseKind),
    Number.MOVE: _plain(m.Move),
}
