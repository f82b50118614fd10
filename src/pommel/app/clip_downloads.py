"""The files that a machine's clipboard names, for the page to download. Band: app.

Only what the clipboard names is read, by its place in that list: no path comes from the page. A link that was copied by
itself stands for what it leads to; a folder is looked through when it is asked for, and comes as an archive that is
made while it is sent. The names are the machine's and are shown without control characters.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pommel.clipboard.archive import Archive, padding, top_name
from pommel.clipboard.content import URIS, Content
from pommel.clipboard.sftp_session import FileRefused, sftp_session
from pommel.clipboard.tree import FilesError, Plan
from pommel.clipboard.trees import look_through_guest, look_through_host
from pommel.clipboard.uris import paths_of
from pommel.console.clipboard import ClipFile
from pommel.console.telling import Noun
from pommel.errors import StateError

FILES_MAX = 200  # that are shown; a list is for choosing from
_NAME_MAX = 200
_PIECE = 256 << 10
_ODD = "it is neither a file nor a folder"


def paths_in(content: Content) -> tuple[bytes, ...]:
    """The paths of the files that a copy names, as many as are shown."""
    return tuple(islice(paths_of(content.get(URIS) or b""), FILES_MAX))


def path_at(content: Content | None, index: int, noun: Noun) -> bytes:
    """The path of one of the files of a copy of the `noun`.

    Raises:
        StateError: it has no such file.
    """
    paths = paths_in(content) if content else ()
    if not 0 <= index < len(paths):
        raise StateError(f"the {noun}'s clipboard no longer has this file")
    return paths[index]


def host_files(paths: Sequence[bytes]) -> tuple[ClipFile, ...]:
    """What files of this host are. A file system may keep us waiting: call it in a thread."""
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
        StateError, FilesError: it cannot be read, or is neither.
    """
    async with _opened(path) as fd:
        told = os.fstat(fd)
        file = _readable(_file(path, told.st_mode, told.st_size))
        if file.folder:
            plan = await asyncio.to_thread(look_through_host, [path])
            file, archive = await _archived(file, plan)
            reading = _in_an_archive(archive, _host_pieces)
        else:
            reading = _pieces(fd, file.size)
        async with contextlib.aclosing(reading) as pieces:
            yield file, pieces


@contextlib.asynccontextmanager
async def _opened(path: bytes, more: int = 0) -> AsyncIterator[int]:
    try:
        # Not blocking: it may be a FIFO by now.
        fd = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | more)
    except OSError as failure:
        raise StateError(f"{_name(path)} cannot be read: {failure.strerror}") from failure
    try:
        yield fd
    finally:
        os.close(fd)


async def _host_pieces(path: bytes, size: int) -> AsyncGenerator[bytes, None]:
    # What has become a link since it was looked at may lead anywhere.
    async with _opened(path, os.O_NOFOLLOW) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StateError("a file was replaced while it was sent")
        async for piece in _pieces(fd, size):
            yield piece


async def _archived(file: ClipFile, plan: Plan) -> tuple[ClipFile, Archive]:
    archive = Archive(plan, top_name(file.name), int(time.time()))
    # With a large folder the page would stand still meanwhile.
    length = await asyncio.to_thread(lambda: archive.length)
    return replace(file, name=f"{file.name}.tar", size=length), archive


async def _in_an_archive(
    archive: Archive, read: Callable[[bytes, int], AsyncGenerator[bytes, None]]
) -> AsyncGenerator[bytes, None]:
    ready = bytearray()  # small files are many
    for head, entry in archive.parts():
        ready += head
        if entry is not None and entry.size:
            async with contextlib.aclosing(read(entry.source, entry.size)) as pieces:
                async for piece in pieces:
                    ready += piece
                    if len(ready) >= _PIECE:
                        yield bytes(ready)
                        ready.clear()
            ready += padding(entry.size)
        if len(ready) >= _PIECE:
            yield bytes(ready)
            ready.clear()
    yield bytes(ready)


async def _pieces(fd: int, size: int) -> AsyncGenerator[bytes, None]:
    at = 0
    while at < size:
        data = await asyncio.to_thread(os.pread, fd, min(_PIECE, size - at), at)
        if not data:
            raise StateError("the file became shorter while it was sent")
        at += len(data)
        yield data


async def guest_files(ssh: Sequence[str], paths: Sequence[bytes]) -> tuple[ClipFile, ...]:
    """What files of a guest are.

    Raises:
        FilesError: there is no connection for files.
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
    """Read a file of the guest that `argv` reaches, or a folder as an archive.

    Raises:
        StateError, FilesError: it cannot be read, or is neither.
    """
    async with sftp_session(argv()) as session:
        told = await session.look(path, follow=True)
        file = _readable(_file(path, told.mode, told.size))
        if file.folder:
            file, archive = await _archived(file, await look_through_guest(session, [path]))
            reading = _in_an_archive(archive, session.pieces)
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
    name = path.rstrip(b"/").rpartition(b"/")[2].decode(errors="replace") or "/"
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return plain if len(plain) <= _NAME_MAX else plain[: _NAME_MAX - 1] + "…"
