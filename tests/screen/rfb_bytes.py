"""What an RFB server says, written out by the layouts of RFC 6143, and a server that says it on a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

HELLO = b"RFB 003.008\n" + b"\x01\x01" + bytes(4)


def server_init(width: int, height: int, name: bytes = b"QEMU") -> bytes:
    return struct.pack(">HH16xI", width, height, len(name)) + name


def update(*rects: bytes) -> bytes:
    return struct.pack(">BxH", 0, len(rects)) + b"".join(rects)


def rect(x: int, y: int, width: int, height: int, encoding: int, data: bytes = b"") -> bytes:
    return struct.pack(">HHHHi", x, y, width, height, encoding) + data


def raw(x: int, y: int, width: int, height: int, data: bytes) -> bytes:
    return rect(x, y, width, height, 0, data)


def copy(x: int, y: int, width: int, height: int, from_x: int, from_y: int) -> bytes:
    return rect(x, y, width, height, 1, struct.pack(">HH", from_x, from_y))


def desktop_size(width: int, height: int) -> bytes:
    return rect(0, 0, width, height, -223)


def extended_size(width: int, height: int, *, status: int = 0, screens: int = 1) -> bytes:
    return rect(0, status, width, height, -308, struct.pack(">B3x", screens) + bytes(16 * screens))


def cursor(width: int, height: int, pixels: bytes, mask: bytes) -> bytes:
    return rect(1, 2, width, height, -239, pixels + mask)


def alpha_cursor(width: int, height: int, pixels: bytes, encoding: int = 0) -> bytes:
    return rect(1, 2, width, height, -314, struct.pack(">i", encoding) + pixels)


def leds(bits: int) -> bytes:
    return rect(0, 0, 1, 1, -261, bytes([bits]))


def pointer_type(absolute: bool) -> bytes:
    return rect(int(absolute), 0, 8, 8, -257)


EXTENDED_BUTTONS = rect(0, 0, 0, 0, -316)
EXTENDED_KEYS = rect(0, 0, 8, 8, -258)
BELL = b"\x02"


def cut_text(text: bytes) -> bytes:
    return struct.pack(">B3xI", 3, len(text)) + text


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(path: Path, script: Script) -> AsyncIterator[None]:
    """Serve `script` to everybody who connects to `path`; hang up where it ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    async with server:
        yield


async def greet(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    width: int,
    height: int,
    *,
    extended: bool = True,
    more: bytes = b"",
) -> None:
    """Do the handshake up to what the client sets, read that, and as a rule say that extended keys are known and what the mouse is."""
    writer.write(b"RFB 003.008\n")
    assert await reader.readexactly(12) == b"RFB 003.008\n"
    writer.write(b"\x01\x01")
    assert await reader.readexactly(1) == b"\x01"
    writer.write(bytes(4))
    assert await reader.readexactly(1) == b"\x01"
    writer.write(server_init(width, height))
    assert (await reader.readexactly(20))[0] == 0
    kind, count = struct.unpack(">BxH", await reader.readexactly(4))
    assert kind == 2
    await reader.readexactly(4 * count)
    if extended:
        writer.write(update(EXTENDED_KEYS) + (more or update(pointer_type(True))))
