"""One picture of a machine's screen, and a PNG of it. Band: shell."""

from __future__ import annotations

import asyncio
import struct
import zlib
from pathlib import Path

import numpy as np

from pommel.errors import DeadlineError, MachineError
from pommel.screen.frame import Frame
from pommel.screen.seams import SourceEnded
from pommel.screen.sources.vnc import connect_vnc


async def grab(path: Path, timeout_s: float) -> Frame:
    """Take one whole frame from the VNC server on a Unix socket.

    Raises:
        StateError: nothing listens there.
        DeadlineError: it took longer than `timeout_s`.
        MachineError: the machine ended meanwhile.
        RfbError: the server cannot be used.
    """
    connection = await connect_vnc(path, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            connection.source.watch(True)
            update = await connection.source.next_update()
    except TimeoutError:
        raise DeadlineError(f"no picture came within {timeout_s:g} s") from None
    finally:
        await connection.close()
    if isinstance(update, SourceEnded):
        raise MachineError(f"no picture: {update.reason}")
    return update.frame


def png_bytes(frame: Frame) -> bytes:
    """Return a PNG file of `frame`, 8 bits a channel, no alpha (PNG specification, third edition)."""
    width, height = frame.size
    rows = np.ascontiguousarray(frame.pixels[:, :, 2::-1]).reshape(height, width * 3)
    filtered = np.empty((height, 1 + width * 3), np.uint8)
    filtered[:, 0] = 2  # filter "Up": the difference to the row above, which is mostly zero on a screen
    filtered[:1, 1:] = rows[:1]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(filtered.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
