"""What is done with files over an SFTP session: look, list, make, rename, remove, read, write. Band: shell.

Files are read and written in many pieces at once, at most `_WINDOW`, so that a file of any size needs little memory.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence

from pommel.child import running
from pommel.errors import ProtocolError
from pommel.sftp import codec
from pommel.sftp.channel import FileRefused, SessionLost, SftpChannel
from pommel.sftp.codec import Attributes, Data, Extended, Names, Reply, SftpStatus, Space
from pommel.sftp.tree import DEPTH_MAX, ENTRIES_MAX, FilesError, NameCount, too_many
from pommel.tasks import together

__all__ = ["PIECE", "FileRefused", "Listed", "SessionLost", "SftpSession", "served_by", "sftp_session"]

PIECE = 64 << 10
_WINDOW = 32
_REMOVED_AT_ONCE = 16

Listed = list[tuple[bytes, Attributes]]


class SftpSession(SftpChannel):
    """The files of one server. Paths are bytes; a relative one begins at the user's home folder."""

    async def look(self, path: bytes, *, follow: bool = False) -> Attributes:
        """The attributes of `path`; of a link itself, unless `follow`."""
        reply = await self.ask(codec.STAT if follow else codec.LSTAT, codec.string(path))
        return self.expect(Attributes, reply, "look at a file")

    async def real_path(self, path: bytes) -> bytes:
        """The absolute path, without links."""
        return self._one_name(await self.ask(codec.REALPATH, codec.string(path)), "find a path")

    async def link_target(self, path: bytes) -> bytes:
        """The target of a symbolic link."""
        return self._one_name(await self.ask(codec.READLINK, codec.string(path)), "read a link")

    def _one_name(self, reply: Reply, what: str) -> bytes:
        names = self.expect(Names, reply, what).names
        if not names:
            raise SessionLost("the guest's SFTP server sent no name")
        return names[0][0]

    async def space(self, path: bytes) -> Space | None:
        """The space of the file system of `path`; None: the server cannot tell.

        Raises:
            FileRefused: there is no such path.
        """
        if codec.STATVFS not in self.extensions:
            return None
        reply = await self.ask(codec.EXTENDED, codec.string(codec.STATVFS), codec.string(path))
        try:
            return codec.space_of(self.expect(Extended, reply, "tell its free space"))
        except ProtocolError as nonsense:
            raise SessionLost(nonsense.message) from nonsense

    async def folder(self, path: bytes, listed: NameCount | None = None) -> Listed:
        """The entries of a folder, without `.` and `..`; `listed` counts them together with the rest of the tree.

        Raises:
            FilesError: it cannot be read, or has too many entries.
        """
        counted, found = listed or NameCount(), []
        async with contextlib.aclosing(self.folder_parts(path)) as parts:
            async for part in parts:
                for name, _ in part:
                    counted.take(name)
                found += part
        return found

    async def folder_parts(self, path: bytes) -> AsyncGenerator[Listed, None]:
        """Yield the entries of a folder, without `.` and `..`, as many at a time as the server sends.

        Raises:
            FilesError: it cannot be read.
        """
        async with self.opened(codec.OPENDIR, "open a folder", codec.string(path)) as (handle, _):
            skipped = 0
            while not isinstance(reply := await self.ask(codec.READDIR, codec.string(handle)), SftpStatus):
                names = self.expect(Names, reply, "read a folder").names
                if not names:
                    raise SessionLost("the guest's SFTP server sent no name")
                kept = [one for one in names if one[0] not in (b".", b"..")]
                skipped += len(names) - len(kept)
                yield kept
                if skipped > 2:
                    raise SessionLost("the guest's SFTP server named a folder's own name twice")
            if reply.code != codec.EOF:
                raise self.refused(reply, "read a folder")

    async def make_folder(self, path: bytes, mode: int | None = 0o700) -> None:
        """Make a new folder; None: with the user's own umask."""
        await self.done(codec.MKDIR, "make a folder", codec.string(path), codec.attributes(mode=mode))

    async def set_mode(self, path: bytes, mode: int) -> None:
        """Set permissions."""
        await self.done(codec.SETSTAT, "close a folder to others", codec.string(path), codec.attributes(mode=mode))

    async def set_facts(self, path: bytes, *, mode: int | None, mtime: int | None) -> None:
        """Set permissions and the time of the last change, each if it is given."""
        told = codec.attributes(mode=mode, mtime=mtime)
        await self.done(codec.SETSTAT, "date a file", codec.string(path), told)

    async def make_link(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link."""
        await self.done(codec.SYMLINK, "make a link", codec.string(target), codec.string(path))

    async def rename(self, old: bytes, new: bytes) -> None:
        """Rename a file or folder to an unused name."""
        await self.done(codec.RENAME, "rename a folder", codec.string(old), codec.string(new))

    async def replace(self, old: bytes, new: bytes) -> None:
        """Rename a file; a file with the new name is replaced. Without OpenSSH's extension, it is removed before."""
        if codec.POSIX_RENAME in self.extensions:
            names = codec.string(codec.POSIX_RENAME), codec.string(old), codec.string(new)
            await self.done(codec.EXTENDED, "rename a file", *names)
            return
        with contextlib.suppress(FileRefused):
            await self.done(codec.REMOVE, "delete a file", codec.string(new))
        await self.rename(old, new)

    async def remove_file(self, path: bytes) -> None:
        """Delete a file or a link."""
        await self.done(codec.REMOVE, "delete a file", codec.string(path))

    async def remove_folder(self, path: bytes) -> None:
        """Delete an empty folder."""
        await self.done(codec.RMDIR, "delete a folder", codec.string(path))

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
            await self.remove_file(path)
            return
        inside = await self.folder(path, listed)
        await self._remove_files([path + b"/" + name for name, inner in inside if not inner.is_folder])
        for name, inner in inside:
            if inner.is_folder:
                await self._remove(path + b"/" + name, inner, listed, depth + 1)
        await self.remove_folder(path)

    async def _remove_files(self, paths: Sequence[bytes]) -> None:
        left = iter(paths)

        async def some() -> None:
            for path in left:
                await self.remove_file(path)

        async with together() as tasks:
            for _ in range(min(_REMOVED_AT_ONCE, len(paths))):
                tasks.create_task(some())

    async def try_to_read(self, path: bytes) -> None:
        """Open a file for reading, and close it.

        Raises:
            FileRefused: it cannot be read.
        """
        async with self.opened(codec.OPEN, "open a file", *_for_reading(path)):
            pass

    async def pieces(self, path: bytes, size: int, start: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a file from `start` to `size`, piece by piece. At most `_WINDOW` are requested ahead.

        Raises:
            FileRefused: it cannot be read.
            FilesError: it became shorter.
        """
        async with self.opened(codec.OPEN, "open a file", *_for_reading(path)) as (handle, asked):
            at = turn = start
            while turn < size:
                while at < size and len(asked) < _WINDOW:
                    length = min(PIECE, size - at)
                    asked.append((await self._read(handle, at, length), length))
                    at += length
                number, length = asked.popleft()
                data = self._piece(await self.answer(number), length)
                turn += len(data)
                if (missing := length - len(data)) > 0:
                    asked.appendleft((await self._read(handle, turn, missing), missing))
                yield data

    async def _read(self, handle: bytes, at: int, length: int) -> int:
        return await self.request(codec.READ, codec.string(handle), codec.long(at), codec.word(length))

    def _piece(self, reply: Reply, length: int) -> bytes:
        if isinstance(reply, SftpStatus) and reply.code == codec.EOF:
            raise shorter()
        data = self.expect(Data, reply, "read a file").data[:length]
        if not data:
            raise SessionLost("the guest's SFTP server sent nothing for a piece of a file")
        return data

    async def write_file(
        self, path: bytes, size: int, give: Callable[[int], bytes], sent: Callable[[int], None], told: Attributes
    ) -> None:
        """Make a new file.

        `give` returns at most PIECE bytes from an offset on; `sent` is called with bytes that arrived. The file gets
        the permissions and the date of `told`.
        """
        new = (codec.string(path), codec.word(codec.FOR_A_NEW_FILE), codec.attributes(mode=0o600))
        async with self.opened(codec.OPEN, "make a file", *new) as (handle, asked):
            at = 0
            while at < size or asked:
                while at < size and len(asked) < _WINDOW:
                    if not (data := give(at)):
                        raise shorter()
                    asked.append((await self._write(handle, at, data), len(data)))
                    at += len(data)
                sent(await self._written(asked))
            dated = codec.attributes(mode=told.mode, mtime=told.mtime)
            await self.done(codec.FSETSTAT, "date a file", codec.string(handle), dated)

    async def write_on(self, path: bytes, start: int, data: AsyncIterable[bytes], *, new: bool) -> int:
        """Write `data` into a file from the offset `start` on; with `new`, the file must not exist. Return its end.

        What is there counts as written only at the end, when the server's system has it on its disk, if it can tell.

        Raises:
            FilesError: it cannot be written. The file ends with what was written before, as far as the server allows.
        """
        flags = codec.FOR_A_NEW_FILE if new else codec.FOR_WRITING
        how = (codec.string(path), codec.word(flags), codec.attributes())
        async with self.opened(codec.OPEN, "make a file" if new else "open a file", *how) as (handle, asked):
            at = whole = start
            try:
                async for chunk in data:
                    for piece in _cut(chunk):
                        while len(asked) >= _WINDOW:
                            whole += await self._written(asked)
                        asked.append((await self._write(handle, at, piece), len(piece)))
                        at += len(piece)
                while asked:
                    whole += await self._written(asked)
            except FileRefused:
                # After the one that failed, later pieces may have been written: there would be a hole before them.
                with contextlib.suppress(FilesError):
                    cut = codec.attributes(size=whole)
                    await self.done(codec.FSETSTAT, "cut a file", codec.string(handle), cut)
                raise
            await self._sync(handle)
        return at

    async def _sync(self, handle: bytes) -> None:
        if codec.FSYNC not in self.extensions:
            return
        number = await self.request(codec.EXTENDED, codec.string(codec.FSYNC), codec.string(handle))
        self.check(await self.answer(number), "write a file")

    async def _write(self, handle: bytes, at: int, data: bytes) -> int:
        return await self.request(codec.WRITE, codec.string(handle), codec.long(at), codec.string(data))

    async def _written(self, asked: deque[tuple[int, int]]) -> int:
        """Wait for the oldest write; return its length."""
        number, length = asked.popleft()
        self.check(await self.answer(number), "write a file")
        return length


@contextlib.asynccontextmanager
async def sftp_session(ssh: Sequence[str], whose: str = "the guest") -> AsyncIterator[SftpSession]:
    """Open a session with `ssh` (a command line that ends with the host), over its ControlPath if that has a master.

    Raises:
        SessionLost: there is no SFTP server, or no connection.
    """
    # Never as the master: the clipboard's connection would end together with this one.
    async with served_by([ssh[0], "-o", "ControlMaster=no", "-s", *ssh[1:], "sftp"], whose) as session:
        yield session


@contextlib.asynccontextmanager
async def served_by(argv: Sequence[str], whose: str = "the guest") -> AsyncIterator[SftpSession]:
    """Open a session with a program that is an SFTP server on its pipes, or reaches one.

    Raises:
        SessionLost: it is none.
        MissingProgram: it is not there.
    """
    async with running(argv, grace_s=0.2) as child:
        session = SftpSession(child, whose)
        await session.greet()
        yield session


def shorter() -> FilesError:
    """The error for a file that ends too early."""
    return FilesError("a file became shorter while it was copied", hint="copy it again")


def _cut(data: bytes) -> list[bytes]:
    return [data[at : at + PIECE] for at in range(0, len(data), PIECE)]


def _for_reading(path: bytes) -> tuple[bytes, ...]:
    return codec.string(path), codec.word(codec.FOR_READING), codec.attributes()
