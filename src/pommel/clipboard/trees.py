"""Trees of files on both sides: looked through, brought here, sent there. Band: shell.

A copy is made in a folder whose name says that it is in the making, and gets its own name when it is whole. Links are
made last, so that nothing is ever written through one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from pommel.clipboard.sftp import Attributes
from pommel.clipboard.sftp_session import PIECE, SftpSession
from pommel.clipboard.tree import Entry, EntryKind, FilesError, Growing, Plan, placed, plain_name

Progress = Callable[[int], None]


# --- what there is


def look_through_host(paths: Sequence[bytes]) -> Plan:
    """Find out what copying these files of the host takes. It takes a moment for a large tree: call it in a thread.

    Raises:
        FilesError: they are gone, may not be read, or are too many.
    """
    growing = Growing(paths)
    try:
        for source, place in placed(paths):
            told = _host(source).stat()  # what a link that was copied by itself leads to is what is meant
            _grow_host(growing, source, place, told, 0)
    except OSError as gone:
        raise FilesError(f"this host could not read what was copied: {gone.strerror}") from gone
    return growing.plan()


def _grow_host(growing: Growing, source: bytes, place: bytes, told: os.stat_result, depth: int) -> None:
    mode, mtime = stat.S_IMODE(told.st_mode), int(told.st_mtime)
    if stat.S_ISREG(told.st_mode):
        growing.add(Entry(EntryKind.FILE, source, place, told.st_size, mode, mtime), depth)
    elif stat.S_ISLNK(told.st_mode):
        growing.add(Entry(EntryKind.LINK, source, place, target=os.fsencode(_host(source).readlink())), depth)
    elif stat.S_ISDIR(told.st_mode):
        growing.add(Entry(EntryKind.FOLDER, source, place, mode=mode), depth)
        for inner in sorted(_host(source).iterdir()):
            name = os.fsencode(inner.name)
            growing.listed.take(name)
            _grow_host(growing, source + b"/" + name, place + b"/" + name, inner.lstat(), depth + 1)
    else:
        growing.leave_out()


async def look_through_guest(session: SftpSession, paths: Sequence[bytes]) -> Plan:
    """Find out what copying these files of the guest takes.

    Raises:
        FilesError: they are gone, may not be read, or are too many.
    """
    growing = Growing(paths)
    for source, place in placed(paths):
        if not all(plain_name(part) for part in place.split(b"/")):
            raise FilesError("the guest sent an invalid file name")
        await _grow_guest(session, growing, source, place, await session.look(source, follow=True), 0)
    return growing.plan()


async def _grow_guest(
    session: SftpSession, growing: Growing, source: bytes, place: bytes, told: Attributes, depth: int
) -> None:
    mode = stat.S_IMODE(told.mode)
    if told.is_file:
        growing.add(Entry(EntryKind.FILE, source, place, told.size, mode, told.mtime), depth)
    elif told.is_link:
        growing.add(Entry(EntryKind.LINK, source, place, target=await session.link_target(source)), depth)
    elif told.is_folder:
        growing.add(Entry(EntryKind.FOLDER, source, place, mode=mode), depth)
        for name, inner in sorted(await session.folder(source, growing.listed), key=lambda one: one[0]):
            if not plain_name(name):
                raise FilesError("the guest sent an invalid file name")
            await _grow_guest(session, growing, source + b"/" + name, place + b"/" + name, inner, depth + 1)
    else:
        growing.leave_out()


# --- from the guest to this host


async def bring(session: SftpSession, plan: Plan, folder: Path, moved: Progress) -> None:
    """Copy what is planned into `folder`, which is new and empty.

    Raises:
        FilesError: the guest's side fails, or this host's does (its disk is full).
    """
    try:
        for apart in _apart(plan):
            (folder / os.fsdecode(apart)).mkdir(0o700)
        for entry in plan.entries:
            if entry.kind is EntryKind.FOLDER:
                (folder / os.fsdecode(entry.path)).mkdir(0o700)
            elif entry.kind is EntryKind.FILE:
                await _bring_file(session, entry, folder / os.fsdecode(entry.path), moved)
        for entry in plan.entries:
            if entry.kind is EntryKind.LINK:
                (folder / os.fsdecode(entry.path)).symlink_to(os.fsdecode(entry.target))
        for entry in reversed(plan.entries):
            if entry.kind is EntryKind.FOLDER:
                (folder / os.fsdecode(entry.path)).chmod(entry.mode & 0o777 | 0o700)
    except OSError as failure:
        raise FilesError(f"this host could not store the files: {failure.strerror}") from failure


async def _bring_file(session: SftpSession, entry: Entry, path: Path, moved: Progress) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:

        def take(at: int, data: bytes) -> None:
            os.pwrite(fd, data, at)
            moved(len(data))

        await session.read_file(entry.source, entry.size, take)
        os.fchmod(fd, entry.mode & 0o777 | 0o600)
        os.utime(fd, (entry.mtime, entry.mtime))
    finally:
        os.close(fd)


# --- from this host to the guest


async def send(session: SftpSession, plan: Plan, folder: bytes, moved: Progress) -> None:
    """Copy what is planned into `folder` of the guest, which is new and empty.

    Raises:
        FilesError: the guest's side fails (its disk is full), or this host's does.
    """
    try:
        for apart in _apart(plan):
            await session.make_folder(folder + b"/" + apart)
        for entry in plan.entries:
            if entry.kind is EntryKind.FOLDER:
                await session.make_folder(folder + b"/" + entry.path, entry.mode & 0o777 | 0o700)
            elif entry.kind is EntryKind.FILE:
                await _send_file(session, entry, folder + b"/" + entry.path, moved)
        for entry in plan.entries:
            if entry.kind is EntryKind.LINK:
                await session.make_link(folder + b"/" + entry.path, entry.target)
    except OSError as failure:
        raise FilesError(f"this host could not read what was copied: {failure.strerror}") from failure


async def _send_file(session: SftpSession, entry: Entry, path: bytes, moved: Progress) -> None:
    # Not blocking: a FIFO may have taken the file's place.
    fd = os.open(entry.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FilesError("a file was replaced while it was copied", hint="copy it again")

        def give(at: int) -> bytes:
            return os.pread(fd, min(PIECE, entry.size - at), at)

        told = Attributes(entry.size, entry.mode & 0o777 | 0o600, entry.mtime)
        await session.write_file(path, entry.size, give, moved, told)
    finally:
        os.close(fd)


def _host(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _apart(plan: Plan) -> list[bytes]:
    """The folders for those whose name was taken."""
    return [top.partition(b"/")[0] for top in plan.tops if b"/" in top]
