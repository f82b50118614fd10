"""An SFTP session over the same ssh as the clipboard: requests, and files in many pieces at once. Band: shell.

Several coroutines may use a session at once, so that small files do not wait for one another's answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import TypeVar

from pommel.child import Child, running
from pommel.errors import ProtocolError
from pommel.foreign import printable
from pommel.sftp import codec
from pommel.sftp.codec import Attributes, Data, Names, Reply, SftpHandle, SftpStatus
from pommel.sftp.tree import DEPTH_MAX, ENTRIES_MAX, FilesError, NameCount, too_many

_T = TypeVar("_T", Attributes, SftpHandle, Names, Data, SftpStatus)

# A handle, and its pending requests in order: number and bytes of each.
_Opened = tuple[bytes, deque[tuple[int, int]]]

STALL_S = 20.0
PIECE = 64 << 10
_WINDOW = 32
_TEXT_SHOWN = 200
_GREETING = 0  # the first packet has no number; its answer gets this one
_MAC_HINT = "on a Mac, System Settings > General > Sharing > Remote Login (i): allow full disk access for remote users"


class SessionLost(FilesError):
    """The session has ended; a new one may work."""


class FileRefused(FilesError):
    """The guest's SFTP server refused a request."""

    def __init__(self, status: SftpStatus, what: str) -> None:
        reasons = {
            codec.NO_SUCH_FILE: "it no longer exists",
            codec.PERMISSION_DENIED: "permission denied",
            codec.FAILURE: "its disk may be full, or may not allow this name",
        }
        hint = _MAC_HINT if status.code == codec.PERMISSION_DENIED else None
        why = reasons.get(status.code) or " ".join(printable(status.text).split())[:_TEXT_SHOWN]
        super().__init__(f"the guest could not {what}: {why}", hint=hint)
        self.code = status.code


class SftpSession:
    """Requests and their answers."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._reader = codec.ReplyReader()
        self._reading = asyncio.Lock()
        self._asked = {_GREETING}
        self._answers: dict[int, Reply] = {}
        self._number = _GREETING

    async def greet(self) -> None:
        """Agree on the version.

        Raises:
            SessionLost: there is no SFTP server, or no connection.
        """
        await self._send(codec.init())
        await self._answer(_GREETING)

    async def look(self, path: bytes, *, follow: bool = False) -> Attributes:
        """The attributes of `path`; of a link itself, unless `follow`."""
        reply = await self._ask(codec.STAT if follow else codec.LSTAT, codec.string(path))
        return _as(Attributes, reply, "look at a file")

    async def link_target(self, path: bytes) -> bytes:
        """The target of a symbolic link."""
        names = _as(Names, await self._ask(codec.READLINK, codec.string(path)), "read a link").names
        if not names:
            raise SessionLost("the guest's SFTP server sent no name")
        return names[0][0]

    async def folder(self, path: bytes, listed: NameCount | None = None) -> list[tuple[bytes, Attributes]]:
        """The entries of a folder, without `.` and `..`; `listed` counts them together with the rest of the tree.

        Raises:
            FilesError: it cannot be read, or has too many entries.
        """
        async with self._opened(codec.OPENDIR, "open a folder", codec.string(path)) as (handle, _):
            return await self._listed(handle, listed or NameCount())

    async def _listed(self, handle: bytes, listed: NameCount) -> list[tuple[bytes, Attributes]]:
        found: list[tuple[bytes, Attributes]] = []
        skipped = 0
        while not isinstance(reply := await self._ask(codec.READDIR, codec.string(handle)), SftpStatus):
            names = _as(Names, reply, "read a folder").names
            if not names:
                raise SessionLost("the guest's SFTP server sent no name")
            kept = [one for one in names if one[0] not in (b".", b"..")]
            skipped += len(names) - len(kept)
            for name, _ in kept:
                listed.take(name)
            found += kept
            if skipped > 2:
                raise SessionLost("the guest's SFTP server named a folder's own name twice")
        if reply.code != codec.EOF:
            raise FileRefused(reply, "read a folder")
        return found

    async def make_folder(self, path: bytes, mode: int = 0o700) -> None:
        """Make a new folder."""
        await self._done(codec.MKDIR, "make a folder", codec.string(path), codec.attributes(mode=mode))

    async def set_mode(self, path: bytes, mode: int) -> None:
        """Set permissions."""
        await self._done(codec.SETSTAT, "close a folder to others", codec.string(path), codec.attributes(mode=mode))

    async def make_link(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link."""
        await self._done(codec.SYMLINK, "make a link", codec.string(target), codec.string(path))

    async def rename(self, old: bytes, new: bytes) -> None:
        """Rename a file or folder to an unused name."""
        await self._done(codec.RENAME, "rename a folder", codec.string(old), codec.string(new))

    async def remove(self, path: bytes) -> None:
        """Delete a file, a link, or a folder with its contents; links are not followed.

        Raises:
            FilesError: it cannot be deleted, or has more than four times the entries of our largest copy.
        """
        await self._remove(path, await self.look(path), NameCount(4 * ENTRIES_MAX), 0)

    async def _remove(self, path: bytes, told: Attributes, listed: NameCount, depth: int) -> None:
        if depth > 2 * DEPTH_MAX:
            raise too_many()
        if not told.is_folder:
            await self._done(codec.REMOVE, "delete a file", codec.string(path))
            return
        for name, inner in await self.folder(path, listed):
            await self._remove(path + b"/" + name, inner, listed, depth + 1)
        await self._done(codec.RMDIR, "delete a folder", codec.string(path))

    async def try_to_read(self, path: bytes) -> None:
        """Open a file for reading, and close it.

        Raises:
            FileRefused: it cannot be read.
        """
        async with self._opened(codec.OPEN, "open a file", *_for_reading(path)):
            pass

    async def pieces(self, path: bytes, size: int) -> AsyncGenerator[bytes, None]:
        """Yield the first `size` bytes of a file, piece by piece. At most `_WINDOW` pieces are requested ahead.

        Raises:
            FileRefused: it cannot be read.
            FilesError: it became shorter.
        """
        async with self._opened(codec.OPEN, "open a file", *_for_reading(path)) as (handle, asked):
            at = turn = 0
            while turn < size:
                while at < size and len(asked) < _WINDOW:
                    length = min(PIECE, size - at)
                    asked.append((await self._read(handle, at, length), length))
                    at += length
                number, length = asked.popleft()
                data = _piece(await self._answer(number), length)
                turn += len(data)
                if (missing := length - len(data)) > 0:
                    asked.appendleft((await self._read(handle, turn, missing), missing))
                yield data

    async def _read(self, handle: bytes, at: int, length: int) -> int:
        return await self._request(codec.READ, codec.string(handle), codec.long(at), codec.word(length))

    async def write_file(
        self, path: bytes, size: int, give: Callable[[int], bytes], sent: Callable[[int], None], told: Attributes
    ) -> None:
        """Make a new file.

        `give` returns at most PIECE bytes from an offset on; `sent` is called with bytes that arrived. The file gets
        the permissions and the date of `told`.
        """
        new = (codec.string(path), codec.word(codec.FOR_A_NEW_FILE), codec.attributes(mode=0o600))
        async with self._opened(codec.OPEN, "make a file", *new) as (handle, asked):
            at = 0
            while at < size or asked:
                while at < size and len(asked) < _WINDOW:
                    if not (data := give(at)):
                        raise shorter()
                    wanted = (codec.string(handle), codec.long(at), codec.string(data))
                    asked.append((await self._request(codec.WRITE, *wanted), len(data)))
                    at += len(data)
                number, length = asked.popleft()
                _done(await self._answer(number), "write a file")
                sent(length)
            dated = codec.attributes(mode=told.mode, mtime=told.mtime)
            await self._done(codec.FSETSTAT, "date a file", codec.string(handle), dated)

    # --- packets

    @contextlib.asynccontextmanager
    async def _opened(self, kind: int, what: str, *fields: bytes) -> AsyncIterator[_Opened]:
        """Open a handle during the block. After a refusal it is closed too, so that the session stays usable."""
        handle = _as(SftpHandle, await self._ask(kind, *fields), what).handle
        asked: deque[tuple[int, int]] = deque()
        try:
            yield handle, asked
        except SessionLost:
            raise
        except FilesError:
            for number, _ in asked:
                await self._answer(number)
            await self._ask(codec.CLOSE, codec.string(handle))
            raise
        await self._done(codec.CLOSE, "close a file", codec.string(handle))

    async def _done(self, kind: int, what: str, *fields: bytes) -> None:
        _done(await self._ask(kind, *fields), what)

    async def _ask(self, kind: int, *fields: bytes) -> Reply:
        return await self._answer(await self._request(kind, *fields))

    async def _request(self, kind: int, *fields: bytes) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._asked.add(self._number)
        number = self._number
        await self._send(codec.request(kind, number, *fields))
        return number

    async def _send(self, packet: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_S):
                await self._child.write(packet)
        except (ConnectionError, RuntimeError):
            raise self._lost() from None
        except TimeoutError:
            raise SessionLost(f"the guest accepted no files for {STALL_S:g} s") from None

    async def _answer(self, number: int) -> Reply:
        """Wait for the answer to a request. One of the waiting coroutines reads for all."""
        while number not in self._answers:
            async with self._reading:
                if number not in self._answers:
                    await self._read_some()
        return self._answers.pop(number)

    async def _read_some(self) -> None:
        try:
            async with asyncio.timeout(STALL_S):
                data = await self._child.read()
            if not data:
                raise self._lost()
            for number, reply in self._reader.feed(data):
                if number not in self._asked:
                    raise SessionLost("the guest's SFTP server answered what it was not asked")
                self._asked.remove(number)
                self._answers[number] = reply
        except TimeoutError:
            raise SessionLost(f"the guest sent no files for {STALL_S:g} s") from None
        except ProtocolError as nonsense:
            raise SessionLost(nonsense.message) from nonsense

    def _lost(self) -> SessionLost:
        complaints = self._child.complaints
        last = next((line.strip() for line in reversed(complaints.splitlines()) if line.strip()), "")
        refused = not complaints or "subsystem request failed" in complaints
        return SessionLost(
            f"the connection for files ended{': ' + last if last else ''}",
            hint="files need the guest's SFTP server: Subsystem sftp in its sshd_config" if refused else None,
        )


@contextlib.asynccontextmanager
async def sftp_session(ssh: Sequence[str]) -> AsyncIterator[SftpSession]:
    """Open a session with `ssh` (a command line that ends with the host), over its ControlPath if that has a master.

    Raises:
        SessionLost: there is no SFTP server, or no connection.
    """
    # Never as the master: the clipboard's connection would end together with this one.
    async with running([ssh[0], "-o", "ControlMaster=no", "-s", *ssh[1:], "sftp"], grace_s=0.2) as child:
        session = SftpSession(child)
        await session.greet()
        yield session


def shorter() -> FilesError:
    """The error for a file that ends too early."""
    return FilesError("a file became shorter while it was copied", hint="copy it again")


def _for_reading(path: bytes) -> tuple[bytes, ...]:
    return codec.string(path), codec.word(codec.FOR_READING), codec.attributes()


def _piece(reply: Reply, length: int) -> bytes:
    if isinstance(reply, SftpStatus) and reply.code == codec.EOF:
        raise shorter()
    data = _as(Data, reply, "read a file").data[:length]
    if not data:
        raise SessionLost("the guest's SFTP server sent nothing for a piece of a file")
    return data


def _done(reply: Reply, what: str) -> None:
    status = _as(SftpStatus, reply, what)
    if status.code != codec.OK:
        raise FileRefused(status, what)


def _as(kind: type[_T], reply: Reply, what: str) -> _T:
    if isinstance(reply, kind):
        return reply
    if isinstance(reply, SftpStatus):
        raise FileRefused(reply, what)
    raise SessionLost(f"the guest's SFTP server sent another answer when asked to {what}")
