"""Pixels to H.264, a chunk for each frame, at once. Band: core, no I/O.

The program that does it is x264, through PyAV: an extra (`pip install 'pommel[video]'`), because x264 is under the GPL
and the two are 70 MB. Without it every viewer gets pictures. Nothing here knows a viewer.

Settings are for being live: no frame waits for the next, none refers to a later one, key frames only when asked for.
"""

from __future__ import annotations

import importlib
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

from pommel.screen.frame import Pixels
from pommel.screen.geometry import Rect

# ITU-T H.264, E.2.1 (the numbers of ISO/IEC 23091-2). The full range, because Chromium's conversion of limited-range
# BT.709 has no room for its largest coefficient: pure blue would come out as 243.
_FULL_RANGE, _BT709, _SRGB_CURVE = 2, 1, 13
_NEVER = 1 << 20
_THREADS = 2
# superfast takes twice ultrafast's time and saves a third of its bytes: up to here there is that much time.
_SUPERFAST_PIXELS = 1024 * 640
_MAX_WIDTH, _MAX_HEIGHT = 4096, 2304  # level 5.1, which decoders have


class VideoError(Exception):
    """Video cannot be made here; pictures can. Never leaves `screen`."""


class Chunk(NamedTuple):
    """One frame's bytes; a key frame needs none before it."""

    data: bytes
    is_key: bool


class VideoEncoder(Protocol):
    """What makes a stream of the pixels of one place. Used by one thread at a time."""

    def encode(self, pixels: Pixels, *, key: bool) -> Chunk:
        """Return the chunk of the next frame, a (height, width, 4) BGRX view that may be strided.

        The first is a key frame; others are when `key` says so, or the encoder finds it better.

        Raises:
            VideoError: it cannot be done.
        """


class H264Encoder:
    """A `VideoEncoder` for frames of one even size. `crf` is x264's: 18 is hardly to be told from the pixels."""

    def __init__(self, width: int, height: int, crf: int) -> None:
        self._width, self._height, self._crf = width, height, crf
        self._coder: Any = None
        self._converter: Any = None
        self._count = 0

    def encode(self, pixels: Pixels, *, key: bool) -> Chunk:
        """Return the chunk of the next frame."""
        av = load()
        try:
            if self._coder is None:
                self._open(av)
            packets = self._coder.encode(self._frame(av, pixels, key))
        except (av.FFmpegError, ValueError, MemoryError) as failure:
            raise VideoError(f"H.264 cannot be encoded: {failure}") from failure
        return Chunk(b"".join(bytes(packet) for packet in packets), any(packet.is_keyframe for packet in packets))

    def _open(self, av: Any) -> None:
        coder = av.CodecContext.create("libx264", "w")
        coder.width, coder.height, coder.pix_fmt = self._width, self._height, "yuv420p"
        coder.time_base, coder.framerate, coder.gop_size = Fraction(1, 30), Fraction(30), _NEVER
        coder.color_range, coder.colorspace = _FULL_RANGE, _BT709
        coder.color_primaries, coder.color_trc = _BT709, _SRGB_CURVE
        preset = "superfast" if self._width * self._height <= _SUPERFAST_PIXELS else "ultrafast"
        coder.thread_count = _THREADS
        coder.options = {"preset": preset, "tune": "zerolatency", "crf": str(self._crf), "forced-idr": "1"}
        self._converter, self._coder = av.video.reformatter.VideoReformatter(), coder

    def _frame(self, av: Any, pixels: Pixels, key: bool) -> Any:
        given = av.VideoFrame.from_numpy_buffer(pixels, "bgra")
        frame = self._converter.reformat(
            given, format="yuv420p", dst_colorspace=_BT709, dst_color_range=_FULL_RANGE, threads=_THREADS
        )
        frame.pts = self._count
        frame.pict_type = 1 if key else 0  # I, or as the encoder likes
        self._count += 1
        return frame


def is_there() -> bool:
    """Tell whether PyAV is installed."""
    return find_spec("av") is not None


def fits(area: Rect) -> bool:
    """Tell whether `area` can be a stream that decoders take."""
    return area.width <= _MAX_WIDTH and area.height <= _MAX_HEIGHT and not (area.width % 2 or area.height % 2)


def load() -> Any:
    """Return PyAV. The first time takes a tenth of a second, much of it with the interpreter's lock.

    Raises:
        VideoError: it is not installed, or cannot be used here.
    """
    try:
        importlib.import_module("av.video.reformatter")
        return importlib.import_module("av")
    except (ImportError, OSError) as failure:
        raise VideoError(f"PyAV cannot be used: {failure}") from failure
