"""The client's side of RFB 3.8, as bytes in and events out. Band: core, no I/O.

RFC 6143; extensions as in the community's rfbproto and QEMU's ui/vnc.c. It reads what `rfb_requests.ENCODINGS` asks for
and refuses everything else by name. It draws into `frame` itself: the owner of the socket asks `get_buffer` where to
put the next bytes, and then calls `buffer_updated`. For a rectangle of full width, that place is the frame's own
memory, so its pixels are copied only once, by the kernel. The parser is one generator in the order of the protocol; it
stops (`yield`) where bytes are missing.

The pixels of an incomplete rectangle are already in the frame; `Updated` says when they are valid.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache

import numpy as np

from pommel.errors import RfbError
from pommel.screen import rfb_requests as ask
from pommel.screen.frame import BYTES_PER_PIXEL, Frame, Pixels
from pommel.screen.geometry import Rect, Size
from pommel.screen.move_search import MovedArea
from pommel.screen.pointer import PointerPicture, may_be_multiplied, picture_of

_STAGE_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class RfbLimits:
    """Limits on what a server can send."""

    side: int = 16384
    pixels: int = 7680 * 4320
    cursor_side: int = 512
    text: int = 1 << 24  # bytes of a text that is skipped
    reason: int = 4096  # bytes of a text that is shown


@dataclass(frozen=True, slots=True)
class Ready:
    """The handshake is done; `frame` exists, and is black."""

    size: Size
    name: str


@dataclass(frozen=True, slots=True)
class Resized:
    """The picture has another size from now on; `frame` is a new one, and is black."""

    size: Size


@dataclass(frozen=True, slots=True)
class Updated:
    """A framebuffer update is complete: these rectangles of `frame` may have changed.

    `copies` are those of them that the server copied from another place (RFC 6143, 7.7.2), in its order, with the
    distance of each. Other rectangles of the same update may have been drawn before, between and after them.
    """

    damage: tuple[Rect, ...]
    copies: tuple[MovedArea, ...] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """The guest's pointer has this picture now. `visible`: at least one pixel is not fully transparent."""

    visible: bool
    picture: PointerPicture


@dataclass(frozen=True, slots=True)
class Leds:
    """QEMU's keyboard LEDs: 1 Scroll Lock, 2 Num Lock, 4 Caps Lock."""

    bits: int


@dataclass(frozen=True, slots=True)
class ExtendedKeys:
    """The server accepts QEMU's extended key events."""


@dataclass(frozen=True, slots=True)
class PointerType:
    """Whether the guest's mouse is absolute. If not, pointer events must contain movements from now on."""

    absolute: bool


@dataclass(frozen=True, slots=True)
class ExtendedButtons:
    """The server accepts the mouse buttons 8 and 9."""


@dataclass(frozen=True, slots=True)
class Bell:
    """The guest beeped."""


@cache
def _form(layout: str) -> struct.Struct:
    """A compiled `struct` layout in big-endian order, as in all of RFB.

    Cached, because it is used for each rectangle.
    """
    return struct.Struct(">" + layout)


Event = Ready | Resized | Updated | Cursor | Leds | ExtendedKeys | PointerType | ExtendedButtons | Bell
_Steps = Generator[None, None, None]


class RfbClient:
    """Reads one server's bytes. `frame` is the picture from `Ready` on; after a resize it is another object.

    `updates` is the number of complete framebuffer updates, each the answer to a request or sent by itself.
    """

    def __init__(self, limits: RfbLimits | None = None) -> None:
        self.frame = Frame.blank(Size(0, 0))
        self.updates = 0
        self._limits = limits or RfbLimits()
        self._stage = bytearray(_STAGE_SIZE)
        self._start = self._end = 0  # the unused bytes in _stage
        self._target = memoryview(b"")  # the memory for the next pixels, while the parser waits for pixels
        self._scratch = bytearray()
        self._events: list[Event] = []
        self._out = bytearray()
        self._failure: RfbError | None = None
        self._idle = False  # between two messages
        self._parser = self._parse()
        next(self._parser)

    def get_buffer(self) -> memoryview:
        """The memory for the next bytes, never empty. The view is valid until `buffer_updated`."""
        if self._target:
            return self._target[:]  # a new view, which the caller may release
        if self._start:
            self._stage[: self._end - self._start] = self._stage[self._start : self._end]
            self._start, self._end = 0, self._end - self._start
        return memoryview(self._stage)[self._end :]

    def buffer_updated(self, count: int) -> list[Event]:
        """Note that `count` bytes were written there; return the completed events.

        Raises:
            RfbError: the server breaks the protocol, or cannot be used. Each later call raises it again.
        """
        if self._failure is not None:
            raise self._failure
        if self._target:
            self._target = self._target[count:]
        else:
            self._end += count
        try:
            next(self._parser)
        except RfbError as failure:
            self._failure = failure
            raise
        events, self._events = self._events, []
        return events

    def receive_data(self, data: bytes | memoryview) -> list[Event]:
        """Do both for bytes that the caller has already.

        Raises:
            RfbError: as `buffer_updated`.
        """
        events: list[Event] = []
        rest = memoryview(data)
        while rest:
            place = self.get_buffer()
            count = min(len(place), len(rest))
            place[:count] = rest[:count]
            place.release()
            rest = rest[count:]
            events += self.buffer_updated(count)
        return events

    def receive_eof(self) -> None:
        """Note that no more bytes will come.

        Raises:
            RfbError: it is in the middle of a message.
        """
        if self._failure is None and not (self._idle and self._start == self._end):
            raise RfbError("the VNC server closed the connection in the middle of a message")

    def data_to_send(self) -> bytes:
        """The next bytes of the handshake to send; each is returned once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    # --- the conversation ---

    def _parse(self) -> _Steps:
        yield from self._version()
        yield from self._security()
        yield from self._server_init()
        while True:
            self._idle = self._start == self._end
            (kind,) = yield from self._unpack("B")
            self._idle = False
            yield from self._message(kind)

    def _version(self) -> _Steps:
        line = yield from self._read(12)
        number = line[4:11]
        digits, marks = number[:3] + number[4:], line[:4] + number[3:4] + line[11:]
        if marks != b"RFB .\n" or not digits.isdigit():
            raise RfbError("the program there is not a VNC server")
        if number < b"003.008":
            raise RfbError(f"the VNC server uses RFB {number.decode('ascii')}; 003.008 is needed")
        self._out += ask.VERSION

    def _security(self) -> _Steps:
        (count,) = yield from self._unpack("B")
        if count == 0:
            raise RfbError(f"the VNC server refuses: {(yield from self._reason())}")
        types = yield from self._read(count)
        if 1 not in types:
            wanted = ", ".join(str(one) for one in types)
            raise RfbError(f"the VNC server requires authentication of an unsupported kind (security types {wanted})")
        self._out += ask.CHOOSE_NONE
        (result,) = yield from self._unpack("I")
        if result:
            raise RfbError(f"the VNC server refuses: {(yield from self._reason())}")
        self._out += ask.SHARE

    def _server_init(self) -> _Steps:
        width, height = yield from self._unpack("HH")
        yield from self._read(16)  # its own pixel format; we set ours
        name = yield from self._text(self._limits.reason)
        self._new_frame(Size(width, height))
        self._out += ask.set_pixel_format() + ask.set_encodings()
        self._events.append(Ready(self.frame.size, name))

    def _message(self, kind: int) -> _Steps:
        if kind == 0:
            yield from self._update()
        elif kind == 2:
            self._events.append(Bell())
        elif kind == 3:
            yield from self._read(3)
            (length,) = yield from self._unpack("I")
            yield from self._skip(length)
        else:
            raise RfbError(f"the VNC server sent a message of unknown type {kind}")

    def _update(self) -> _Steps:
        (count,) = yield from self._unpack("xH")
        damage: list[Rect] = []
        copies: list[MovedArea] = []
        for _ in range(count):
            x, y, width, height, encoding = yield from self._unpack("HHHHi")
            rect = Rect(x, y, width, height)
            if encoding in (ask.RAW, ask.COPY_RECT):
                self._check_inside(rect)
                if encoding == ask.RAW:
                    yield from self._raw(rect)
                else:
                    copies.append((yield from self._copy_rect(rect)))
                damage.append(rect)
            elif encoding in (ask.DESKTOP_SIZE, ask.EXTENDED_DESKTOP_SIZE):
                damage.clear()  # it belongs to the old picture
                copies.clear()
                yield from self._resize(rect, encoding)
            else:
                yield from self._other(rect, encoding)
        self.updates += 1
        if damage:
            self._events.append(Updated(tuple(damage), tuple(copies)))

    def _raw(self, rect: Rect) -> _Steps:
        rows = self.frame.rows(rect)
        if rows is not None:
            yield from self._fill(rows)
            return
        size = rect.area * BYTES_PER_PIXEL
        if len(self._scratch) < size:
            self._scratch = bytearray(size)
        yield from self._fill(memoryview(self._scratch)[:size])
        pixels = np.frombuffer(self._scratch, np.uint8, size)
        self.frame.view(rect)[:] = pixels.reshape(rect.height, rect.width, BYTES_PER_PIXEL)

    def _copy_rect(self, rect: Rect) -> Generator[None, None, MovedArea]:
        x, y = yield from self._unpack("HH")
        self._check_inside(Rect(x, y, rect.width, rect.height))
        self.frame.copy_within(x, y, rect)
        return MovedArea(rect, rect.x - x, rect.y - y)

    def _resize(self, rect: Rect, encoding: int) -> _Steps:
        if encoding == ask.EXTENDED_DESKTOP_SIZE:
            (screens,) = yield from self._unpack("B3x")
            yield from self._skip(screens * 16)
            if rect.y:  # the server refused a client's request for another size: nothing has changed
                return
        size = Size(rect.width, rect.height)
        if size != self.frame.size:
            self._new_frame(size)
            self._events.append(Resized(size))

    def _other(self, rect: Rect, encoding: int) -> _Steps:
        if encoding == ask.CURSOR:
            yield from self._masked_cursor(rect)
        elif encoding == ask.ALPHA_CURSOR:
            yield from self._alpha_cursor(rect)
        elif encoding == ask.QEMU_EXTENDED_KEY:
            self._events.append(ExtendedKeys())
        elif encoding == ask.QEMU_POINTER_TYPE:
            self._events.append(PointerType(rect.x != 0))
        elif encoding == ask.EXTENDED_MOUSE_BUTTONS:
            self._events.append(ExtendedButtons())
        elif encoding == ask.QEMU_LED_STATE:
            (bits,) = yield from self._unpack("B")
            self._events.append(Leds(bits))
        else:
            raise RfbError(f"the VNC server sent a rectangle in encoding {encoding}, which was not requested")

    def _masked_cursor(self, rect: Rect) -> _Steps:
        pixels = yield from self._cursor_pixels(rect)
        stride = (rect.width + 7) // 8
        mask = yield from self._read_large(stride * rect.height)
        bits = np.unpackbits(np.frombuffer(mask, np.uint8).reshape(rect.height, stride), axis=1)
        pixels[:, :, 3] = bits[:, : rect.width] * 255
        self._add_cursor(rect, pixels, multiplied=False)

    def _alpha_cursor(self, rect: Rect) -> _Steps:
        """Read a pointer in QEMU's form, which differs from rfbproto's (Cursor With Alpha).

        By rfbproto, red is first and the colours are multiplied by alpha. QEMU (ui/vnc.c, vnc_cursor_define, since 6.0)
        writes its words 0xAARRGGBB in the host's byte order, so blue is first on all our hosts. Alpha is as in the
        display adapter: virtio-gpu and qxl pass on the guest's values (hw/display/virtio-gpu.c, qxl-render.c), which
        Linux multiplies; vmware-svga and ati-vga use only 0 and 255 (cursor_set_mono in ui/cursor.c), where both forms
        are equal.
        """
        (encoding,) = yield from self._unpack("i")
        if encoding != ask.RAW:
            raise RfbError(f"the VNC server sent a pointer in encoding {encoding}, which was not requested")
        pixels = yield from self._cursor_pixels(rect)
        self._add_cursor(rect, pixels, multiplied=may_be_multiplied(pixels))

    def _add_cursor(self, rect: Rect, pixels: Pixels, *, multiplied: bool) -> None:
        picture = picture_of(pixels, rect.x, rect.y, multiplied=multiplied)
        self._events.append(Cursor(bool(pixels[:, :, 3].any()), picture))

    def _cursor_pixels(self, rect: Rect) -> Generator[None, None, Pixels]:
        if max(rect.width, rect.height) > self._limits.cursor_side:
            raise RfbError(f"the VNC server sent a pointer of {rect.width}×{rect.height} pixels")
        data = yield from self._read_large(rect.area * BYTES_PER_PIXEL)
        return np.frombuffer(data, np.uint8).reshape(rect.height, rect.width, BYTES_PER_PIXEL)

    def _new_frame(self, size: Size) -> None:
        if max(size) > self._limits.side or size.width * size.height > self._limits.pixels:
            raise RfbError(
                f"the VNC server announces a picture of {size.width}×{size.height} pixels, which is too large"
            )
        self.frame = Frame.blank(size)

    def _check_inside(self, rect: Rect) -> None:
        if not rect.within(self.frame.size):
            width, height = self.frame.size
            raise RfbError(f"the VNC server sent {tuple(rect)}, which is outside of its picture of {width}×{height}")

    # --- reading ---

    def _reason(self) -> Generator[None, None, str]:
        return (yield from self._text(self._limits.reason))

    def _text(self, limit: int) -> Generator[None, None, str]:
        (length,) = yield from self._unpack("I")
        kept = yield from self._read(min(length, limit))
        yield from self._skip(length - len(kept))
        return kept.decode("utf-8", "replace")

    def _unpack(self, layout: str) -> Generator[None, None, tuple[int, ...]]:
        form = _form(layout)
        while self._end - self._start < form.size:
            yield
        values = form.unpack_from(self._stage, self._start)
        self._start += form.size
        return values

    def _read(self, count: int) -> Generator[None, None, bytes]:
        """Read `count` bytes, which must fit into the stage."""
        while self._end - self._start < count:
            yield
        data = bytes(self._stage[self._start : self._start + count])
        self._start += count
        return data

    def _read_large(self, count: int) -> Generator[None, None, bytearray]:
        data = bytearray(count)
        yield from self._fill(memoryview(data))
        return data

    def _skip(self, count: int) -> _Steps:
        if count > self._limits.text:
            raise RfbError(f"the VNC server sent a text of {count} bytes")
        while count:
            while self._start == self._end:
                yield
            step = min(count, self._end - self._start)
            self._start += step
            count -= step

    def _fill(self, target: memoryview) -> _Steps:
        """Fill `target`: first with the bytes in the stage, then directly from the socket."""
        have = min(len(target), self._end - self._start)
        target[:have] = self._stage[self._start : self._start + have]
        self._start += have
        self._target = target[have:]
        while self._target:
            yield
