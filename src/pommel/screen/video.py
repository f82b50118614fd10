"""Encodes pixels as H.264, one chunk for each frame, without delay. Band: core, no I/O.

The encoder is x264, by PyAV. It is an extra (`pip install 'pommel[video]'`), because x264 is under the GPL, and both
have 70 MB. Without it, every viewer gets pictures. This module knows no viewer. The settings are for live video: no
frame waits for the next or refers to a later one, and key frames come on request.
"""

from __future__ import annotations

import importlib
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

from pommel.screen.frame import Pixels
from pommel.screen.geometry import Rect

# ITU-T H.264, E.2.1 (the numbers of ISO/IEC 23091-2). Full range, because Chromium's conversion of limited-range BT.709
# cannot represent its largest coefficient: pure blue would become 243.
_FULL_RANGE, _BT709, _SRGB_CURVE = 2, 1, 13
_NEVER = 1 << 20
_THREADS = 2
# The preset superfast takes twice the time of ultrafast and saves a third of the bytes. Up to this size it is quick
# enough.
_SUPERFAST_PIXELS = 1024 * 640
_MAX_WIDTH, _MAX_HEIGHT = 4096, 2304  # level 5.1, which decoders support


class VideoError(Exception):
    """Video cannot be encoded here, so pictures are sent. It is handled inside `screen`."""


class EncodedFrame(NamedTuple):
    """One frame's bytes; a key frame can be decoded without earlier frames."""

    data: bytes
    is_key: bool


class VideoEncoder(Protocol):
    """Encodes a stream for one area. Only one thread uses it at a time."""

    def encode(self, pixels: Pixels, *, key: bool) -> EncodedFrame:
        """Return the chunk of the next frame, a (height, width, 4) BGRX view that may be strided.

        The first frame is a key frame. Others are with `key`, or if the encoder prefers it.

        Raises:
            VideoError: it cannot be encoded.
        """


class H264Encoder:
    """A `VideoEncoder` for frames of one even size. `crf` is x264's rate factor: 18 is nearly without visible loss."""

    def __init__(self, width: int, height: int, crf: int) -> None:
        self._width, self._height, self._crf = width, height, crf
        self._coder: Any = None
        self._converter: Any = None
        self._count = 0

    def encode(self, pixels: Pixels, *, key: bool) -> EncodedFrame:
        """Return the chunk of the next frame."""
        av = load()
        try:
            if self._coder is None:
                self._open(av)
            packets = self._coder.encode(self._frame(av, pixels, key))
        except (av.FFmpegError, ValueError, MemoryError) as failure:
            raise VideoError(f"H.264 cannot be encoded: {failure}") from failure
        return EncodedFrame(
            b"".join(bytes(packet) for packet in packets), any(packet.is_keyframe for packet in packets)
        )

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
        frame.pict_type = 1 if key else 0  # 1: an I frame; 0: the encoder chooses
        self._count += 1
        return frame


def is_there() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None


def fits(area: Rect) -> bool:
    """Whether decoders support a stream of this area's size."""
    return area.width <= _MAX_WIDTH and area.height <= _MAX_HEIGHT and not (area.width % 2 or area.height % 2)


def load() -> Any:
    """Import PyAV. The first call takes 0.1 s, most of it with the interpreter lock held.

    Raises:
        VideoError: it is not installed, or cannot be used here.
    """
    try:
        importlib.import_module("av.video.reformatter")
        return importlib.import_module("av")
    except (ImportError, OSError) as failure:
        raise VideoError(f"PyAV cannot be used: {failure}") from failure
