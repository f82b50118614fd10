"""Sends the pictures to one viewer. Band: shell.

One loop: it asks the backlog what is due, waits until `pace` allows more bytes on the way, and only then takes the
newest pixels, as many as are allowed. Pixels are encoded only when they can be sent, so that they are never old.

Memory of one viewer: its tile maps (20 bytes for each 64×64 pixels), and in its transport at most the window of `pace`
(4 MiB at the very most, 1.2 MB on a link without delay) and one picture. Encoded pictures are shared, in `encodes`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from pommel.screen.backlog import LEAST_PICTURE_PIXELS, Backlog, Round
from pommel.screen.encodes import EncodedPicture, Encodes
from pommel.screen.engine import Engine
from pommel.screen.frame import grown
from pommel.screen.geometry import Rect, Size
from pommel.screen.moves import Moved
from pommel.screen.pace import Pace
from pommel.screen.seams import Draining, Encoder
from pommel.screen.tiles import Changes
from pommel.screen.videos import Videos, VideoSeat
from pommel.wire import messages as wire
from pommel.wire.codec import encode
from pommel.wire.control import control
from pommel.wire.viewer import ViewerStream

_ENCODES_AHEAD = 4
# So few pixels (a typed word) take 0.1 ms to encode, or 0.5 ms without loss: less than waking a thread. They are
# encoded here while threads encode the other areas. To do it before them would save 0.5 ms here, and cost a film the
# same.
_AT_ONCE_PIXELS = 20 * 1024
_POLL_S, _LONGEST_POLL_S = 0.004, 0.25
_NOTICE_GAP_S = 1.0
_NOTICE_CHARS = 64
_POLICY = 1008  # RFC 6455, 7.4.1
_FIRST_BYTES_PER_PIXEL = 0.2


class Parted(Exception):
    """The endpoint disconnects this viewer. Only the callers in `screen` see this exception."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Delivery:
    """Sends pictures to one viewer. `backlog` is what the viewer lacks; the endpoint marks changes in it."""

    def __init__(
        self,
        stream: ViewerStream,
        engine: Engine,
        encodes: Encodes,
        encoder: Encoder,
        videos: Videos,
        *,
        stall_s: float,
    ) -> None:
        self.backlog = Backlog(engine.size)
        self._stream = stream
        self._engine = engine
        self._encodes = encodes
        self._encoder = encoder
        self._videos = videos
        self._seat = VideoSeat()
        self._stall_s = stall_s
        self._pace = Pace()
        self._wake = asyncio.Event()
        self._bytes_per_pixel = _FIRST_BYTES_PER_PIXEL
        self._serving: _Serving | None = None
        self._least: int | None = None  # the fewest unsent bytes during the present wait
        self._moved_s = 0.0  # the time when the unsent bytes last became fewer
        self._poll_s = _POLL_S
        self._cannot: dict[str, None] = {}
        self._notice_from_s = 0.0

    def mark(self, changes: Changes, moved: Moved | None, size: Size, now_s: float) -> None:
        """Note a newer picture; `moved` tells the same as `changes`, to a viewer that takes moves."""
        if moved is None or not self.backlog.takes_moves:
            self.backlog.mark(changes, size, now_s)
            return
        if self._serving is not None:
            # What is begun shows the screen before the move, and leaves before it. Nothing else can.
            self.backlog.put_back(self._serving.round, self._serving.end())
        self.backlog.mark_moved(moved, now_s)

    def wake(self) -> None:
        """Wake the loop, so that it checks everything again."""
        self._wake.set()

    def shown(self, count: int) -> None:
        """Note that the viewer has shown `count` pictures."""
        self._pace.shown(_now(), count)
        self.wake()

    def note(self, cannot: str) -> None:
        """Collect characters that cannot be typed, for a notice to the viewer."""
        if len(self._cannot) < _NOTICE_CHARS:
            self._cannot[cannot] = None
            self.wake()

    async def run(self, fresh: Callable[[], Awaitable[None]]) -> None:
        """Send without end; the first picture follows after `fresh`.

        Raises:
            Parted: the viewer has not read for `stall_s`.
            ConnectionError: the viewer has disconnected.
        """
        await fresh()
        while True:
            self._wake.clear()
            now = _now()
            due_s = self._due_in(now)
            if due_s is None or due_s > 0:
                await self._sleep(due_s)
            elif (room := self._room(now)) and (room > 2 * self._pace.window // 3 or not self.backlog.is_shown):
                await self._send_notice()
                pixels = int(room / self._bytes_per_pixel)
                film = self._film(now)
                await self._serve(self.backlog.take(now, pixels, tight=self._pace.is_slow, film=film))
            else:
                self._held_up(now)
                if self.backlog.has_moves and self._stream.unsent_bytes() <= self._pace.window:
                    for command in self.backlog.take_moves():
                        await self._out(encode(command))
                else:
                    await self._until_less(now)

    # --- waiting ---

    def _due_in(self, now: float) -> float | None:
        pictures = self.backlog.due_in(now)
        if not self._cannot:
            return pictures
        notice = max(self._notice_from_s - now, 0.0)
        return notice if pictures is None else min(pictures, notice)

    def _room(self, now: float) -> int:
        unsent = self._stream.unsent_bytes()
        if not self.backlog.acknowledges:
            self._pace.left(now, unsent)
        elif unsent == 0 and self._pace.is_silent(now):
            self._pace.forget(now)
        return self._pace.room(now, unsent)

    async def _until_less(self, now: float) -> None:
        """Sleep until there may be room."""
        unsent = self._stream.unsent_bytes()
        if self._least is None or unsent < self._least or unsent == 0:
            self._least, self._moved_s, self._poll_s = unsent, now, _POLL_S
        elif now - self._moved_s >= self._stall_s:
            raise self._stalled()
        left_s = self._stall_s - (now - self._moved_s)
        if isinstance(self._stream, Draining) and unsent:
            self._stream.call_when_drained(max(min(self._pace.window // 2, unsent), 1), self.wake)
        elif unsent:
            left_s, self._poll_s = min(left_s, self._poll_s), min(2 * self._poll_s, _LONGEST_POLL_S)
        else:
            left_s = min(left_s, self._pace.silence_s)
        await self._sleep(max(left_s, _POLL_S))

    def _held_up(self, now: float) -> None:
        if not self.backlog.is_shown:  # better quality alone may wait, and is no sign of a slow link
            self.backlog.grade.held_up(now)

    async def _sleep(self, at_most_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()

    def _stalled(self) -> Parted:
        return Parted(_POLICY, f"this viewer has not read for {self._stall_s:g} s")

    # --- sending ---

    async def _serve(self, round_: Round) -> None:
        self._serving = serving = _Serving(round_)
        for command in round_.commands:
            await self._out(encode(command))
        if round_.film is not None:
            await self._send_film(round_, round_.film)
        self._begin(serving, _ENCODES_AHEAD)
        while serving.ahead and round_.era == self.backlog.era and (serving.is_ended or self._has_room_still()):
            area, begun = serving.ahead.popleft()
            making = begun or self._picture(area, round_, at_once=True)
            picture = making.result() if making.done() else await asyncio.shield(making)
            self._begin(serving, 1)
            await self._send_picture(area, picture, round_)
        self._serving = None
        self.backlog.put_back(round_, serving.left())
        self.backlog.end_serving(_now())

    def _begin(self, serving: _Serving, most: int) -> None:
        for _ in range(min(most, len(serving.waiting))):
            area = serving.waiting.popleft()
            is_little = area in serving.little
            serving.ahead.append((area, None if is_little else self._picture(area, serving.round)))

    def _film(self, now: float) -> Rect | None:
        """The area whose changes are sent as video now; None: there is none."""
        if not self.backlog.takes_video:
            return None
        self._seat.prefer(self.backlog.grade.quality, self.backlog.era, now)
        # A film that began as video stays video: it needs so few bytes that a slow link may then look like a quick one.
        begin = self._pace.is_slow or self.backlog.grade.is_pressed
        return self._videos.area_for(self._seat, now, begin=begin)

    async def _send_film(self, serving: Round, area: Rect) -> None:
        for frame in self._videos.frames(self._seat, area, _now()):
            chunk = await self._videos.chunk(frame)
            if chunk is None or serving.era != self.backlog.era:
                self.backlog.put_back_film(serving)
                return
            await self._send_counted(self._seat.message(frame, chunk))
            self._seat.sent(frame)

    def _has_room_still(self) -> bool:
        # A picture that cannot be sent now is encoded again later. The present result stays in `encodes` for other
        # viewers.
        return self._pace.in_flight == 0 or self._room(_now()) > 0

    def _picture(self, area: Rect, serving: Round, *, at_once: bool = False) -> asyncio.Future[EncodedPicture]:
        frame, encoder, scaling, style = self._engine.frame, self._encoder, serving.scaling, serving.style
        if frame.size != scaling.frame:  # the screen was resized meanwhile: the next round begins with a new Screen
            return _done(EncodedPicture(b"", False))
        cover = scaling.cover(area)
        if serving.blocks:
            cover = cover.outward(wire.BLOCK)
        seen = cover.clipped(scaling.picture)
        key = (cover, self._engine.version_of(scaling.read(seen)), scaling.picture, style)
        if (found := self._encodes.find(key)) is not None:
            return found
        # A copy: the frame may be written to meanwhile, and what the viewer is told to move must be what it was sent.
        copied = frame.view(seen).copy() if scaling.is_identity and not at_once else None

        def work() -> EncodedPicture:
            pixels = scaling.render(frame, seen) if copied is None else copied
            image = encoder.encode(grown(pixels, Size(cover.width, cover.height)), style)
            return EncodedPicture(encode(wire.Picture(cover.x, cover.y, image.data)), image.fine)

        return self._encodes.start(key, work, at_once=at_once)

    async def _send_picture(self, area: Rect, picture: EncodedPicture, serving: Round) -> None:
        if not picture.message:
            return
        await self._send_counted(picture.message)
        if picture.fine:
            self.backlog.sent_exactly(area, serving)
        # smaller ones consist mostly of the file's header
        if not serving.style.best and area.area >= LEAST_PICTURE_PIXELS:
            self._bytes_per_pixel += (len(picture.message) / area.area - self._bytes_per_pixel) / 4

    async def _send_counted(self, message: bytes) -> None:
        """Send a message that the viewer counts in `Shown`."""
        begun = _now()
        self._pace.send(begun, len(message))
        self._least = None
        await self._out(message)
        if _now() - begun > _POLL_S:  # the transport was full
            self._held_up(_now())

    async def _out(self, message: bytes) -> None:
        async with self._patience():
            await self._stream.send(message)

    @contextlib.asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._stall_s):
                yield
        except TimeoutError:
            raise self._stalled() from None

    async def _send_notice(self) -> None:
        if self._cannot and _now() >= self._notice_from_s:
            said = "".join(self._cannot)
            self._cannot.clear()
            self._notice_from_s = _now() + _NOTICE_GAP_S
            notice = control({"type": "console", "msg": f"cannot type: {said}"})
            async with self._patience():
                await self._stream.send_text(notice)


class _Serving:
    """What is left of a round: areas `waiting`, and `ahead` those that are next, with their pictures if begun."""

    def __init__(self, round_: Round) -> None:
        self.round = round_
        self.waiting = deque(round_.areas)
        self.ahead: deque[tuple[Rect, asyncio.Future[EncodedPicture] | None]] = deque()
        self.little = _little(round_.areas)
        self.is_ended = False

    def end(self) -> list[Rect]:
        """Begin nothing more; return the areas that were not begun."""
        left = [area for area, begun in self.ahead if begun is None]
        left += self.waiting
        self.ahead = deque(one for one in self.ahead if one[1] is not None)
        self.waiting.clear()
        self.is_ended = True
        return left

    def left(self) -> list[Rect]:
        """Return the areas that are left."""
        return [*(area for area, _ in self.ahead), *self.waiting]


def _little(areas: Iterable[Rect]) -> set[Rect]:
    """The first areas that together are small enough to be encoded in this thread, while others encode the rest."""
    found: set[Rect] = set()
    left = _AT_ONCE_PIXELS
    for area in areas:
        if area.area <= left:
            found.add(area)
            left -= area.area
    return found


def _done(result: EncodedPicture) -> asyncio.Future[EncodedPicture]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


def _now() -> float:
    return asyncio.get_running_loop().time()
