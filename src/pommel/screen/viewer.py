"""One viewer of an endpoint: sends it pictures (`delivery`), and handles its commands. Band: shell.

Two loops that never wait for each other: one sends pictures, one reads commands. Commands are handled at once and in
order: keys and pointer go to the sink, wishes about pictures to the delivery, questions to the endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

from pommel.screen.actions import Action
from pommel.screen.delivery import Delivery, Parted
from pommel.screen.intake import Intake
from pommel.screen.seams import InputSink
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder
from pommel.wire.viewer import ViewerStream

_CLOSE_S = 2.0  # a viewer that no longer reads must not hold up the end
_MAX_INPUT = 1 << 16
_MAX_REASON_BYTES = 123  # RFC 6455, 5.5.1


class Viewer:
    """One viewer. `answer` returns the endpoint's replies to a command; `acted` is called with each action."""

    def __init__(
        self, stream: ViewerStream, delivery: Delivery, sink: InputSink, intake: Intake,
        answer: Callable[[wire.Command], Iterable[wire.Command]], acted: Callable[[Action], None],
    ) -> None:  # fmt: skip
        self.delivery = delivery
        self._stream = stream
        self._sink = sink
        self._intake = intake
        self._answer = answer
        self._acted = acted

    async def run(self, fresh: Callable[[], Awaitable[None]], over: Callable[[], Awaitable[tuple[int, str]]]) -> None:
        """Serve until the viewer leaves, or until `over` returns a code and a reason to close with.

        The first picture waits
        for `fresh`.

        Raises:
            WireError: the viewer sent something that is not a KVM command.
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
        elif not isinstance(why, ConnectionError):  # a viewer may disconnect without a close frame: no error
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
                self._acted(action)
                if cannot := await self._sink.perform(action):
                    self.delivery.note(cannot)
        else:
            for reply in self._answer(command):
                backlog.queue_command(reply)
                self.delivery.wake()


async def _part(over: Callable[[], Awaitable[tuple[int, str]]]) -> None:
    raise Parted(*await over())
