"""The messages of an RFB client: one function for each. Band: core, no I/O.

RFC 6143 section 7.5, and QEMU's extensions as in the community's rfbproto. Only messages that a viewer of QEMU needs.
"""

from __future__ import annotations

import struct

from pommel.screen.geometry import Rect

VERSION = b"RFB 003.008\n"
CHOOSE_NONE = b"\x01"
SHARE = b"\x01"

RAW, COPY_RECT = 0, 1
DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE = -223, -308
CURSOR, ALPHA_CURSOR = -239, -314
QEMU_POINTER_TYPE = -257
QEMU_EXTENDED_KEY = -258
QEMU_LED_STATE = -261
EXTENDED_MOUSE_BUTTONS = -316

# The encodings for the server, best first. The request for the LED state also stops QEMU from pressing Caps Lock and
# Num Lock by itself when the case of a keysym contradicts their state (ui/vnc.c, do_key_event). With the pointer-type
# change, QEMU reports whether the guest's mouse is absolute; if not, it expects movements (pointer_event, there).
ENCODINGS = (
    RAW,
    COPY_RECT,
    EXTENDED_DESKTOP_SIZE,
    DESKTOP_SIZE,
    ALPHA_CURSOR,
    CURSOR,
    QEMU_POINTER_TYPE,
    QEMU_EXTENDED_KEY,
    QEMU_LED_STATE,
    EXTENDED_MOUSE_BUTTONS,
)

# Button bits of PointerEvent.
LEFT, MIDDLE, RIGHT, WHEEL_UP, WHEEL_DOWN, WHEEL_LEFT, WHEEL_RIGHT = 1, 2, 4, 8, 16, 32, 64
_EXTENDED = 0x80  # there is a second byte of buttons: 8 and up
_STILL = 0x7FFF  # the value for no movement


def set_pixel_format() -> bytes:
    """Ask for 32 bits a pixel, little-endian, blue in the lowest byte: the bytes are B, G, R, unused (7.5.1)."""
    return struct.pack(">B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


def set_encodings(encodings: tuple[int, ...] = ENCODINGS) -> bytes:
    """Send the supported encodings, best first (7.5.2)."""
    return struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings)


def update_request(rect: Rect, *, incremental: bool) -> bytes:
    """Ask for the changes in `rect`, or for all of it (7.5.3)."""
    return struct.pack(">BBHHHH", 3, incremental, *rect)


def key_event(keysym: int, down: bool) -> bytes:
    """Press or release the key that gives `keysym` (7.5.4)."""
    return struct.pack(">BBxxI", 4, down, keysym)


def qemu_key_event(qnum: int, keysym: int, down: bool) -> bytes:
    """Press or release the key with QEMU's number `qnum` (rfbproto, QEMU Extended Key Event)."""
    return struct.pack(">BBHII", 255, 0, down, keysym, qnum)


def pointer_event(x: int, y: int, buttons: int, *, extended: bool = False) -> bytes:
    """Send the pointer's position and the pressed buttons (7.5.5).

    With `extended`, which the server must support, the buttons 8 (back) and 9 are included (rfbproto, Extended Mouse
    Buttons); without it they are left out.
    """
    if extended:
        return struct.pack(">BBHHB", 5, _EXTENDED | buttons & 0x7F, x, y, buttons >> 7)
    return struct.pack(">BBHH", 5, buttons & 0x7F, x, y)


def movement_event(right: int, down: int, buttons: int, *, extended: bool = False) -> bytes:
    """Send a movement of the mouse, if QEMU expects movements (rfbproto, QEMU Pointer Motion Change)."""
    x, y = (min(max(by + _STILL, 0), 0xFFFF) for by in (right, down))
    return pointer_event(x, y, buttons, extended=extended)


def set_desktop_size(width: int, height: int) -> bytes:
    """Ask the server for one screen of this size (rfbproto, SetDesktopSize)."""
    return struct.pack(">BxHHBx", 251, width, height, 1) + struct.pack(">IHHHHI", 0, 0, 0, width, height, 0)
