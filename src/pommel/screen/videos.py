"""The video streams of a screen's film, shared by all viewers who accept video. Band: shell.

A stream is one encoder for one area and quality. Each viewer has a `VideoSeat`: its stream, and how far it was sent. A
frame is encoded once, when the first viewer wants it. The last few frames are kept for viewers that are a little
slower. A viewer that missed more, or comes later, begins at a key frame; until one is allowed, it gets pictures.

Measured in the page (bench/video_path.py): as video, a film takes 2 to 20 times fewer bytes for each frame than as
pictures. On a link of 500 kB/s, video has less delay and looks better, except for text that jumps by lines (1.4 times
fewer bytes, but more delay). On a quick link, video mostly has more delay, and needs up to 2.4 times the work. So video
is for viewers whose link is slow, or cannot carry the pictures in the wanted quality.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pommel.screen.engine import Engine
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size
from pommel.screen.moving import ScreenFilm
from pommel.screen.tiles import TileMap
from pommel.screen.video import EncodedFrame, H264Encoder, VideoEncoder, VideoError, fits, is_there, load
from pommel.wire import messages as wire
from pommel.wire.codec import encode

KEY_GAP_S = 0.5
KEPT_FRAMES = 8
MAX_STREAMS = 3
IDLE_S = 2.0
# x264's rate factor for each quality: so a film looks no worse than JPEG of that quality.
_CRFS = ((85, 18), (65, 23), (40, 26), (0, 30))
# Another quality needs another stream, which begins with a key frame. So a lower quality is used soon, but a higher one
# only if the link has been good for some time.
_WORSE_S, _BETTER_S = 1.0, 5.0

EncoderFor = Callable[[int, int, int], VideoEncoder]


class VideoStream:
    """One encoder, and its last frames."""

    def __init__(self, area: Rect, encoder: VideoEncoder) -> None:
        self.area = area
        self.used_s = 0.0
        self._encoder = encoder
        self._frames: deque[StreamFrame] = deque(maxlen=KEPT_FRAMES)
        self._version = -1  # of the pixels in the last frame
        self._key = -1  # the number of the last requested key frame
        self._key_s = 0.0

    def can_serve(self, after: int | None, now_s: float) -> bool:
        """Whether a viewer that has got frame `after` (None: none) can continue now."""
        return not self._frames or self._first_for(after) is not None or now_s - self._key_s >= KEY_GAP_S

    def frames_for(
        self,
        after: int | None,
        version: int,
        now_s: float,
        make: Callable[[VideoStream, bool], asyncio.Future[EncodedFrame]],
    ) -> list[StreamFrame]:
        """The frames that bring such a viewer to `version` of the pixels; `make` starts the encoding of a new frame."""
        self.used_s = now_s
        first = self._first_for(after)
        if first is None:
            first = self._key = self._add(version, make(self, True))
            self._key_s = now_s
        elif version != self._version or first > self._frames[-1].number:
            self._add(version, make(self, False))
        return [frame for frame in self._frames if frame.number >= first]

    def encode(self, frame: Frame, key: bool) -> EncodedFrame:
        """Encode the next chunk; called in the encoding thread."""
        return self._encoder.encode(frame.view(self.area), key=key)

    def _first_for(self, after: int | None) -> int | None:
        if not self._frames:
            return None
        oldest, next_ = self._frames[0].number, self._frames[-1].number + 1
        if after is not None and oldest <= after + 1 <= next_:
            return after + 1
        return self._key if self._key >= oldest else None

    def _add(self, version: int, chunk: asyncio.Future[EncodedFrame]) -> int:
        number = self._frames[-1].number + 1 if self._frames else 0
        self._frames.append(StreamFrame(self, number, chunk))
        self._version = version
        return number


class StreamFrame(NamedTuple):
    """One frame of a stream; its chunk may still be in progress."""

    stream: VideoStream
    number: int
    chunk: asyncio.Future[EncodedFrame]


@dataclass(slots=True)
class VideoSeat:
    """One viewer's state: its stream, and the last frame that was sent to it."""

    crf: int = 0
    _stream: VideoStream | None = None
    _number: int = -1
    _era: int = 0
    _chosen_s: float = 0.0

    def prefer(self, quality: int, era: int, now_s: float) -> None:
        """Set the viewer's quality (1-100). In a new `era` of its backlog, it has no stream."""
        if era != self._era:
            self._era, self._stream = era, None
        crf = next(crf for least, crf in _CRFS if quality >= least)
        waits_s = _WORSE_S if crf > self.crf else _BETTER_S
        if not self.crf or (crf != self.crf and now_s - self._chosen_s >= waits_s):
            self.crf, self._chosen_s = crf, now_s

    def after(self, stream: VideoStream) -> int | None:
        """The last frame of `stream` that was sent to the viewer; None: there is none."""
        return self._number if self._stream is stream else None

    def watches(self, area: Rect) -> bool:
        """Whether the viewer has got video of `area`."""
        return self._stream is not None and self._stream.area == area

    def sent(self, frame: StreamFrame) -> None:
        """Note that the viewer was sent `frame`."""
        self._stream, self._number = frame.stream, frame.number

    def message(self, frame: StreamFrame, chunk: EncodedFrame) -> bytes:
        """The command with the viewer's next `frame`."""
        begins = self.after(frame.stream) != frame.number - 1
        flags = wire.KEY_FRAME * chunk.is_key | wire.STREAM_BEGINS * begins
        return encode(wire.Video(*frame.stream.area, wire.H264_ANNEX_B, flags, chunk.data))


class Videos:
    """All streams of one screen.

    Each has an encoder, with about 20 MB for 1920×1080; there are at most `MAX_STREAMS`.
    """

    def __init__(self, engine: Engine, encoder_for: EncoderFor | None = None) -> None:
        self._engine = engine
        self._encoder_for = encoder_for or H264Encoder
        self._moving = ScreenFilm()
        self._streams: dict[tuple[Rect, int], VideoStream] = {}
        # one thread, because frames must be encoded in order
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pommel-video")
        self._works = encoder_for is not None or is_there()
        self._size = engine.size
        self._sweeping: asyncio.TimerHandle | None = None

    def prepare(self) -> None:
        """Import PyAV before the first viewer comes."""
        if self._works and self._encoder_for is H264Encoder:
            self._pool.submit(load)

    def note(self, changed: TileMap, size: Size, now_s: float) -> None:
        """Note the changed tiles of an update."""
        if size != self._size:
            self._size = size
            self._streams.clear()
        if self._works:
            self._moving.note(changed, size, now_s)

    def area_for(self, seat: VideoSeat, now_s: float, *, begin: bool = True) -> Rect | None:
        """The film's area, if video of it can be sent to the viewer now.

        Without `begin`, only if that was done before.
        """
        area = self._moving.area(now_s) if self._works else None
        if area is None or not fits(area) or not (begin or seat.watches(area)):
            return None
        stream = self._streams.get((area, seat.crf))
        if stream is None:
            here = [one for one in self._streams.values() if one.area == area]
            return area if len(here) < MAX_STREAMS else None
        return area if stream.can_serve(seat.after(stream), now_s) else None

    def frames(self, seat: VideoSeat, area: Rect, now_s: float) -> list[StreamFrame]:
        """The frames to send to the viewer, in order. Call it only right after `area_for` returned the area."""
        stream = self._streams.get((area, seat.crf)) or self._begin(area, seat.crf)
        return stream.frames_for(seat.after(stream), self._engine.version_of(area), now_s, self._make)

    async def chunk(self, frame: StreamFrame) -> EncodedFrame | None:
        """Wait for a frame's chunk; None: video cannot be encoded here, and is not tried again."""
        try:
            return await asyncio.shield(frame.chunk)
        except VideoError:
            self._works = False
            self._streams.clear()
            return None

    def close(self) -> None:
        """Cancel waiting work and forget all streams."""
        self._works = False
        self._streams.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _begin(self, area: Rect, crf: int) -> VideoStream:
        self._streams = {key: one for key, one in self._streams.items() if one.area == area}
        stream = self._streams[area, crf] = VideoStream(area, self._encoder_for(area.width, area.height, crf))
        return stream

    def _make(self, stream: VideoStream, key: bool) -> asyncio.Future[EncodedFrame]:
        loop = asyncio.get_running_loop()
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S, self._sweep)
        making = loop.run_in_executor(self._pool, partial(stream.encode, self._engine.frame, key))
        making.add_done_callback(_look)
        return making

    def _sweep(self) -> None:
        """Forget the streams that no viewer has used for `IDLE_S`."""
        loop = asyncio.get_running_loop()
        self._streams = {key: one for key, one in self._streams.items() if loop.time() - one.used_s < IDLE_S}
        self._sweeping = loop.call_later(IDLE_S, self._sweep) if self._streams else None


def _look(chunk: asyncio.Future[EncodedFrame]) -> None:
    if not chunk.cancelled():
        chunk.exception()  # read once, or asyncio reports it as never retrieved if no viewer waits for this chunk
