"""KVM commands to bytes and back. Band: core, no I/O.

Every command is `u16 type | u16 length | body`, big-endian, the length counting its own header. One that
is too long for that travels in a JUMBO: `u16 27 | u16 8 | u32 N | u16 type | u16 0 | body`, N counting
from the inner header.

`encode` makes one command. `Decoder` takes any pieces of a stream and gives the commands in it; it is
written as one generator, top to bottom as the layout is, which waits inside `_read_exact` for bytes not
yet there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import astuple
from typing import Any

from pommel.errors import WireError
from pommel.wire import messages as m
from pommel.wire.messages import Command, Direction

JUMBO = 27
MAX_LENGTH = 0xFFFF
MAX_JUMBO = 0xFFFFFF  # MeshCentral's viewer reads the low 24 bits of N only

_HEADER = struct.Struct(">HH")
_JUMBO_HEADER = struct.Struct(">HHI")
_N = struct.Struct(">I")
_TOUCH_POINT = struct.Struct(">BIHH")
_DISPLAY = struct.Struct(">HHHHH")
_VIDEO = struct.Struct(">HHHHBB")

ReadExact = Callable[[int], Generator[None, None, bytes]]
_Unpack = Callable[[bytes], Command]


def encode(message: Command) -> bytes:
    """Turn one command into its bytes, in a JUMBO if it is longer than 65535.

    Raises:
        WireError: a field does not fit its place, or the whole is 16 MiB or more.
    """
    try:
        kind, body = _body_of(message)
        return _framed(kind, body)
    except (struct.error, UnicodeEncodeError) as misfit:
        raise WireError(f"{type(message).__name__} does not fit the wire: {misfit}") from None


class Decoder:
    """Commands from a stream of bytes that comes in any pieces.

    Give bytes with `receive_data`, say the end with `receive_eof`, and take what has become whole with
    `events`. Once the bytes are wrong the decoder stays failed: nothing after that point can be trusted.
    """

    def __init__(self, direction: Direction, *, max_size: int = MAX_JUMBO) -> None:
        self._unpackers = _TO_ENDPOINT if direction is Direction.TO_ENDPOINT else _TO_VIEWER
        self._max_size = max_size
        self._buffer = bytearray()
        self._whole: list[Command] = []
        self._failure: WireError | None = None
        self._inside = False  # has the current command begun?
        self._parser = self._parse()
        next(self._parser)

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; never raises (see `events`). After a failure they are dropped."""
        if self._failure is not None:
            return
        self._buffer += data
        try:
            self._parser.send(None)
        except WireError as failure:
            self._fail(failure)

    def receive_eof(self) -> None:
        """Take note that no bytes will follow; the middle of a command is no place to end."""
        if self._failure is None and (self._inside or self._buffer):
            self._fail(WireError("the stream ended in the middle of a command"))

    def events(self) -> Iterator[Command]:
        """Yield each command that became whole, once, in order.

        Raises:
            WireError: after the last good command, if what followed it was wrong. Again at each further
            call.
        """
        while self._whole:
            yield self._whole.pop(0)
        if self._failure is not None:
            raise self._failure

    def _fail(self, failure: WireError) -> None:
        self._failure = failure
        self._buffer.clear()
        self._parser.close()

    def _parse(self) -> Generator[None, None, None]:
        while True:
            self._inside = False
            header = yield from self._read_exact(_HEADER.size)
            self._inside = True
            kind, body = yield from self._read_command(*_HEADER.unpack(header))
            self._whole.append(_command(self._unpackers, kind, body))

    def _read_command(self, kind: int, length: int) -> Generator[None, None, tuple[int, bytes]]:
        if kind == JUMBO:
            return (yield from self._read_jumbo(length))
        if length < _HEADER.size:
            raise WireError(f"a command of type {kind} says it is {length} bytes long; 4 is the least")
        if length > self._max_size:
            raise WireError(f"a command of {length} bytes is over the limit of {self._max_size}")
        return kind, (yield from self._read_exact(length - _HEADER.size))

    def _read_jumbo(self, length: int) -> Generator[None, None, tuple[int, bytes]]:
        if length != _JUMBO_HEADER.size:
            raise WireError(f"a JUMBO says its header is {length} bytes long; it is 8")
        (n,) = _N.unpack((yield from self._read_exact(_N.size)))
        if n < _HEADER.size or n > self._max_size:
            raise WireError(f"a JUMBO of {n} bytes; allowed are {_HEADER.size} to {self._max_size}")
        inner = yield from self._read_exact(_HEADER.size)
        kind, inner_length = _HEADER.unpack(inner)
        if kind == JUMBO or inner_length not in (0, n):
            raise WireError(f"a JUMBO of {n} bytes holds type {kind} with a length of {inner_length}")
        return kind, (yield from self._read_exact(n - _HEADER.size))

    def _read_exact(self, n: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < n:
            yield
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data


# --- the bytes of one command, out and in ---

# Commands whose body is just their fields, in order.
_PLAIN: dict[type[Any], tuple[int, struct.Struct]] = {
    m.Nop: (0, struct.Struct("")),
    m.Copy: (4, struct.Struct(">HHHHHH")),
    m.Refresh: (6, struct.Struct("")),
    m.Screen: (7, struct.Struct(">HH")),
    m.CtrlAltDel: (10, struct.Struct("")),
    m.GetDisplays: (11, struct.Struct("")),
    m.SetDisplay: (12, struct.Struct(">H")),
    m.FrameRateTimer: (13, struct.Struct(">H")),
    m.InitTouch: (14, struct.Struct("")),
    m.TouchReady: (14, struct.Struct(">H")),
    m.ResetTouches: (15, struct.Struct("")),
    m.KeyState: (18, struct.Struct("B")),
    m.Disconnect: (59, struct.Struct("")),
    m.InputLock: (87, struct.Struct("B")),
    m.Abilities: (200, struct.Struct(">H")),
    m.Shown: (201, struct.Struct(">I")),
}
_TEXT: dict[type[Any], int] = {m.Message: 17, m.Debug: 64, m.Alert: 65}

# Key's action byte by (down, extended).
_ACTIONS = {(True, False): 0, (False, False): 1, (False, True): 3, (True, True): 4}


def _framed(kind: int, body: bytes) -> bytes:
    length = _HEADER.size + len(body)
    if length <= MAX_LENGTH and kind != JUMBO:
        return _HEADER.pack(kind, length) + body
    if length > MAX_JUMBO or kind == JUMBO:
        raise WireError(f"a command of type {kind} and {length} bytes cannot be sent; the most is {MAX_JUMBO}")
    return _JUMBO_HEADER.pack(JUMBO, _JUMBO_HEADER.size, length) + _HEADER.pack(kind, 0) + body


def _body_of(message: Command) -> tuple[int, bytes]:
    if plain := _PLAIN.get(type(message)):
        return plain[0], plain[1].pack(*astuple(message))
    if isinstance(message, m.Message | m.Debug | m.Alert):
        return _TEXT[type(message)], message.text.encode("latin-1", "replace")
    if isinstance(message, m.Unknown):
        return message.type, message.body
    if special := _SPECIAL.get(type(message)):
        return special[0], special[1](message)
    raise WireError(f"{type(message).__name__} is no KVM command")


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
    m.Key: (1, _key_body),
    m.Mouse: (2, _mouse_body),
    m.MouseWheel: (2, _wheel_body),
    m.Picture: (3, _picture_body),
    m.Compression: (5, _compression_body),
    m.Pause: (8, _pause_body),
    m.DisplayList: (11, _display_list_body),
    m.Touch: (15, _touch_body),
    m.MultiTouch: (15, _multi_touch_body),
    m.DisplayInfo: (82, _display_info_body),
    m.KeyUnicode: (85, _key_unicode_body),
    m.MouseCursor: (88, _mouse_cursor_body),
    m.Video: (202, _video_body),
}


def _command(unpackers: dict[int, _Unpack], kind: int, body: bytes) -> Command:
    unpack = unpackers.get(kind)
    if unpack is None:
        return m.Unknown(kind, body)
    try:
        return unpack(body)
    except struct.error:
        raise WireError(f"a command of type {kind} cannot be {len(body) + _HEADER.size} bytes long") from None


def _plain(cls: type[Any]) -> _Unpack:
    layout = _PLAIN[cls][1]
    return lambda body: cls(*layout.unpack(body))


def _text(cls: Callable[[str], Command]) -> _Unpack:
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
    if button:  # no agent reads both from one command, and a button must never be lost
        return m.Mouse(x, y, button)
    return m.MouseWheel(x, y, delta - 0xFFFF if delta >= 0x8000 else delta)


def _picture(body: bytes) -> Command:
    x, y = struct.unpack_from(">HH", body)
    return m.Picture(x, y, body[4:])


def _video(body: bytes) -> Command:
    x, y, width, height, codec, flags = _VIDEO.unpack_from(body)
    return m.Video(x, y, width, height, codec, flags, body[_VIDEO.size :])


def _compression(body: bytes) -> Command:
    # Agents and viewers of different ages end this after the quality, the scaling or the timer.
    kind, quality, *rest = struct.unpack({2: ">BB", 4: ">BBH"}.get(len(body), ">BBHH"), body)
    return m.Compression(kind, quality, *rest)


def _pause(body: bytes) -> Command:
    return m.Pause(struct.unpack("B", body) != (0,))


def _display_list(body: bytes) -> Command:
    (n,) = struct.unpack_from(">H", body)
    _, *ids, selected = struct.unpack(f">H{n}HH", body)
    return m.DisplayList(tuple(ids), selected)


def _set_display(body: bytes) -> Command:
    # Old agents echo a single byte.
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
    # A shape we do not know is no reason to part: the arrow will do.
    return m.MouseCursor(m.CursorShape(shape) if shape <= max(m.CursorShape) else m.CursorShape.ARROW)


def _disconnect(_: bytes) -> Command:
    return m.Disconnect()


_BOTH: dict[int, _Unpack] = {
    0: _plain(m.Nop),
    12: _set_display,
    17: _text(m.Message),
    59: _disconnect,
    87: _plain(m.InputLock),
}
_TO_ENDPOINT: dict[int, _Unpack] = _BOTH | {
    1: _key,
    2: _mouse,
    5: _compression,
    6: _plain(m.Refresh),
    8: _pause,
    10: _plain(m.CtrlAltDel),
    11: _plain(m.GetDisplays),
    13: _plain(m.FrameRateTimer),
    14: _plain(m.InitTouch),
    15: _touch,
    85: _key_unicode,
    200: _plain(m.Abilities),
    201: _plain(m.Shown),
}
_TO_VIEWER: dict[int, _Unpack] = _BOTH | {
    3: _picture,
    4: _plain(m.Copy),
    7: _plain(m.Screen),
    11: _display_list,
    14: _plain(m.TouchReady),
    15: _plain(m.ResetTouches),
    18: _plain(m.KeyState),
    64: _text(m.Debug),
    65: _text(m.Alert),
    82: _display_info,
    88: _mouse_cursor,
    202: _video,
}
