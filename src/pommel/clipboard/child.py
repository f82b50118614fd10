"""A program that runs beside us and talks over pipes, for as long as a block. Band: shell.

It never outlives the block: it has a process group of its own, which is ended with all that is in it. It does not
outlive a `kill -9` of us either: an ssh ends when its standard input does; for what would not, there is `tethered`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence

from pommel.clipboard.content import printable
from pommel.process import end_group, spawn_piped

READ_BYTES = 256 << 10
_GRACE_S = 1.0
_COMPLAINTS_MAX = 8 << 10


class Child:
    """A running program: its pipes, and what it last said on standard error."""

    def __init__(self, process: Process, complaints: _Complaints) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a child talks over pipes")
        self._process, self._complaints = process, complaints
        self._stdin, self._stdout = process.stdin, process.stdout
        self.pid = process.pid

    async def read(self) -> bytes:
        """Some bytes of its standard output; none when that has ended."""
        return await self._stdout.read(READ_BYTES)

    async def write(self, data: bytes | memoryview) -> None:
        """Send bytes, and wait until the kernel has taken nearly all of them.

        Raises:
            ConnectionError: it does not read any more.
        """
        self._stdin.write(data)
        await self._stdin.drain()

    def close_input(self) -> None:
        """Let it see the end of its input."""
        self._stdin.close()

    async def wait(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        return await self._process.wait()

    @property
    def complaints(self) -> str:
        """What it said on standard error, the last of it. The guest may say it, through ssh: no control characters."""
        self._complaints.read()
        return printable(self._complaints.said.decode(errors="replace").replace("\r\n", "\n")).strip()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    async def end(self, grace_s: float) -> None:
        """Close its input, and if that does not end it soon, kill it with all that it started."""
        self._stdin.close()
        try:
            await self._finish(grace_s)
        finally:
            end_group(self.pid, signal.SIGKILL)
            await self._finish(_GRACE_S)  # also when we are cancelled here: nobody else takes note of its end
        with contextlib.suppress(OSError):
            await self._stdin.wait_closed()

    async def _finish(self, within_s: float) -> None:
        """Wait for its end; asyncio sees that only when all of its output has been read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while await self._stdout.read(READ_BYTES):
                    pass
                await self._process.wait()


class _Complaints:
    """The reading end of a program's standard error, read as it comes so that the program never has to wait."""

    def __init__(self) -> None:
        self._fd, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        self.said = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self.read)

    def read(self) -> None:
        try:
            while more := os.read(self._fd, 4096):
                self.said += more
                del self.said[:-_COMPLAINTS_MAX]
            self._loop.remove_reader(self._fd)
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, grace_s: float = _GRACE_S
) -> AsyncIterator[Child]:
    """Run a program for the time of the block; at its end it has `grace_s` to notice that its input has ended.

    Raises:
        MissingProgram: it is not installed.
    """
    complaints = _Complaints()
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


def tethered(argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` and dies with us, for programs that do not notice that nobody reads them."""
    return ["setpriv", "--pdeathsig", "TERM", "--", *argv] if shutil.which("setpriv") else list(argv)
