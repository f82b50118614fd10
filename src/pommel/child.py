"""A child program that communicates over pipes and lives as long as a block. Band: shell.

It never lives longer than the block: it has its own process group, and the whole group is ended. It also ends after a
`kill -9` of this process: ssh ends when its standard input ends, and a program that would not is started by
`process.tethered`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence

from pommel.foreign import printable
from pommel.process import end_group, spawn_piped

READ_BYTES = 256 << 10
_GRACE_S = 1.0
_COMPLAINTS_MAX = 8 << 10


class Child:
    """A running program: its pipes, and the end of its standard error."""

    def __init__(self, process: Process, complaints: Complaints) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a child talks over pipes")
        self._process, self._complaints = process, complaints
        self._stdin, self._stdout = process.stdin, process.stdout
        self.pid = process.pid

    async def read(self) -> bytes:
        """Some bytes of its standard output; none when that has ended."""
        return await self._stdout.read(READ_BYTES)

    async def write(self, data: bytes | memoryview) -> None:
        """Send bytes, and wait until nearly all of them are in the kernel's buffer.

        Raises:
            ConnectionError: the program no longer reads.
        """
        self._stdin.write(data)
        await self._stdin.drain()

    def put(self, data: bytes) -> None:
        """Send bytes without waiting."""
        self._stdin.write(data)

    def close_input(self) -> None:
        """Close its standard input."""
        self._stdin.close()

    async def wait(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        return await self._process.wait()

    @property
    def complaints(self) -> str:
        """The end of its standard error, without control characters: through ssh, the guest may have written it."""
        return self._complaints.text

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    async def end(self, grace_s: float) -> None:
        """Close its input; if it does not end within `grace_s`, kill its process group."""
        self._stdin.close()
        try:
            await self._finish(grace_s)
        finally:
            end_group(self.pid, signal.SIGKILL)
            await self._finish(_GRACE_S)  # also after a cancellation: the process must be waited for
        with contextlib.suppress(OSError):
            await self._stdin.wait_closed()

    async def _finish(self, within_s: float) -> None:
        """Wait for its end. All output is read, because asyncio reports the end only after that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while await self._stdout.read(READ_BYTES):
                    pass
                await self._process.wait()


class Complaints:
    """The reading end of a program's standard error; the program gets `write_end`, which the caller closes.

    It is read at once, so that the program never blocks on a full pipe.
    """

    def __init__(self) -> None:
        self._fd, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        self._said = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self.read)

    @property
    def text(self) -> str:
        """The end of it, without control characters."""
        self.read()
        return printable(self._said.decode(errors="replace").replace("\r\n", "\n")).strip()

    def read(self) -> None:
        """Read what is there."""
        try:
            while more := os.read(self._fd, 4096):
                self._said += more
                del self._said[:-_COMPLAINTS_MAX]
            self._loop.remove_reader(self._fd)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Stop reading."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, grace_s: float = _GRACE_S
) -> AsyncIterator[Child]:
    """Run a program during the block; after the block its input is closed, and it has `grace_s` to end.

    Raises:
        MissingProgram: it is not installed.
    """
    complaints = Complaints()
    try:
        try:
            process = await spawn_piped(argv, stderr=complaints.write_end, env=env, limit=READ_BYTES)
        finally:
            os.close(complaints.write_end)
        child = Child(process, complaints)
        try:
            yield child
        finally:
            await child.end(grace_s)
    finally:
        complaints.close()
