"""Requests to an SFTP server and their answers, over a child's pipes. Band: shell.

Several coroutines may use a channel at once, so that small files do not wait for one another's answers. Each of them
may be cancelled at any time: what it was to be answered is dropped, and its handle is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import TypeVar

from pommel.child import Child
from pommel.errors import ProtocolError
from pommel.foreign import printable
from pommel.sftp import codec
from pommel.sftp.codec import Attributes, Data, Extended, Names, Reply, SftpHandle, SftpStatus, SftpVersion
from pommel.sftp.tree import FilesError

T = TypeVar("T", Attributes, SftpHandle, Names, Data, SftpStatus, Extended, SftpVersion)

# A handle, and its pending requests in order: number and bytes of each.
Opened = tuple[bytes, deque[tuple[int, int]]]

STALL_S = 20.0
_TEXT_SHOWN = 200
_GREETING = 0  # the first packet has no number; its answer gets this one
_MAC_HINT = "on a Mac, System Settings > General > Sharing > Remote Login (i): allow full disk access for remote users"


class SessionLost(FilesError):
    """The session has ended; a new one may work."""


class FileRefused(FilesError):
    """The guest's SFTP server refused a request."""

    def __init__(self, status: SftpStatus, what: str, whose: str = "the guest") -> None:
        reasons = {
            codec.NO_SUCH_FILE: "it no longer exists",
            codec.PERMISSION_DENIED: "permission denied",
            codec.FAILURE: "its disk may be full, or may not allow this name",
        }
        hint = _MAC_HINT if status.code == codec.PERMISSION_DENIED else None
        why = reasons.get(status.code) or " ".join(printable(status.text).split())[:_TEXT_SHOWN]
        super().__init__(f"{whose} could not {what}: {why}", hint=hint)
        self.code = status.code


class SftpChannel:
    """One server. `whose` names it in errors."""

    def __init__(self, child: Child, whose: str = "the guest") -> None:
        self._child, self.whose = child, whose
        self._reader = codec.ReplyReader()
        self._reading = asyncio.Lock()
        self._asked = {_GREETING}
        self._dropped: set[int] = set()
        self._answers: dict[int, Reply] = {}
        self._number = _GREETING
        self.extensions: frozenset[bytes] = frozenset()

    @property
    def alive(self) -> bool:
        """Whether the program that reaches the server still runs."""
        return self._child.alive

    async def greet(self) -> None:
        """Agree on the version.

        Raises:
            SessionLost: there is no SFTP server, or no connection.
        """
        await self._send(codec.init())
        self.extensions = self.expect(SftpVersion, await self.answer(_GREETING), "greet").extensions

    @contextlib.asynccontextmanager
    async def opened(self, kind: int, what: str, *fields: bytes) -> AsyncIterator[Opened]:
        """Open a handle during the block. If the block fails, it is closed too, so that the session stays usable."""
        handle = self.expect(SftpHandle, await self.ask(kind, *fields), what).handle
        asked: deque[tuple[int, int]] = deque()
        try:
            yield handle, asked
        except SessionLost:
            raise
        except BaseException:
            for number, _ in asked:
                self._drop(number)
            self._close(handle)
            raise
        await self.done(codec.CLOSE, "close a file", codec.string(handle))

    async def done(self, kind: int, what: str, *fields: bytes) -> None:
        """Do what has no result.

        Raises:
            FileRefused: it was refused.
        """
        self.check(await self.ask(kind, *fields), what)

    async def ask(self, kind: int, *fields: bytes) -> Reply:
        """Send a request, and wait for its answer."""
        return await self.answer(await self.request(kind, *fields))

    async def request(self, kind: int, *fields: bytes) -> int:
        """Send a request; return its number, for `answer`."""
        number = self._new_number()
        try:
            await self._send(codec.request(kind, number, *fields))
        except BaseException:
            self._drop(number)
            raise
        return number

    async def answer(self, number: int) -> Reply:
        """Wait for the answer to a request. One of the waiting coroutines reads for all."""
        try:
            while number not in self._answers:
                async with self._reading:
                    if number not in self._answers:
                        await self._read_some()
        except BaseException:
            self._drop(number)
            raise
        return self._answers.pop(number)

    def check(self, reply: Reply, what: str) -> None:
        """Raise FileRefused unless an answer says that it was done."""
        status = self.expect(SftpStatus, reply, what)
        if status.code != codec.OK:
            raise self.refused(status, what)

    def expect(self, kind: type[T], reply: Reply, what: str) -> T:
        """An answer of this kind.

        Raises:
            FileRefused: it is a refusal.
            SessionLost: it is another kind.
        """
        if isinstance(reply, kind):
            return reply
        if isinstance(reply, SftpStatus):
            raise self.refused(reply, what)
        raise SessionLost(f"the guest's SFTP server sent another answer when asked to {what}")

    def refused(self, status: SftpStatus, what: str) -> FileRefused:
        """The error for a refusal."""
        return FileRefused(status, what, self.whose)

    # --- packets

    def _new_number(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._asked.add(self._number)
        return self._number

    def _drop(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        reply = self._answers.pop(number, None)
        if reply is None and number in self._asked:
            self._dropped.add(number)
        if isinstance(reply, SftpHandle):
            self._close(reply.handle)

    def _close(self, handle: bytes) -> None:
        """Close a handle without waiting for it."""
        number = self._new_number()
        self._dropped.add(number)
        with contextlib.suppress(ConnectionError, RuntimeError):  # then the server has gone, and all its handles
            self._child.put(codec.request(codec.CLOSE, number, codec.string(handle)))

    async def _send(self, packet: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_S):
                await self._child.write(packet)
        except (ConnectionError, RuntimeError):
            raise self._lost() from None
        except TimeoutError:
            raise SessionLost(f"{self.whose} accepted no files for {STALL_S:g} s") from None

    async def _read_some(self) -> None:
        try:
            async with asyncio.timeout(STALL_S):
                data = await self._child.read()
            if not data:
                raise self._lost()
            for number, reply in self._reader.feed(data):
                self._take(number, reply)
        except TimeoutError:
            raise SessionLost(f"{self.whose} sent no files for {STALL_S:g} s") from None
        except ProtocolError as nonsense:
            raise SessionLost(nonsense.message) from nonsense

    def _take(self, number: int, reply: Reply) -> None:
        if number not in self._asked:
            raise SessionLost("the guest's SFTP server answered what it was not asked")
        self._asked.remove(number)
        if number not in self._dropped:
            self._answers[number] = reply
            return
        self._dropped.remove(number)
        if isinstance(reply, SftpHandle):
            self._close(reply.handle)

    def _lost(self) -> SessionLost:
        complaints = self._child.complaints
        last = next((line.strip() for line in reversed(complaints.splitlines()) if line.strip()), "")
        refused = not complaints or "subsystem request failed" in complaints
        return SessionLost(
            f"the connection for files ended{': ' + last if last else ''}",
            hint="files need the guest's SFTP server: Subsystem sftp in its sshd_config" if refused else None,
        )
