"""One viewer of an endpoint: its pictures out, its hands in. Band: shell.

Two loops that never wait for each other. The one that sends lets the backlog say what is due, waits until the viewer's
transport is nearly empty, and only then takes the newest pixels. The one that reads hands input to the sink at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import islice

from pommel.screen.backlog import Backlog, Round
from pommel.screen.encodes import Encodes
from pommel.screen.engine import Engine
from pommel.screen.geometry import Rect
from pommel.screen.intake import Intake
from pommel.screen.seams import Encoder, InputSink, ViewerStream
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode

# While more than this waits in a viewer's transport, its pictures wait as pixels instead.
ROOM_BYTES = 32 << 10
_ROOM_POLL_S = 0.004
_ENCODES_AHEAD = 4
_CLOSE_S = 2.0
_NOTICE_GAP_S = 1.0
_NOTICE_CHARS = 64
_MAX_INPUT = 1 << 16
_MAX_REASON_BYTES = 123  # RFC 6455, 5.5.1
_POLICY = 1008


class Parted(Exception):
    """The endpoint parts from this viewer. Never leaves this module's callers in `screen`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Viewer:
    """One viewer. `backlog` and `intake` are its state; the endpoint marks the one and empties the other."""

    def __init__(
        self, stream: ViewerStream, engine: Engine, encodes: Encodes, encoder: Encoder, sink: InputSink | None,
        intake: Intake, *, stall_s: float,
    ) -> None:  # fmt: skip
        self.backlog = Backlog(engine.size)
        self.intake = intake
        self._stream = stream
        self._engine = engine
        self._encodes = encodes
        self._encoder = encoder
        self._sink = sink
        self._stall_s = stall_s
        self._wake = asyncio.Event()
        self._cannot: dict[str, None] = {}
        self._notice_from_s = 0.0

    def wake(self) -> None:
        """Have the sending loop look at the backlog again."""
        self._wake.set()

    async def run(self, fresh: Callable[[], Awaitable[None]], over: Callable[[], Awaitable[str]]) -> None:
        """Serve until the viewer leaves; pictures begin after `fresh`, and all ends with the reason of `over`.

        Raises:
            WireError: the viewer sent what is no KVM command.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self._send(fresh)), tasks.create_task(_part(over))]
                await self._read()
                for other in others:
                    other.cancel()
        except ExceptionGroup as several:
            parted = [one for one in several.exceptions if isinstance(one, Parted)]
            await self._end((parted or several.exceptions)[0])

    async def _end(self, why: Exception) -> None:
        if isinstance(why, Parted):
            reason = why.reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._stream.close(why.code, reason)
        elif not isinstance(why, ConnectionError):  # a viewer may leave without a word
            raise why

    # --- pictures out ---

    async def _send(self, fresh: Callable[[], Awaitable[None]]) -> None:
        await fresh()
        while True:
            await self._until_due()
            await self._until_room()
            await self._send_notice()
            await self._serve(self.backlog.take(self._now()))

    async def _until_due(self) -> None:
        while (due_s := self._due_in()) is None or due_s > 0:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_s):
                    await self._wake.wait()

    def _due_in(self) -> float | None:
        now = self._now()
        pictures = self.backlog.due_in(now)
        if not self._cannot:
            return pictures
        notice = max(self._notice_from_s - now, 0.0)
        return notice if pictures is None else min(pictures, notice)

    async def _until_room(self) -> None:
        least = self._stream.unsent_bytes()
        async with self._patience() as limit:
            while (unsent := self._stream.unsent_bytes()) > ROOM_BYTES:
                if unsent < least:
                    least = unsent
                    limit.reschedule(self._now() + self._stall_s)
                await asyncio.sleep(_ROOM_POLL_S)

    async def _serve(self, serving: Round) -> None:
        for command in serving.commands:
            await self._out(encode(command))
        made = (self._picture(area, serving) for area in serving.areas)
        ahead = deque(islice(made, _ENCODES_AHEAD))
        left = len(serving.areas)
        while ahead and serving.era == self.backlog.era:
            message = await asyncio.shield(ahead.popleft())
            ahead.extend(islice(made, 1))
            await self._out(message)
            left -= 1
        self.backlog.put_back(serving, left)

    def _picture(self, area: Rect, serving: Round) -> asyncio.Future[bytes]:
        frame, encoder, scaling, quality = self._engine.frame, self._encoder, serving.scaling, serving.quality
        if frame.size != scaling.frame:  # resized since; the new Screen is due next
            return _done(b"")
        cover = scaling.cover(area)
        version = self._engine.version_of(scaling.read(cover))

        def work() -> bytes:
            image = encoder.encode(scaling.render(frame, cover), quality)
            return encode(wire.Picture(cover.x, cover.y, image))

        return self._encodes.start((cover, version, scaling.picture, quality), work)

    async def _out(self, message: bytes) -> None:
        if message:
            async with self._patience():
                await self._stream.send(message)

    @contextlib.asynccontextmanager
    async def _patience(self) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(self._stall_s) as limit:
                yield limit
        except TimeoutError:
            raise Parted(_POLICY, f"this viewer has not read for {self._stall_s:g} s") from None

    async def _send_notice(self) -> None:
        if self._cannot and self._now() >= self._notice_from_s:
            said = "".join(self._cannot)
            self._cannot.clear()
            self._notice_from_s = self._now() + _NOTICE_GAP_S
            notice = {"ctrlChannel": "102938", "type": "console", "msg": f"cannot type: {said}"}
            async with self._patience():
                await self._stream.send_text(json.dumps(notice))

    # --- hands in ---

    async def _read(self) -> None:
        decoder = Decoder(wire.Direction.TO_ENDPOINT, max_size=_MAX_INPUT)
        async for data in self._stream.messages():
            decoder.receive_data(data)
            for command in decoder.events():
                await self._obey(command)

    async def _obey(self, command: wire.Command) -> None:
        if self.backlog.obey(command):
            self.wake()
        elif (answer := _answer(command)) is not None:
            self.backlog.say(answer)
            self.wake()
        elif self._sink is not None:
            for action in self.intake.actions(command, self.backlog.announced):
                if cannot := await self._sink.perform(action):
                    self._note(cannot)

    def _note(self, cannot: str) -> None:
        if len(self._cannot) < _NOTICE_CHARS:
            self._cannot[cannot] = None
            self.wake()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _answer(command: wire.Command) -> wire.Command | None:
    match command:
        case wire.GetDisplays():
            return wire.DisplayList((), 0)
        case wire.InputLock(wire.QUERY_LOCK):
            return wire.InputLock(wire.UNLOCKED)
    return None


def _done(result: bytes) -> asyncio.Future[bytes]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


async def _part(over: Callable[[], Awaitable[str]]) -> None:
    raise Parted(1001, await over())
