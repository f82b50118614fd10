"""What an RFB client says: one function a message. Band: core, no I/O.

RFC 6143 section 7.5, and QEMU's extended key event as in the community's rfbproto. Only what a viewer of QEMU needs.
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

# Told to the server, best first. Asking for the LED state also stops QEMU from pressing Caps Lock and Num Lock on
# its own when a keysym's case disagrees with its idea of them (ui/vnc.c, do_key_event). By its pointer-type change
# QEMU says whether the guest's mouse takes places or movements, and then it wants the latter (pointer_event, there).
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
_STILL = 0x7FFF  # no movement, where QEMU wants movements


def set_pixel_format() -> bytes:
    """Ask for 32 bits a pixel, little-endian, blue in the lowest byte: the bytes are B, G, R, unused (7.5.1)."""
    return struct.pack(">B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


def set_encodings(encodings: tuple[int, ...] = ENCODINGS) -> bytes:
    """Say which encodings we read, best first (7.5.2)."""
    return struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings)


def update_request(rect: Rect, *, incremental: bool) -> bytes:
    """Ask for what changed in `rect`, or for all of it (7.5.3)."""
    return struct.pack(">BBHHHH", 3, incremental, *rect)


def key_event(keysym: int, down: bool) -> bytes:
    """Press or release the key that gives `keysym` (7.5.4)."""
    return struct.pack(">BBxxI", 4, down, keysym)


def qemu_key_event(qnum: int, keysym: int, down: bool) -> bytes:
    """Press or release the key with QEMU's number `qnum` (rfbproto, QEMU Extended Key Event)."""
    return struct.pack(">BBHII", 255, 0, down, keysym, qnum)


def pointer_event(x: int, y: int, buttons: int, *, extended: bool = False) -> bytes:
    """Say where the pointer is and which buttons are down (7.5.5).

    With `extended`, which a server must have agreed to, buttons 8 (back) and 9 are told too (rfbproto, Extended Mouse
    Buttons); without it they are left out.
    """
    if extended:
        return struct.pack(">BBHHB", 5, _EXTENDED | buttons & 0x7F, x, y, buttons >> 7)
    return struct.pack(">BBHH", 5, buttons & 0x7F, x, y)


def movement_event(right: int, down: int, buttons: int, *, extended: bool = False) -> bytes:
    """Say how far the mouse moved, to a QEMU that wants that (rfbproto, QEMU Pointer Motion Change)."""
    x, y = (min(max(by + _STILL, 0), 0xFFFF) for by in (right, down))
    return pointer_event(x, y, buttons, extended=extended)


def set_desktop_size(width: int, height: int) -> bytes:
    """Ask the server for one screen of this size (rfbproto, SetDesktopSize)."""
    return struct.pack(">BxHHBx", 251, width, height, 1) + struct.pack(">IHHHHI", 0, 0, 0, width, height, 0)
