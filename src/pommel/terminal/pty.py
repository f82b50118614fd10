"""A program on a pseudo-terminal, for as long as a block. Band: shell.

After the block the terminal is hung up: the kernel sends SIGHUP to the session's leader and to the group in the
foreground (POSIX.1-2017, 11.1.10). It does the same after a `kill -9` of this process. What then still runs in the
leader's group is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from pommel.child import Complaints
from pommel.process import end_group, spawn_on_terminal
from pommel.tasks import background
from pommel.wire.terminal import TerminalSize

_READ_BYTES = 64 << 10
_GRACE_S = 2.0
_LAST_WORDS = 1 << 20  # more than all that terminals hold in the kernel
_RAW_LOOK_S = 0.05
# Erase removes a whole character of UTF-8, not a byte (termios(3); asm-generic/termbits.h, macOS' sys/termios.h).
# Python has no name for it.
_IUTF8 = 0x4000
_INPUT_FLAGS, _LOCAL_FLAGS = 0, 3  # indices of tcgetattr's list (Python's termios)


@dataclass(frozen=True, slots=True)
class ShellPlan:
    """How to start a shell: its arguments and environment.

    `takes_modes` says that it sets the terminal to raw when it is ready, as ssh does. It gets no input before that: the
    terminal would echo it, and the other end again. Its standard error is then its own and not the terminal's.
    `ended` makes a sentence of its exit status (negative: a signal) and the end of its standard error.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    ended: Callable[[int, str], str]
    takes_modes: bool = False


class TerminalProcess:
    """A program on a terminal. One coroutine reads, one writes."""

    def __init__(self, master: int, process: Process, complaints: Complaints | None, gone: asyncio.Task[int]) -> None:
        self._master, self._process, self._complaints, self._gone = master, process, complaints, gone
        self._last_words = _LAST_WORDS
        self.pid = process.pid

    async def read(self) -> bytes:
        """Some bytes of its output; none when it has ended and all was read.

        What it left in the background may still write: then not all is read.
        """
        while True:
            ended = self._gone.done()
            data = self._read_now() if self._last_words > 0 else None
            if ended:
                self._last_words -= len(data or b"")
            if data:
                return data
            if data is None or ended:
                return b""
            await self._until_ready(asyncio.get_running_loop().add_reader, asyncio.get_running_loop().remove_reader)

    def _read_now(self) -> bytes | None:
        """What can be read at once; None: no process has the terminal open any more."""
        data = bytearray()
        while len(data) < _READ_BYTES:
            try:
                more = os.read(self._master, _READ_BYTES - len(data))
            except BlockingIOError:
                break
            except OSError as failure:
                if failure.errno != errno.EIO:  # Linux's word for it; others say that the file has ended
                    raise
                more = b""
            if not more:
                return bytes(data) or None
            data += more
        return bytes(data)

    async def write(self, data: bytes) -> None:
        """Write to its input; wait while the terminal has no room.

        Raises:
            ConnectionError: it has ended.
        """
        rest = memoryview(data)
        while rest:
            if self._gone.done():
                raise ConnectionResetError("the program has ended")
            try:
                rest = rest[os.write(self._master, rest) :]
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await self._until_ready(loop.add_writer, loop.remove_writer)
            except OSError as failure:
                raise ConnectionResetError("the terminal is closed") from failure

    async def until_raw(self) -> None:
        """Wait until the program has set the terminal to raw, or has ended."""
        while not self._gone.done() and termios.tcgetattr(self._master)[_LOCAL_FLAGS] & termios.ICANON:  # noqa: ASYNC110
            await asyncio.sleep(_RAW_LOOK_S)  # the kernel has no event for a change of a terminal's modes

    def resize(self, size: TerminalSize) -> None:
        """Set the terminal's size; the kernel tells the group in the foreground (SIGWINCH)."""
        with contextlib.suppress(OSError):  # closed at the other end
            _set_size(self._master, size)

    async def wait(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        return await asyncio.shield(self._gone)

    @property
    def complaints(self) -> str:
        """The end of its standard error, without control characters, where that is not the terminal."""
        return self._complaints.text if self._complaints is not None else ""

    async def hang_up(self) -> None:
        """Close the terminal; kill the program's group if it does not end in time."""
        os.close(self._master)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    await self.wait()
        finally:
            end_group(self.pid, signal.SIGKILL)
            await self.wait()  # also after a cancellation: it must be waited for

    async def _until_ready(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        """Wait until the terminal is readable or writable, or the program has ended."""
        ready = asyncio.get_running_loop().create_future()

        def wake(*_: object) -> None:
            if not ready.done():
                ready.set_result(None)

        add(self._master, wake)
        self._gone.add_done_callback(wake)
        try:
            await ready
        finally:
            self._gone.remove_done_callback(wake)
            remove(self._master)


@contextlib.asynccontextmanager
async def on_terminal(plan: ShellPlan, size: TerminalSize) -> AsyncIterator[TerminalProcess]:
    """Run a shell on a new terminal during the block.

    Raises:
        MissingProgram: its program is not there.
    """
    complaints = Complaints() if plan.takes_modes else None
    try:
        async with _started(plan, size, complaints) as shell:
            yield shell
    finally:
        if complaints is not None:
            complaints.close()


@contextlib.asynccontextmanager
async def _started(
    plan: ShellPlan, size: TerminalSize, complaints: Complaints | None
) -> AsyncIterator[TerminalProcess]:
    master, slave = os.openpty()
    try:
        os.set_blocking(master, False)
        modes = termios.tcgetattr(slave)
        modes[_INPUT_FLAGS] |= _IUTF8
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        _set_size(slave, size)
        stderr = complaints.write_end if complaints is not None else None
        process = await spawn_on_terminal(plan.argv, slave, stderr=stderr, env=plan.env)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
        if complaints is not None:
            os.close(complaints.write_end)
    async with background(process.wait()) as (gone,):
        shell = TerminalProcess(master, process, complaints, gone)
        try:
            yield shell
        finally:
            await shell.hang_up()


def _set_size(terminal: int, size: TerminalSize) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))
