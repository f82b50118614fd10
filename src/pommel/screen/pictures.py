"""Encodes pixels as JPEG, or as WebP or PNG where their longer encoding time is worth it. Band: core, no I/O.

Measured with libjpeg-turbo, libwebp and zlib on one core, 1920×256 pixels, text / photograph:

    JPEG 50               1.5 / 0.8 ms    101 /   28 kB    29 / 32 dB
    JPEG 92, 4:4:4        2.0 / 2.4 ms    216 /  259 kB    41 / 34 dB
    WebP 50, method 0      11 / 6 ms       82 /   15 kB    35 / 32 dB
    WebP 25, method 0      13 / 5 ms       67 /    8 kB    32 / 32 dB
    WebP lossless           8 / 49 ms      41 /  892 kB    exact
    PNG, level 1           10 / 55 ms      90 / 1041 kB    exact

So WebP takes seven times as long as JPEG. A screen that changes much is sent as JPEG, whatever the viewer asked for,
because the viewer would wait for the encoder. A viewer that accepts WebP gets it when its link is slow, so that fewer
bytes matter more than time. Drawn content (text, windows) is sent lossless when it no longer changes, or when it is
small: this is better than any JPEG.

WebP and PNG need Pillow, which the session agent does not have. Without it, every picture is a JPEG.
"""

from __future__ import annotations

import io
from enum import Enum
from importlib.util import find_spec
from typing import NamedTuple

from pommel.screen.frame import Pixels
from pommel.screen.jpeg import JpegEncoder, looks_drawn

BEST_QUALITY = 92  # with 4:4:4, people see no difference from the original
# Up to this size, lossless takes 0.5 ms: so typed text is exact at once, with fewer bytes than a JPEG.
_LITTLE_PIXELS = 20 * 1024


class Format(Enum):
    """The best format that a viewer accepts; every viewer accepts JPEG."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"


class Style(NamedTuple):
    """Wishes for a picture: quality 1-100; `tight`: fewer bytes matter more than time; `best`: no visible loss."""

    quality: int
    format: Format = Format.JPEG
    tight: bool = False
    best: bool = False


class Image(NamedTuple):
    """An image file. `fine`: people cannot distinguish it from the pixels."""

    data: bytes
    fine: bool


class PictureEncoder:
    """An `Encoder` for every viewer."""

    def __init__(self) -> None:
        self._jpeg = JpegEncoder()
        self._has_pillow = find_spec("PIL") is not None

    def encode(self, pixels: Pixels, style: Style) -> Image:
        """Return an image file of `pixels` in the given style."""
        if not self._has_pillow:
            style = style._replace(format=Format.JPEG)
        drawn = style.format is not Format.JPEG and looks_drawn(pixels)
        if style.best:
            return Image(self._best(pixels, style, drawn), True)
        if drawn and (style.tight or pixels.shape[0] * pixels.shape[1] <= _LITTLE_PIXELS):
            return Image(lossless(pixels, style.format), True)
        if style.tight and style.format is Format.WEBP:
            return Image(_saved(pixels, Format.WEBP, quality=style.quality, method=0), False)
        return Image(self._jpeg.encode(pixels, style.quality), False)

    def _best(self, pixels: Pixels, style: Style, drawn: bool) -> bytes:
        whole_chroma = self._jpeg.encode(pixels, max(style.quality, BEST_QUALITY), "444")
        exact = lossless(pixels, style.format) if drawn else whole_chroma
        return min(exact, whole_chroma, key=len)


def lossless(pixels: Pixels, format: Format) -> bytes:
    """Return a file with exactly these pixels; `format` is PNG or WEBP."""
    if format is Format.WEBP:
        return _saved(pixels, format, lossless=True, quality=0, method=1)
    return _saved(pixels, Format.PNG, compress_level=1)


def _saved(pixels: Pixels, format: Format, **how: int) -> bytes:
    from PIL import Image as Pil

    height, width = pixels.shape[:2]
    image = Pil.frombuffer("RGB", (width, height), pixels.tobytes(), "raw", "BGRX", 0, 1)
    file = io.BytesIO()
    image.save(file, format.value, **how)
    return file.getvalue()
