"""One viewer's pictures, out to it. Band: shell.

One loop: it lets the backlog say what is due, waits until the pace says that there is room on the way, and only then
takes the newest pixels, as much as there is room for. Nothing that is due becomes bytes before it can leave.

Memory of one viewer: its tile maps (20 bytes for each 64×64 pixels), and in its transport at most the window of `pace`
(4 MiB at the very most, 1.2 MB on a link without delay) and one picture. Encoded pictures are shared, in `encodes`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice

from pommel.screen.backlog import LEAST_PICTURE_PIXELS, Backlog, Round
from pommel.screen.encodes import Encodes, Made
from pommel.screen.engine import Engine
from pommel.screen.frame import grown
from pommel.screen.geometry import Rect, Size
from pommel.screen.pace import Pace
from pommel.screen.seams import Draining, Encoder
from pommel.screen.videos import Seat, Videos
from pommel.wire import messages as wire
from pommel.wire.codec import encode
from pommel.wire.control import control
from pommel.wire.viewer import ViewerStream

_ENCODES_AHEAD = 4
# As little as this of a serving (a typed word) takes 0.1 ms to encode, losslessly 0.5: less than waking a thread. It is
# done while threads are at the others: before them it would be sooner there by 0.5 ms, and a film later by as much.
_AT_ONCE_PIXELS = 20 * 1024
_POLL_S, _LONGEST_POLL_S = 0.004, 0.25
_NOTICE_GAP_S = 1.0
_NOTICE_CHARS = 64
_POLICY = 1008  # RFC 6455, 7.4.1
_FIRST_BYTES_PER_PIXEL = 0.2


class Parted(Exception):
    """The endpoint parts from this viewer. Never leaves this module's callers in `screen`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Delivery:
    """What goes out to one viewer. `backlog` is its state, which the endpoint marks."""

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
        self._seat = Seat()
        self._stall_s = stall_s
        self._pace = Pace()
        self._wake = asyncio.Event()
        self._bytes_per_pixel = _FIRST_BYTES_PER_PIXEL
        self._least: int | None = None  # bytes unsent, since the viewer is waited for
        self._moved_s = 0.0  # when they last became fewer
        self._poll_s = _POLL_S
        self._cannot: dict[str, None] = {}
        self._notice_from_s = 0.0

    def wake(self) -> None:
        """Have the loop look at everything again."""
        self._wake.set()

    def shown(self, count: int) -> None:
        """Note that the viewer has shown `count` pictures."""
        self._pace.shown(_now(), count)
        self.wake()

    def note(self, cannot: str) -> None:
        """Have the viewer told what cannot be typed."""
        if len(self._cannot) < _NOTICE_CHARS:
            self._cannot[cannot] = None
            self.wake()

    async def run(self, fresh: Callable[[], Awaitable[None]]) -> None:
        """Send for ever; pictures begin after `fresh`.

        Raises:
            Parted: the viewer has not read for `stall_s`.
            ConnectionError: it has gone.
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
        if not self.backlog.is_shown:  # what only gets better may take its time
            self.backlog.grade.held_up(now)

    async def _sleep(self, at_most_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()

    def _stalled(self) -> Parted:
        return Parted(_POLICY, f"this viewer has not read for {self._stall_s:g} s")

    # --- sending ---

    async def _serve(self, serving: Round) -> None:
        for command in serving.commands:
            await self._out(encode(command))
        if serving.film is not None:
            await self._send_film(serving, serving.film)
        little = _little(serving.areas)
        made = ((area, None if area in little else self._picture(area, serving)) for area in serving.areas)
        ahead = deque(islice(made, _ENCODES_AHEAD))
        left = len(serving.areas)
        while ahead and serving.era == self.backlog.era and self._has_room_still():
            area, begun = ahead.popleft()
            making = begun or self._picture(area, serving, at_once=True)
            picture = making.result() if making.done() else await asyncio.shield(making)
            ahead.extend(islice(made, 1))
            await self._send_picture(area, picture, serving)
            left -= 1
        self.backlog.put_back(serving, left)
        self.backlog.end_serving(_now())

    def _film(self, now: float) -> Rect | None:
        """Return the area whose changes are to leave as video now, if any."""
        if not self.backlog.takes_video:
            return None
        self._seat.prefer(self.backlog.grade.quality, self.backlog.era, now)
        # What began as video stays so: with so much less to carry, a thin link may look like a quick one.
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
        # What cannot leave now is better made anew: it is kept for whoever wants the same, should it not change.
        return self._pace.in_flight == 0 or self._room(_now()) > 0

    def _picture(self, area: Rect, serving: Round, *, at_once: bool = False) -> asyncio.Future[Made]:
        frame, encoder, scaling, style = self._engine.frame, self._encoder, serving.scaling, serving.style
        if frame.size != scaling.frame:  # resized since; the new Screen is due next
            return _done(Made(b"", False))
        cover = scaling.cover(area)
        if serving.blocks:
            cover = cover.outward(wire.BLOCK)
        seen = cover.clipped(scaling.picture)
        version = self._engine.version_of(scaling.read(seen))

        def work() -> Made:
            image = encoder.encode(grown(scaling.render(frame, seen), Size(cover.width, cover.height)), style)
            return Made(encode(wire.Picture(cover.x, cover.y, image.data)), image.fine)

        return self._encodes.start((cover, version, scaling.picture, style), work, at_once=at_once)

    async def _send_picture(self, area: Rect, picture: Made, serving: Round) -> None:
        if not picture.message:
            return
        await self._send_counted(picture.message)
        if picture.fine:
            self.backlog.sent_exactly(area, serving)
        if not serving.style.best and area.area >= LEAST_PICTURE_PIXELS:  # a smaller one is its header
            self._bytes_per_pixel += (len(picture.message) / area.area - self._bytes_per_pixel) / 4

    async def _send_counted(self, message: bytes) -> None:
        """Send what the viewer counts in `Shown`."""
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


def _little(areas: Iterable[Rect]) -> set[Rect]:
    """Return the first areas that are so little together that they are encoded here, while threads have the others."""
    found: set[Rect] = set()
    left = _AT_ONCE_PIXELS
    for area in areas:
        if area.area <= left:
            found.add(area)
            left -= area.area
    return found


def _done(result: Made) -> asyncio.Future[Made]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


def _now() -> float:
    return asyncio.get_running_loop().time()
