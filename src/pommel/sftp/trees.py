"""Trees of files: listed on both sides, copied here, copied to the guest. Band: shell.

A copy is made in a folder with a name for incomplete copies, and is renamed when it is complete. Links are made last,
so that no file is written through a link. Unreadable files are skipped and reported; if all are unreadable, it is an
error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pommel.sftp.codec import Attributes
from pommel.sftp.session import PIECE, FileRefused, SftpSession
from pommel.sftp.tree import CopyPlan, EntryKind, FilesError, Growing, TreeEntry, placed, plain_name
from pommel.tasks import together

Progress = Callable[[int], None]
# So many files at once, because a small file mostly waits for the guest's answers.
_AT_ONCE = 8


# --- what there is


def look_through_host(paths: Sequence[bytes]) -> CopyPlan:
    """Plan a copy of these files of the host. For a large tree it blocks for a moment: call it in a thread.

    Raises:
        FilesError: all of them are gone or may not be read, or they are too many.
    """
    growing = Growing(paths)
    for source, place in placed(paths):
        _grow_host(growing, source, place, 0)
    return growing.plan()


def _grow_host(growing: Growing, source: bytes, place: bytes, depth: int) -> None:
    try:
        entry, inside = _seen_here(source, place, follow=depth == 0)
    except OSError as refusal:
        growing.refused(source, _unread_here(refusal))
        return
    if entry is None:
        growing.leave_out()
        return
    growing.add(entry, depth)
    for name in inside:
        growing.listed.take(name)
        _grow_host(growing, source + b"/" + name, place + b"/" + name, depth + 1)


def _seen_here(source: bytes, place: bytes, *, follow: bool) -> tuple[TreeEntry | None, list[bytes]]:
    """The entry for a path of the host, and the names in it if it is a folder. With `follow`, links are followed."""
    path = _host(source)
    told = path.stat() if follow else path.lstat()
    mode, mtime = stat.S_IMODE(told.st_mode), int(told.st_mtime)
    if stat.S_ISREG(told.st_mode):
        if not os.access(source, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return TreeEntry(EntryKind.FILE, source, place, told.st_size, mode, mtime), []
    if stat.S_ISLNK(told.st_mode):
        return TreeEntry(EntryKind.LINK, source, place, target=os.fsencode(path.readlink())), []
    if stat.S_ISDIR(told.st_mode):
        return TreeEntry(EntryKind.FOLDER, source, place, mode=mode), sorted(
            os.fsencode(one.name) for one in path.iterdir()
        )
    return None, []


async def look_through_guest(session: SftpSession, paths: Sequence[bytes]) -> CopyPlan:
    """Plan a copy of these files of the guest.

    Raises:
        FilesError: all of them are gone or may not be read, or they are too many.
    """
    growing = Growing(paths)
    for source, place in placed(paths):
        if not all(plain_name(part) for part in place.split(b"/")):
            raise FilesError("the guest sent an invalid file name")
        await _grow_guest(session, growing, source, place, None, 0)
    return growing.plan()


async def _grow_guest(
    session: SftpSession, growing: Growing, source: bytes, place: bytes, told: Attributes | None, depth: int
) -> None:
    try:
        told = told or await session.look(source, follow=True)
        if depth == 0 and told.is_file:  # the clipboard's list must not contain a file that cannot be copied
            await session.try_to_read(source)
        target = await session.link_target(source) if told.is_link else b""
        inside = sorted(await session.folder(source, growing.listed), key=_name) if told.is_folder else []
    except FileRefused as refusal:
        growing.refused(source, refusal)
        return
    mode = stat.S_IMODE(told.mode)
    if told.is_file:
        growing.add(TreeEntry(EntryKind.FILE, source, place, told.size, mode, told.mtime), depth)
    elif told.is_link:
        growing.add(TreeEntry(EntryKind.LINK, source, place, target=target), depth)
    elif told.is_folder:
        growing.add(TreeEntry(EntryKind.FOLDER, source, place, mode=mode), depth)
    else:
        growing.leave_out()
    for name, inner in inside:
        if not plain_name(name):
            raise FilesError("the guest sent an invalid file name")
        await _grow_guest(session, growing, source + b"/" + name, place + b"/" + name, inner, depth + 1)


def _name(listed: tuple[bytes, Attributes]) -> bytes:
    return listed[0]


async def readable(session: SftpSession, plan: CopyPlan) -> CopyPlan:
    """The plan without the guest's files that cannot be opened.

    Raises:
        FilesError: none can be.
    """
    return plan.without(await _each_file(plan, lambda entry: _refused(session, entry)))


async def _refused(session: SftpSession, entry: TreeEntry) -> FilesError | None:
    try:
        await session.try_to_read(entry.source)
    except FileRefused as refusal:
        return refusal
    return None


async def _each_file(plan: CopyPlan, copy: Callable[[TreeEntry], Awaitable[FilesError | None]]) -> tuple[bytes, ...]:
    """Call `copy` for each file, several at once; return the sources that could not be read.

    Raises:
        FilesError: none could be read.
    """
    files = iter([entry for entry in plan.entries if entry.kind is EntryKind.FILE])
    refused: dict[bytes, FilesError] = {}

    async def some() -> None:
        for entry in files:
            if (refusal := await copy(entry)) is not None:
                refused[entry.source] = refusal

    async with together() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(some())
    if refused and len(refused) == plan.files:
        raise next(iter(refused.values()))
    return tuple(refused)


# --- from the guest to this host


async def bring(session: SftpSession, plan: CopyPlan, folder: Path, moved: Progress) -> tuple[bytes, ...]:
    """Copy the planned files into `folder`, which is new and empty; return the sources that could not be read.

    Raises:
        FilesError: the guest failed, or this host did (a full disk).
    """
    try:
        for apart in _apart(plan):
            (folder / os.fsdecode(apart)).mkdir(0o700)
        for entry in _of(plan, EntryKind.FOLDER):
            (folder / os.fsdecode(entry.path)).mkdir(0o700)
        unread = await _each_file(plan, lambda entry: _bring_file(session, entry, folder, moved))
        for entry in _of(plan, EntryKind.LINK):
            (folder / os.fsdecode(entry.path)).symlink_to(os.fsdecode(entry.target))
        for entry in reversed(_of(plan, EntryKind.FOLDER)):
            (folder / os.fsdecode(entry.path)).chmod(entry.mode & 0o777 | 0o700)
    except OSError as failure:
        raise FilesError(f"this host could not store the files: {failure.strerror}") from failure
    return unread


async def _bring_file(session: SftpSession, entry: TreeEntry, folder: Path, moved: Progress) -> FilesError | None:
    path, left = folder / os.fsdecode(entry.path), entry.size
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        async with contextlib.aclosing(session.pieces(entry.source, entry.size)) as pieces:
            async for data in pieces:
                os.pwrite(fd, data, entry.size - left)
                left -= len(data)
                moved(len(data))
        os.fchmod(fd, entry.mode & 0o777 | 0o600)
        os.utime(fd, (entry.mtime, entry.mtime))
    except FileRefused as refusal:
        path.unlink()
        moved(left)
        return refusal
    finally:
        os.close(fd)
    return None


# --- from this host to the guest


async def send(session: SftpSession, plan: CopyPlan, folder: bytes, moved: Progress) -> tuple[bytes, ...]:
    """Copy the planned files into the guest's `folder`, new and empty; return the sources that could not be read.

    Raises:
        FilesError: the guest failed (a full disk), or this host did.
    """
    for apart in _apart(plan):
        await session.make_folder(folder + b"/" + apart)
    for entry in _of(plan, EntryKind.FOLDER):
        await session.make_folder(folder + b"/" + entry.path, entry.mode & 0o777 | 0o700)
    unread = await _each_file(plan, lambda entry: _send_file(session, entry, folder, moved))
    for entry in _of(plan, EntryKind.LINK):
        await session.make_link(folder + b"/" + entry.path, entry.target)
    return unread


async def _send_file(session: SftpSession, entry: TreeEntry, folder: bytes, moved: Progress) -> FilesError | None:
    try:
        # O_NONBLOCK: if a FIFO has replaced the file, opening it must not block.
        fd = os.open(entry.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as refusal:
        moved(entry.size)
        return _unread_here(refusal)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FilesError("a file was replaced while it was copied", hint="copy it again")

        def give(at: int) -> bytes:
            return os.pread(fd, min(PIECE, entry.size - at), at)

        told = Attributes(entry.size, entry.mode & 0o777 | 0o600, entry.mtime)
        await session.write_file(folder + b"/" + entry.path, entry.size, give, moved, told)
    except OSError as failure:
        raise _unread_here(failure) from failure
    finally:
        os.close(fd)
    return None


def _unread_here(failure: OSError) -> FilesError:
    return FilesError(f"this host could not read what was copied: {failure.strerror}")


def _of(plan: CopyPlan, kind: EntryKind) -> list[TreeEntry]:
    return [entry for entry in plan.entries if entry.kind is kind]


def _host(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _apart(plan: CopyPlan) -> list[bytes]:
    """The numbered folders for entries whose name was already used."""
    return [top.partition(b"/")[0] for top in plan.tops if b"/" in top]
