"""Serves one viewer's terminal, from its first size to the end of its shell or of its connection. Band: shell.

Both directions have bounded memory. A program that writes faster than the viewer reads is stopped by its terminal. A
viewer that sends more than the program reads is disconnected: if it were no longer read, nobody would notice that it
leaves.
"""

from __future__ import annotations

import asyncio
import contextlib

from pommel.errors import DeadlineError, PommelError, ProtocolError
from pommel.tasks import background, first_of
from pommel.terminal.pty import ShellPlan, TerminalProcess, on_terminal
from pommel.wire.terminal import (
    COUNTS,
    Processed,
    TerminalSize,
    Typed,
    encode_ended,
    encode_typed,
    parse_terminal,
)
from pommel.wire.viewer import ViewerStream

WINDOW_BYTES = 256 << 10  # output that is on its way to the viewer, or not processed by it
MOST_TYPED = 4 << 20  # input that the program has not read
FIRST_SIZE_S = 30.0
_RESIZE_S = 0.05  # the pause between two sizes: a window that is dragged has many of them
_POLL_S = 0.01  # a stream has no event for "sent"
_NORMAL = 1000  # RFC 6455, 7.4.1
LEFT = "the viewer has left"


async def serve_shell(stream: ViewerStream, plan: ShellPlan) -> str:
    """Serve one viewer; return why it ended. It is told the end of its shell, and is disconnected.

    Raises:
        PommelError: the shell could not be started, or the viewer's messages are invalid; the viewer was told.
    """
    viewer = _Viewer(stream)
    try:
        async with background(viewer.receive()) as (receiving,):
            size = await viewer.first_size(receiving)
            if size is None:
                return LEFT
            async with on_terminal(plan, size) as shell:
                return await viewer.serve(shell, plan, receiving)
    except ConnectionError:
        return LEFT
    except PommelError as failure:
        await end_terminal(stream, failure.message)
        raise


async def end_terminal(stream: ViewerStream, why: str) -> None:
    """Tell a viewer why there is no shell, and disconnect it."""
    sentence = f"{why[:1].upper()}{why[1:]}"
    with contextlib.suppress(ConnectionError):
        await stream.send(encode_ended(sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."))
    await stream.close(_NORMAL, "")


class _Viewer:
    def __init__(self, stream: ViewerStream) -> None:
        self._stream = stream
        self._size: TerminalSize | None = None
        self._resized, self._has_typed, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._typed = bytearray()
        self._sent = 0
        self._processed: int | None = None  # as the viewer says; None: it says nothing

    async def receive(self) -> None:
        """Read the viewer's messages until it leaves. ProtocolError: they are invalid, or too many bytes wait."""
        async for message in self._stream.messages():
            match parse_terminal(message):
                case Typed(data):
                    self._typed += data
                    self._has_typed.set()
                    if len(self._typed) > MOST_TYPED:
                        raise ProtocolError(f"the program has not read {MOST_TYPED >> 20} MiB that were typed")
                case TerminalSize() as size:
                    self._size = size
                    self._resized.set()
                case Processed(count):
                    self._processed = count
                    self._news.set()

    async def first_size(self, receiving: asyncio.Task[None]) -> TerminalSize | None:
        """Wait for the size that starts the shell; None: the viewer has left."""
        try:
            async with asyncio.timeout(FIRST_SIZE_S):
                await first_of(self._resized.wait(), _ended(receiving))
        except TimeoutError:
            raise DeadlineError(f"the viewer sent no size within {FIRST_SIZE_S:g} s") from None
        if receiving.done():
            receiving.result()
        return self._size

    async def serve(self, shell: TerminalProcess, plan: ShellPlan, receiving: asyncio.Task[None]) -> str:
        """Move bytes until the shell ends or the viewer leaves."""
        works = (self._write_out(shell), self._read_in(shell, plan), self._resize(shell), _ended(receiving))
        (await first_of(*works)).first.result()
        if receiving.done():
            receiving.result()
            return LEFT
        why = plan.ended(await shell.wait(), shell.complaints)
        await end_terminal(self._stream, why)
        return why

    async def _write_out(self, shell: TerminalProcess) -> None:
        while data := await shell.read():
            while not self._has_room():
                await self._until_room()
            await self._stream.send(encode_typed(data))
            self._sent += len(data)

    def _has_room(self) -> bool:
        if self._processed is None:
            return self._stream.unsent_bytes() < WINDOW_BYTES
        return (self._sent - self._processed) % COUNTS < WINDOW_BYTES

    async def _until_room(self) -> None:
        if self._processed is None:
            await asyncio.sleep(_POLL_S)
            return
        self._news.clear()
        await self._news.wait()

    async def _read_in(self, shell: TerminalProcess, plan: ShellPlan) -> None:
        if plan.takes_modes:
            await shell.until_raw()
        with contextlib.suppress(ConnectionError):
            while True:
                await self._has_typed.wait()
                self._has_typed.clear()
                while self._typed:
                    part = bytes(self._typed[:4096])
                    await shell.write(part)
                    del self._typed[: len(part)]
        await asyncio.get_running_loop().create_future()  # its last output is still to be read: that decides

    async def _resize(self, shell: TerminalProcess) -> None:
        while True:
            await self._resized.wait()
            self._resized.clear()
            if self._size is not None:
                shell.resize(self._size)
            await asyncio.sleep(_RESIZE_S)


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for the end of a task; its error is not raised here."""
    await asyncio.wait((task,))
