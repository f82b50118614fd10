"""The streams of a screen's film, shared by all viewers who take video. Band: shell.

A stream is one encoder for one area and quality. Each viewer has a `Seat`: how far in which stream it has been sent. A
frame is made when the first viewer wants it, once for all; the last few chunks are kept, so that who is a little slower
is sent what it missed. Who missed more, or comes later, begins at a key frame; until there may be one it gets pictures.

Measured in the page (bench/video_path.py): a film takes 2 to 20 times fewer bytes a frame than pictures. Over 500 kB/s
it is younger for that and better to look at, except text that jumps by lines (1.4 times fewer, but older). Over a quick
link it is mostly older, for up to 2.4 times the work. So it is video for those whose link is slow, or does not
carry the pictures they asked for.
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
from pommel.screen.moving import Moving
from pommel.screen.tiles import TileMap
from pommel.screen.video import Chunk, H264Encoder, VideoEncoder, VideoError, fits, is_there, load
from pommel.wire import messages as wire
from pommel.wire.codec import encode

KEY_GAP_S = 0.5
KEPT_FRAMES = 8
MAX_STREAMS = 3
IDLE_S = 2.0
# x264's rate factor for a viewer's quality: films look no worse than as JPEG of that quality.
_CRFS = ((85, 18), (65, 23), (40, 26), (0, 30))
# Another quality is another stream, and that begins with a key frame: worse in time, better only when it will last.
_WORSE_S, _BETTER_S = 1.0, 5.0

EncoderFor = Callable[[int, int, int], VideoEncoder]


class Stream:
    """One encoder, and what it made of late."""

    def __init__(self, area: Rect, encoder: VideoEncoder) -> None:
        self.area = area
        self.used_s = 0.0
        self._encoder = encoder
        self._frames: deque[StreamFrame] = deque(maxlen=KEPT_FRAMES)
        self._version = -1  # of the pixels in the last frame
        self._key = -1  # the number of the last frame that was to be a key frame
        self._key_s = 0.0

    def can_serve(self, after: int | None, now_s: float) -> bool:
        """Tell whether who has been sent up to frame `after` (None: nothing) can go on now."""
        return not self._frames or self._first_for(after) is not None or now_s - self._key_s >= KEY_GAP_S

    def frames_for(
        self, after: int | None, version: int, now_s: float, make: Callable[[Stream, bool], asyncio.Future[Chunk]]
    ) -> list[StreamFrame]:
        """Return what brings such a one up to `version` of the pixels; `make` starts what is not yet made."""
        self.used_s = now_s
        first = self._first_for(after)
        if first is None:
            first = self._key = self._add(version, make(self, True))
            self._key_s = now_s
        elif version != self._version or first > self._frames[-1].number:
            self._add(version, make(self, False))
        return [frame for frame in self._frames if frame.number >= first]

    def encode(self, frame: Frame, key: bool) -> Chunk:
        """Make the next chunk. In the encoding thread."""
        return self._encoder.encode(frame.view(self.area), key=key)

    def _first_for(self, after: int | None) -> int | None:
        if not self._frames:
            return None
        oldest, next_ = self._frames[0].number, self._frames[-1].number + 1
        if after is not None and oldest <= after + 1 <= next_:
            return after + 1
        return self._key if self._key >= oldest else None

    def _add(self, version: int, chunk: asyncio.Future[Chunk]) -> int:
        number = self._frames[-1].number + 1 if self._frames else 0
        self._frames.append(StreamFrame(self, number, chunk))
        self._version = version
        return number


class StreamFrame(NamedTuple):
    """One frame of a stream, perhaps still in the making."""

    stream: Stream
    number: int
    chunk: asyncio.Future[Chunk]


@dataclass(slots=True)
class Seat:
    """One viewer's place: the stream it watches, and the last frame of it that it was sent."""

    crf: int = 0
    _stream: Stream | None = None
    _number: int = -1
    _era: int = 0
    _chosen_s: float = 0.0

    def prefer(self, quality: int, era: int, now_s: float) -> None:
        """Note which quality (1-100) the viewer is to get; in another `era` of its backlog it has nothing."""
        if era != self._era:
            self._era, self._stream = era, None
        crf = next(crf for least, crf in _CRFS if quality >= least)
        waits_s = _WORSE_S if crf > self.crf else _BETTER_S
        if not self.crf or (crf != self.crf and now_s - self._chosen_s >= waits_s):
            self.crf, self._chosen_s = crf, now_s

    def after(self, stream: Stream) -> int | None:
        """Return the last frame of `stream` that the viewer was sent; None if there is none."""
        return self._number if self._stream is stream else None

    def watches(self, area: Rect) -> bool:
        """Tell whether the viewer was sent a film of `area` as video."""
        return self._stream is not None and self._stream.area == area

    def sent(self, frame: StreamFrame) -> None:
        """Note that the viewer was sent `frame`."""
        self._stream, self._number = frame.stream, frame.number

    def message(self, frame: StreamFrame, chunk: Chunk) -> bytes:
        """Return the command that brings the viewer the next `frame`."""
        begins = self.after(frame.stream) != frame.number - 1
        flags = wire.KEY_FRAME * chunk.is_key | wire.STREAM_BEGINS * begins
        return encode(wire.Video(*frame.stream.area, wire.H264_ANNEX_B, flags, chunk.data))


class Videos:
    """All streams of one screen. Memory: an encoder's, about 20 MB for 1920×1080, at most `MAX_STREAMS` times."""

    def __init__(self, engine: Engine, encoder_for: EncoderFor | None = None) -> None:
        self._engine = engine
        self._encoder_for = encoder_for or H264Encoder
        self._moving = Moving()
        self._streams: dict[tuple[Rect, int], Stream] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pommel-video")  # one: frames are made in order
        self._works = encoder_for is not None or is_there()
        self._size = engine.size
        self._sweeping: asyncio.TimerHandle | None = None

    def prepare(self) -> None:
        """Load what is needed, while nobody looks on yet."""
        if self._works and self._encoder_for is H264Encoder:
            self._pool.submit(load)

    def note(self, changed: TileMap, size: Size, now_s: float) -> None:
        """Take the tiles that changed in an update."""
        if size != self._size:
            self._size = size
            self._streams.clear()
        if self._works:
            self._moving.note(changed, size, now_s)

    def area_for(self, seat: Seat, now_s: float, *, begin: bool = True) -> Rect | None:
        """Return the film's area if the viewer can be sent it as video now; unless `begin`, only if it already is."""
        area = self._moving.area(now_s) if self._works else None
        if area is None or not fits(area) or not (begin or seat.watches(area)):
            return None
        stream = self._streams.get((area, seat.crf))
        if stream is None:
            here = [one for one in self._streams.values() if one.area == area]
            return area if len(here) < MAX_STREAMS else None
        return area if stream.can_serve(seat.after(stream), now_s) else None

    def frames(self, seat: Seat, area: Rect, now_s: float) -> list[StreamFrame]:
        """Return what the viewer is to be sent, in order; only right after `area_for` said so."""
        stream = self._streams.get((area, seat.crf)) or self._begin(area, seat.crf)
        return stream.frames_for(seat.after(stream), self._engine.version_of(area), now_s, self._make)

    async def chunk(self, frame: StreamFrame) -> Chunk | None:
        """Wait for a frame's chunk; None if video cannot be made here, and then it is not tried again."""
        try:
            return await asyncio.shield(frame.chunk)
        except VideoError:
            self._works = False
            self._streams.clear()
            return None

    def close(self) -> None:
        """Drop what is waiting and forget all streams."""
        self._works = False
        self._streams.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _begin(self, area: Rect, crf: int) -> Stream:
        self._streams = {key: one for key, one in self._streams.items() if one.area == area}
        stream = self._streams[area, crf] = Stream(area, self._encoder_for(area.width, area.height, crf))
        return stream

    def _make(self, stream: Stream, key: bool) -> asyncio.Future[Chunk]:
        loop = asyncio.get_running_loop()
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S, self._sweep)
        making = loop.run_in_executor(self._pool, partial(stream.encode, self._engine.frame, key))
        making.add_done_callback(_look)
        return making

    def _sweep(self) -> None:
        """Forget the streams that nobody watches any more."""
        loop = asyncio.get_running_loop()
        self._streams = {key: one for key, one in self._streams.items() if loop.time() - one.used_s < IDLE_S}
        self._sweeping = loop.call_later(IDLE_S, self._sweep) if self._streams else None


def _look(chunk: asyncio.Future[Chunk]) -> None:
    if not chunk.cancelled():
        chunk.exception()  # who waits for it acts on it, but perhaps nobody does
