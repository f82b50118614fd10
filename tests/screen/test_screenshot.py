from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pommel.errors import DeadlineError, MachineError, StateError
from pommel.screen import hands
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size
from pommel.screen.screenshot import grab, png_bytes

from . import rfb_bytes as says
from .bare_qemu import BareQemu


def noise(size: Size) -> Frame:
    return Frame(np.random.default_rng(7).integers(0, 256, (size.height, size.width, 4), np.uint8))


def read_png(data: bytes) -> np.ndarray:
    """Read what `png_bytes` writes, checking each checksum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind], at = body, at + 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)


@settings(deadline=None, max_examples=30)
@given(st.builds(Size, st.integers(1, 70), st.integers(1, 70)))
def test_a_png_has_the_frames_pixels(size: Size) -> None:
    frame = noise(size)
    assert (read_png(png_bytes(frame)) == frame.pixels[:, :, 2::-1]).all()


def test_others_read_it_too() -> None:
    frame = noise(Size(33, 21))
    with Image.open(BytesIO(png_bytes(frame))) as picture:
        assert picture.tobytes() == frame.pixels[:, :, 2::-1].tobytes()


async def test_a_grab_is_the_whole_screen(qemu: BareQemu) -> None:
    await hands.type_text(qemu.vnc, "X")
    frame = await grab(qemu.vnc, 10)
    assert frame.size == (720, 400) and (frame.view(Rect(0, 0, 9, 16)) != 0).any()


async def test_what_can_go_wrong_is_said(tmp_path: Path) -> None:
    async def silent(reader, writer) -> None:
        await says.greet(reader, writer, 4, 4)
        await reader.read()

    async def leaves(reader, writer) -> None:
        await says.greet(reader, writer, 4, 4)
        await reader.readexactly(10)

    with pytest.raises(StateError):
        await grab(tmp_path / "none", 1)
    async with says.serving(tmp_path / "a", silent), says.serving(tmp_path / "b", leaves):
        with pytest.raises(DeadlineError, match=r"no picture came within 0\.7 s"):
            await grab(tmp_path / "a", 0.7)
        with pytest.raises(MachineError, match="the server closed the connection"):
            await grab(tmp_path / "b", 5)
