"""Downloads of the files on a machine's clipboard, for the console's page. Band: app.

The page asks for a file by its position in the clipboard's list: no path comes from the page, so nothing else can be
read. A copied link is followed. A folder is listed when it is asked for, and sent as an archive that is made meanwhile.
The machine chooses the names, so control characters are removed from them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pommel.clipboard.content import URIS, Content
from pommel.clipboard.uris import paths_of
from pommel.console.clipboard import ClipFile
from pommel.console.telling import Noun
from pommel.errors import StateError
from pommel.sftp.packing import PIECE, archive_of, packed
from pommel.sftp.session import FileRefused, sftp_session
from pommel.sftp.tree import FilesError, shown
from pommel.sftp.trees import look_through_guest, look_through_host, readable

FILES_MAX = 200  # a longer list is of no use to a person who chooses a file
_NAME_MAX = 200
_ODD = "it is neither a file nor a folder"


def paths_in(content: Content) -> tuple[bytes, ...]:
    """The paths of the files of a copy, at most FILES_MAX."""
    return tuple(islice(paths_of(content.get(URIS) or b""), FILES_MAX))


def path_at(content: Content | None, index: int, noun: Noun) -> bytes:
    """The path of file `index` of a copy. `noun` (machine or session) is for the error.

    Raises:
        StateError: the copy has no such file.
    """
    paths = paths_in(content) if content else ()
    if not 0 <= index < len(paths):
        raise StateError(f"the {noun}'s clipboard no longer has this file")
    return paths[index]


def host_files(paths: Sequence[bytes]) -> tuple[ClipFile, ...]:
    """Name, size and kind of files of this host. Call it in a thread: a network file system may block."""
    return tuple(map(_host_file, paths))


def _host_file(path: bytes) -> ClipFile:
    try:
        told = Path(os.fsdecode(path)).stat()
    except OSError as failure:
        return ClipFile(_name(path), why=failure.strerror or "it cannot be read")
    return _file(path, told.st_mode, told.st_size)


@contextlib.asynccontextmanager
async def open_host_file(path: bytes) -> AsyncIterator[tuple[ClipFile, AsyncIterator[bytes]]]:
    """Read a file of this host, or a folder as an archive.

    Raises:
        StateError, FilesError: it cannot be read, or is neither a file nor a folder.
    """
    async with _opened(path) as fd:
        told = os.fstat(fd)
        file = _readable(_file(path, told.st_mode, told.st_size))
        if file.folder:
            plan = await asyncio.to_thread(look_through_host, [path])
            archive, length = await archive_of(plan, file.name)
            file = replace(file, name=f"{file.name}.tar", size=length)
            reading = packed(archive, _host_pieces)
        else:
            reading = _pieces(fd, file.size)
        async with contextlib.aclosing(reading) as pieces:
            yield file, pieces


@contextlib.asynccontextmanager
async def _opened(path: bytes, more: int = 0) -> AsyncIterator[int]:
    try:
        # O_NONBLOCK: the file may have been replaced by a FIFO, whose open would block without a writer.
        fd = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | more)
    except OSError as failure:
        raise StateError(f"{_name(path)} cannot be read: {failure.strerror}") from failure
    try:
        yield fd
    finally:
        os.close(fd)


async def _host_pieces(path: bytes, size: int) -> AsyncGenerator[bytes, None]:
    # O_NOFOLLOW: if the file was replaced by a link after the folder was listed, the link may point anywhere.
    async with _opened(path, os.O_NOFOLLOW) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StateError("a file was replaced while it was sent")
        async for piece in _pieces(fd, size):
            yield piece


async def _pieces(fd: int, size: int) -> AsyncGenerator[bytes, None]:
    at = 0
    while at < size:
        data = await asyncio.to_thread(os.pread, fd, min(PIECE, size - at), at)
        if not data:
            raise StateError("the file became shorter while it was sent")
        at += len(data)
        yield data


async def guest_files(ssh: Sequence[str], paths: Sequence[bytes]) -> tuple[ClipFile, ...]:
    """Name, size and kind of files of a guest.

    Raises:
        FilesError: the guest's SFTP server cannot be reached.
    """
    files: list[ClipFile] = []
    async with sftp_session(ssh) as session:
        for path in paths:
            try:
                told = await session.look(path, follow=True)
            except FileRefused as refusal:
                files.append(ClipFile(_name(path), why=refusal.message))
            else:
                files.append(_file(path, told.mode, told.size))
    return tuple(files)


@contextlib.asynccontextmanager
async def open_guest_file(
    argv: Callable[[], Sequence[str]], path: bytes
) -> AsyncIterator[tuple[ClipFile, AsyncIterator[bytes]]]:
    """Read a file, or a folder as an archive, of the guest whose ssh command is `argv`.

    Raises:
        StateError, FilesError: it cannot be read, or is neither a file nor a folder.
    """
    async with sftp_session(argv()) as session:
        told = await session.look(path, follow=True)
        file = _readable(_file(path, told.mode, told.size))
        if file.folder:
            # Unreadable files are left out. They must be known first, because the archive's length is announced.
            plan = await readable(session, await look_through_guest(session, [path]))
            archive, length = await archive_of(plan, file.name)
            file = replace(file, name=f"{file.name}.tar", size=length)
            reading = packed(archive, session.pieces)
        else:
            reading = session.pieces(path, file.size)
        async with contextlib.aclosing(reading) as pieces:
            yield file, pieces


def _file(path: bytes, mode: int, size: int) -> ClipFile:
    if stat.S_ISREG(mode):
        return ClipFile(_name(path), size)
    return ClipFile(_name(path), folder=True) if stat.S_ISDIR(mode) else ClipFile(_name(path), why=_ODD)


def _readable(file: ClipFile) -> ClipFile:
    if file.why:
        raise FilesError(f"{file.name} cannot be downloaded: {file.why}")
    return file


def _name(path: bytes) -> str:
    return shown(path, _NAME_MAX)
