"""One viewer of an endpoint: its pictures out (`delivery`), its hands in. Band: shell.

Two loops that never wait for each other. What the viewer says is acted on at once and in order: hands go to the sink,
wishes to the delivery, questions to the endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

from pommel.screen.delivery import Delivery, Parted
from pommel.screen.intake import Intake
from pommel.screen.seams import InputSink
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder
from pommel.wire.viewer import ViewerStream

_CLOSE_S = 2.0
_MAX_INPUT = 1 << 16
_MAX_REASON_BYTES = 123  # RFC 6455, 5.5.1


class Viewer:
    """One viewer. `answer` gives the replies to what it asks of the endpoint."""

    def __init__(
        self, stream: ViewerStream, delivery: Delivery, sink: InputSink, intake: Intake,
        answer: Callable[[wire.Command], Iterable[wire.Command]],
    ) -> None:  # fmt: skip
        self.delivery = delivery
        self._stream = stream
        self._sink = sink
        self._intake = intake
        self._answer = answer

    async def run(self, fresh: Callable[[], Awaitable[None]], over: Callable[[], Awaitable[tuple[int, str]]]) -> None:
        """Serve until the viewer leaves; pictures begin after `fresh`, and all ends with the code and reason of `over`.

        Raises:
            WireError: the viewer sent what is no KVM command.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self.delivery.run(fresh)), tasks.create_task(_part(over))]
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

    async def _read(self) -> None:
        decoder = Decoder(wire.Direction.TO_ENDPOINT, max_size=_MAX_INPUT)
        async for data in self._stream.messages():
            decoder.receive_data(data)
            for command in decoder.events():
                await self._obey(command)

    async def _obey(self, command: wire.Command) -> None:
        backlog = self.delivery.backlog
        if isinstance(command, wire.Abilities):
            self._intake.by_legend = bool(command.bits & wire.KEYS_BY_LEGEND)
        if isinstance(command, wire.Shown):
            self.delivery.shown(command.count)
        elif backlog.obey(command):
            self.delivery.wake()
        elif actions := self._intake.actions(command, backlog.announced):
            for action in actions:
                if cannot := await self._sink.perform(action):
                    self.delivery.note(cannot)
        else:
            for reply in self._answer(command):
                backlog.say(reply)
                self.delivery.wake()


async def _part(over: Callable[[], Awaitable[tuple[int, str]]]) -> None:
    raise Parted(*await over())
