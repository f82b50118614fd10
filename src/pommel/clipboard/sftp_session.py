"""An SFTP session over the same ssh as the clipboard: asking, and files in many pieces at once. Band: shell.

One coroutine at a time uses a session. After an error it is not used again: answers may be under way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import TypeVar

from pommel.clipboard import sftp
from pommel.clipboard.child import Child, running
from pommel.clipboard.content import printable
from pommel.clipboard.sftp import Attributes, Data, Handle, Names, Reply, SftpStatus
from pommel.clipboard.tree import DEPTH_MAX, ENTRIES_MAX, FilesError, Listed, too_many
from pommel.errors import ProtocolError

_T = TypeVar("_T", Attributes, Handle, Names, Data, SftpStatus)

STALL_S = 20.0
PIECE = 64 << 10
_WINDOW = 32
_TEXT_SHOWN = 200

_MAC_HINT = "on a Mac, System Settings > General > Sharing > Remote Login (i): allow full disk access for remote users"


class SessionLost(FilesError):
    """The session has ended; a new one may fare better."""


class FileRefused(FilesError):
    """The guest's SFTP server says no."""

    def __init__(self, status: SftpStatus, what: str) -> None:
        reasons = {
            sftp.NO_SUCH_FILE: "it no longer exists",
            sftp.PERMISSION_DENIED: "permission denied",
            sftp.FAILURE: "its disk may be full, or may not allow this name",
        }
        hint = _MAC_HINT if status.code == sftp.PERMISSION_DENIED else None
        why = reasons.get(status.code) or " ".join(printable(status.text).split())[:_TEXT_SHOWN]
        super().__init__(f"the guest could not {what}: {why}", hint=hint)
        self.code = status.code


class SftpSession:
    """Requests and their answers."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._reader = sftp.Reader()
        self._ready: deque[tuple[int, Reply]] = deque()
        self._number = 0

    async def greet(self) -> None:
        """Agree on the version.

        Raises:
            SessionLost: there is no SFTP server, or no connection.
        """
        await self._send(sftp.init())
        await self._next()

    async def real_path(self, path: bytes) -> bytes:
        """The path without links, absolute."""
        return (await self._names(sftp.REALPATH, path, "find a folder"))[0][0]

    async def look(self, path: bytes, *, follow: bool = False) -> Attributes:
        """What `path` is; a link itself, unless `follow`."""
        reply = await self._ask(sftp.STAT if follow else sftp.LSTAT, sftp.string(path))
        return _as(Attributes, reply, "look at a file")

    async def link_target(self, path: bytes) -> bytes:
        """Where a symbolic link leads."""
        return (await self._names(sftp.READLINK, path, "read a link"))[0][0]

    async def folder(self, path: bytes, listed: Listed | None = None) -> list[tuple[bytes, Attributes]]:
        """What is in a folder, but for itself and the one above; `listed` counts it, with others of the same tree.

        Raises:
            FilesError: it cannot be read, or is without end.
        """
        listed = listed or Listed()
        handle = _as(Handle, await self._ask(sftp.OPENDIR, sftp.string(path)), "open a folder").handle
        found: list[tuple[bytes, Attributes]] = []
        skipped = 0
        while not isinstance(reply := await self._ask(sftp.READDIR, sftp.string(handle)), SftpStatus):
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
        if reply.code != sftp.EOF:
            raise FileRefused(reply, "read a folder")
        await self._done(sftp.CLOSE, "close a folder", sftp.string(handle))
        return found

    async def make_folder(self, path: bytes, mode: int = 0o700) -> None:
        """Make a folder that is not there yet."""
        await self._done(sftp.MKDIR, "make a folder", sftp.string(path), sftp.attributes(mode=mode))

    async def set_mode(self, path: bytes, mode: int) -> None:
        """Set permissions."""
        await self._done(sftp.SETSTAT, "close a folder to others", sftp.string(path), sftp.attributes(mode=mode))

    async def make_link(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link."""
        await self._done(sftp.SYMLINK, "make a link", sftp.string(target), sftp.string(path))

    async def rename(self, old: bytes, new: bytes) -> None:
        """Give a file or folder a name that is free."""
        await self._done(sftp.RENAME, "rename a folder", sftp.string(old), sftp.string(new))

    async def remove(self, path: bytes) -> None:
        """Delete whatever is there, with all that is in it; links are not followed.

        Raises:
            FilesError: it cannot be deleted, or is without end: no copy of ours has a quarter of that.
        """
        await self._remove(path, Listed(4 * ENTRIES_MAX), 0)

    async def _remove(self, path: bytes, listed: Listed, depth: int) -> None:
        if depth > 2 * DEPTH_MAX:
            raise too_many()
        if not (await self.look(path)).is_folder:
            await self._done(sftp.REMOVE, "delete a file", sftp.string(path))
            return
        for name, _ in await self.folder(path, listed):
            await self._remove(path + b"/" + name, listed, depth + 1)
        await self._done(sftp.RMDIR, "delete a folder", sftp.string(path))

    async def read_file(self, path: bytes, size: int, take: Callable[[int, bytes], None]) -> None:
        """Hand the first `size` bytes of a file to `take`, piece by piece with their offsets (see `pieces`)."""
        at = 0
        async for data in self.pieces(path, size):
            take(at, data)
            at += len(data)

    async def pieces(self, path: bytes, size: int) -> AsyncGenerator[bytes, None]:
        """Yield the first `size` bytes of a file, piece by piece. Who takes them slowly is not run ahead of by far.

        Raises:
            FilesError: it cannot be read, or is shorter by now.
        """
        opening = (sftp.string(path), sftp.word(sftp.FOR_READING), sftp.attributes())
        handle = _as(Handle, await self._ask(sftp.OPEN, *opening), "open a file").handle
        wanted = deque((at, min(PIECE, size - at)) for at in range(0, size, PIECE))
        under_way: dict[int, tuple[int, int]] = {}
        early: dict[int, bytes] = {}  # what came before its turn
        turn = 0
        while turn < size:
            while wanted and len(under_way) + len(early) < _WINDOW:
                at, length = wanted.popleft()
                number = await self._request(sftp.READ, sftp.string(handle), sftp.long(at), sftp.word(length))
                under_way[number] = at, length
            number, reply = await self._next()
            if number not in under_way:
                raise SessionLost("the guest's SFTP server answered what it was not asked")
            at, length = under_way.pop(number)
            if isinstance(reply, SftpStatus) and reply.code == sftp.EOF:
                raise FilesError("a file became shorter while it was copied", hint="copy it again")
            data = _as(Data, reply, "read a file").data[:length]
            if not data:
                raise SessionLost("the guest's SFTP server sent nothing for a piece of a file")
            early[at] = data
            if len(data) < length:
                wanted.appendleft((at + len(data), length - len(data)))
            while (piece := early.pop(turn, None)) is not None:
                turn += len(piece)
                yield piece
        await self._done(sftp.CLOSE, "close a file", sftp.string(handle))

    async def write_file(
        self, path: bytes, size: int, give: Callable[[int], bytes], sent: Callable[[int], None], told: Attributes
    ) -> None:
        """Make a new file of what `give` has from an offset on, PIECE bytes at most; tell `sent` of what has arrived.

        Its permissions and its date are those of `told`.
        """
        opening = (sftp.string(path), sftp.word(sftp.FOR_A_NEW_FILE), sftp.attributes(mode=0o600))
        handle = _as(Handle, await self._ask(sftp.OPEN, *opening), "make a file").handle
        under_way: dict[int, int] = {}
        try:
            await self._write(handle, size, give, sent, under_way)
        except FilesError:
            for _ in range(len(under_way)):  # so that what was begun can be removed
                await self._next()
            raise
        await self._done(
            sftp.FSETSTAT, "date a file", sftp.string(handle), sftp.attributes(mode=told.mode, mtime=told.mtime)
        )
        await self._done(sftp.CLOSE, "close a file", sftp.string(handle))

    async def _write(
        self,
        handle: bytes,
        size: int,
        give: Callable[[int], bytes],
        sent: Callable[[int], None],
        under_way: dict[int, int],
    ) -> None:
        at = 0
        while at < size or under_way:
            while at < size and len(under_way) < _WINDOW:
                data = give(at)
                if not data:
                    raise FilesError("a file became shorter while it was copied", hint="copy it again")
                number = await self._request(sftp.WRITE, sftp.string(handle), sftp.long(at), sftp.string(data))
                under_way[number] = len(data)
                at += len(data)
            number, reply = await self._next()
            length = under_way.pop(number, 0)
            _done(reply, "write a file")
            sent(length)

    # --- packets

    async def _names(self, kind: int, path: bytes, what: str) -> tuple[tuple[bytes, Attributes], ...]:
        names = _as(Names, await self._ask(kind, sftp.string(path)), what).names
        if not names:
            raise SessionLost("the guest's SFTP server sent no name")
        return names

    async def _done(self, kind: int, what: str, *fields: bytes) -> None:
        _done(await self._ask(kind, *fields), what)

    async def _ask(self, kind: int, *fields: bytes) -> Reply:
        number = await self._request(kind, *fields)
        answered, reply = await self._next()
        if answered != number:
            raise SessionLost("the guest's SFTP server answered what it was not asked")
        return reply

    async def _request(self, kind: int, *fields: bytes) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        await self._send(sftp.request(kind, self._number, *fields))
        return self._number

    async def _send(self, packet: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_S):
                await self._child.write(packet)
        except (ConnectionError, RuntimeError):
            raise self._lost() from None
        except TimeoutError:
            raise SessionLost(f"the guest accepted no files for {STALL_S:g} s") from None

    async def _next(self) -> tuple[int, Reply]:
        try:
            async with asyncio.timeout(STALL_S):
                while not self._ready:
                    data = await self._child.read()
                    if not data:
                        raise self._lost()
                    self._ready.extend(self._reader.feed(data))
        except TimeoutError:
            raise SessionLost(f"the guest sent no files for {STALL_S:g} s") from None
        except ProtocolError as nonsense:
            raise SessionLost(nonsense.message) from nonsense
        return self._ready.popleft()

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
    """Open a session with `ssh` (a command line up to and with the host), over its ControlPath if that has a master.

    Raises:
        SessionLost: there is no SFTP server, or no connection.
    """
    # Never the master itself: the clipboard's connection must not end with ours.
    async with running([ssh[0], "-o", "ControlMaster=no", "-s", *ssh[1:], "sftp"], grace_s=0.2) as child:
        session = SftpSession(child)
        await session.greet()
        yield session


def _done(reply: Reply, what: str) -> None:
    status = _as(SftpStatus, reply, what)
    if status.code != sftp.OK:
        raise FileRefused(status, what)


def _as(kind: type[_T], reply: Reply, what: str) -> _T:
    if isinstance(reply, kind):
        return reply
    if isinstance(reply, SftpStatus):
        raise FileRefused(reply, what)
    raise SessionLost(f"the guest's SFTP server sent another answer when asked to {what}")
