"""Files of a guest for a person: list folders, send and receive files, rename, delete. Band: shell.

It uses one session (`link`) for all. Everything happens with the rights of the user of that session, and at the guest:
no path of this host is ever opened.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Sequence

from pommel.errors import PommelError, StateError, UsageError
from pommel.sftp import codec
from pommel.sftp.browsing import (
    AlreadyThere,
    DiskFull,
    EntryType,
    FileFacts,
    FolderEntry,
    FolderListing,
    NotThere,
    OtherOffset,
    Upload,
    UploadBusy,
    type_of,
)
from pommel.sftp.codec import Attributes, Space
from pommel.sftp.link import SftpLink
from pommel.sftp.packing import archive_of, packed
from pommel.sftp.session import FileRefused, Listed, SftpSession
from pommel.sftp.spelling import HOME, differs_in_case_only, display, joined, looks_like, name_of, parent
from pommel.sftp.tree import ENTRIES_MAX, NAME_MAX, FilesError, NameCount, plain_name
from pommel.sftp.trees import look_through_guest, readable
from pommel.sftp.zipping import zipped
from pommel.tasks import together

_LINKS_FOLLOWED = 1000  # of one folder, to tell what they lead to
_AT_ONCE = 16
_LITTLE = 1 << 20  # a disk with less is full, when it refuses to write

# The bytes of an opened file from an offset to another; of an archive, all of them.
Reading = Callable[[int, int], AsyncGenerator[bytes, None]]


class FileService:
    """The files that `link` reaches. `whose` names their computer in errors."""

    def __init__(self, link: SftpLink, whose: str = "the guest") -> None:
        self._link, self._whose = link, whose
        self._sending: set[bytes] = set()

    # --- folders

    async def listing(self, path: bytes) -> FolderListing:
        """List a folder; `~` is the user's home folder.

        Raises:
            PommelError: it cannot be listed.
        """
        return await self._link.ask(lambda session: self._listing(session, path))

    async def _listing(self, session: SftpSession, path: bytes) -> FolderListing:
        whole = await self._resolved(session, path)
        if await _look_or_none(session, whole) is None:
            raise NotThere(path)
        real = await session.real_path(whole)
        if not (await session.look(real, follow=True)).is_folder:
            raise StateError(f"{display(real)} is not a folder")
        found, more = await _entries(session, real)
        leads = await _followed(session, real, [name for name, told in found if told.is_link][:_LINKS_FOLLOWED])
        entries = tuple(
            FolderEntry(name, type_of(told), told.size, told.mtime, leads.get(name)) for name, told in found
        )
        return FolderListing(real, entries, more, await self._space(session, real))

    async def make_folder(self, path: bytes, *, may_exist: bool = False) -> None:
        """Make a folder. With `may_exist`, one that is there already is fine.

        Raises:
            AlreadyThere: the name is in use.
        """
        async with self._link.session() as session:
            path = await self._resolved(session, path)
            told = await _look_or_none(session, path)
            if may_exist and told is not None and (await session.look(path, follow=True)).is_folder:
                return
            if told is not None:
                raise AlreadyThere(path, replaceable=False)
            async with self._explained(session, parent(path)):
                await session.make_folder(path, None)

    async def rename(self, old: bytes, new: bytes) -> None:
        """Rename or move a file, folder or link. Nothing is replaced.

        Raises:
            AlreadyThere: the new name is in use.
        """
        async with self._link.session() as session:
            old, new = await self._resolved(session, old), await self._resolved(session, new, found=False)
            if old == new:
                return
            if await _look_or_none(session, new) is not None:
                if not await _is_same_file(session, old, new):
                    raise AlreadyThere(new, replaceable=False)
                await session.replace(old, new)
                return
            async with self._explained(session, parent(new)):
                await session.rename(old, new)

    async def remove(self, paths: Sequence[bytes], *, whole: bool = True) -> None:
        """Delete files, links, and folders with all that is in them; without `whole`, only folders that are empty.

        Raises:
            StateError: one of them is the home folder, or contains it: nothing is deleted then. Or it is not empty.
        """
        async with self._link.session() as session:
            home = await session.real_path(b".")
            there = [await self._resolved(session, path) for path in paths]
            for path in there:
                real = joined(await session.real_path(parent(path)), name_of(path))
                if (home + b"/").startswith(real.rstrip(b"/") + b"/"):
                    raise StateError(f"{display(path)} contains the user's home folder, so it is not deleted")
            for path in there:
                await _remove(session, path, whole)

    async def copy(self, old: bytes, new: bytes) -> None:
        """Copy a file; a file with the new name is replaced."""
        async with self.opened(old, folders=False) as (facts, reading):
            copied = Upload(new, facts.size, facts.mtime)
            await self.begin(copied, replace=True)
            try:
                async with contextlib.aclosing(reading(0, facts.size)) as pieces:
                    await self.receive(copied, 0, pieces)
                await self.finish(copied, replace=True)
            except BaseException:
                with contextlib.suppress(PommelError):
                    await self.discard(copied)
                raise

    async def pack(self, folder: bytes, names: Sequence[bytes], output: bytes) -> None:
        """Put entries of a folder into a new zip file there.

        Raises:
            AlreadyThere: the name of the zip file is in use.
        """
        async with self._link.session() as session:
            folder, output = await self._resolved(session, folder), await self._resolved(session, output)
            if await _look_or_none(session, output) is not None:
                raise AlreadyThere(output, replaceable=False)
            plan = await look_through_guest(session, [joined(folder, name) for name in names])
            part = Upload(output, 0, None).part_in(parent(output))
            try:
                async with self._explained(session, folder), contextlib.aclosing(zipped(plan, session.pieces)) as data:
                    await session.write_on(part, 0, data, new=await _look_or_none(session, part) is None)
                await session.rename(part, output)
            except BaseException:
                with contextlib.suppress(PommelError):
                    await session.remove_file(part)
                raise

    # --- from a person

    async def begin(self, upload: Upload, *, replace: bool = False) -> int:
        """Prepare an upload; return how many bytes of it are there from an earlier try.

        Raises:
            AlreadyThere: the name is in use, and is not to be replaced or is no file.
            DiskFull: there is not enough space.
        """
        return await self._link.ask(lambda session: self._begin(session, upload, replace))

    async def _begin(self, session: SftpSession, upload: Upload, replace: bool) -> int:
        path, _ = await self._check_target(session, upload, replace)
        told = await _look_or_none(session, upload.part_in(parent(path)))
        offset = min(told.size, upload.size) if told is not None and told.is_file else 0
        space = await self._space(session, parent(path))
        if space is not None and space.free < upload.size - offset:
            raise DiskFull(self._whose, space.free)
        return offset

    async def receive(self, upload: Upload, offset: int, data: AsyncIterable[bytes]) -> int:
        """Write a piece of an upload at `offset`; return the new offset. When it returns, the piece is on the disk.

        Raises:
            OtherOffset: there are not so many bytes yet.
            UploadBusy: somebody else writes it.
            DiskFull: the disk has no room.
        """
        with self._alone(upload):
            async with self._link.session() as session:
                folder = parent(await self._resolved(session, upload.path))
                told = await _look_or_none(session, part := upload.part_in(folder))
                if told is not None and not told.is_file:
                    raise FilesError("the name for the incomplete upload is in use", hint="delete it there")
                if offset > (told.size if told is not None else 0):
                    raise OtherOffset(told.size if told is not None else 0)
                async with self._explained(session, folder):
                    return await session.write_on(part, offset, _bounded(upload, offset, data), new=told is None)

    async def finish(self, upload: Upload, *, replace: bool = False) -> None:
        """Give a whole upload its name and its date.

        Raises:
            OtherOffset: it is not whole.
            AlreadyThere: as `begin`.
        """
        with self._alone(upload):
            async with self._link.session() as session:
                path, there = await self._check_target(session, upload, replace)
                told = await _look_or_none(session, part := upload.part_in(parent(path)))
                if told is None or told.size != upload.size:
                    raise OtherOffset(told.size if told is not None else 0)
                with contextlib.suppress(FileRefused):  # a file system without dates or modes has the file all the same
                    mode = there.mode & 0o777 if there is not None and there.is_file else None
                    await session.set_facts(part, mode=mode, mtime=upload.mtime)
                if there is not None:
                    await session.replace(part, path)
                else:
                    await session.rename(part, path)

    async def discard(self, upload: Upload) -> None:
        """Delete what is there of an incomplete upload."""
        with self._alone(upload):
            async with self._link.session() as session:
                part = upload.part_in(parent(await self._resolved(session, upload.path)))
                if await _look_or_none(session, part) is not None:
                    await session.remove_file(part)

    async def _check_target(
        self, session: SftpSession, upload: Upload, replace: bool
    ) -> tuple[bytes, Attributes | None]:
        path = await self._resolved(session, upload.path)
        there = await _look_or_none(session, path)
        if there is not None and not (replace and not there.is_folder):
            raise AlreadyThere(path, replaceable=not there.is_folder)
        return path, there

    @contextlib.contextmanager
    def _alone(self, upload: Upload) -> Iterator[None]:
        part = upload.part_in(parent(upload.path))
        if part in self._sending:
            raise UploadBusy
        self._sending.add(part)
        try:
            yield
        finally:
            self._sending.discard(part)

    # --- to a person

    @contextlib.asynccontextmanager
    async def opened(self, path: bytes, *, folders: bool = True) -> AsyncIterator[tuple[FileFacts, Reading]]:
        """Open a file, or if `folders` a folder as an archive: its facts, and how to read it.

        Raises:
            PommelError: it cannot be read, or is neither a file nor a folder.
        """
        async with self._link.session() as session:
            real = await self._resolved(session, path)
            told = await session.look(real, follow=True)
            name = name_of(real) or b"root"
            if told.is_folder and folders:
                plan = await readable(session, await look_through_guest(session, [real]))
                archive, length = await archive_of(plan, display(name))
                facts = FileFacts(name, length, told.mtime, folder=True)
                yield facts, lambda _start, _end: packed(archive, session.pieces)
            elif told.is_file:
                await session.try_to_read(real)
                facts = FileFacts(name, told.size, told.mtime)
                yield facts, lambda start, end: session.pieces(real, end, start)
            else:
                raise StateError(f"{display(name)} is neither a file nor a folder, so it cannot be downloaded")

    # --- names

    async def _resolved(self, session: SftpSession, path: bytes, *, found: bool = True) -> bytes:
        """The path as the guest spells it; the last name may be missing there."""
        if path == HOME or path.startswith(HOME + b"/"):
            path = (await session.real_path(b".")).rstrip(b"/") + path[1:] or b"/"
        if not found or path.isascii() or await _look_or_none(session, path) is not None:
            return path
        at = b"/"
        for name in filter(None, path.split(b"/")):
            at = joined(at, await _as_there(session, at, name))
        return at

    # --- what a refusal means

    @contextlib.asynccontextmanager
    async def _explained(self, session: SftpSession, folder: bytes) -> AsyncIterator[None]:
        """Tell a full disk from other failures: SFTP has no code for it."""
        try:
            yield
        except FileRefused as refusal:
            if refusal.code != codec.FAILURE:
                raise
            space = await self._space(session, folder)
            if space is not None and space.free < _LITTLE:
                raise DiskFull(self._whose, space.free) from refusal
            raise

    async def _space(self, session: SftpSession, path: bytes) -> Space | None:
        with contextlib.suppress(FileRefused):
            return await session.space(path)
        return None


async def _entries(session: SftpSession, path: bytes) -> tuple[Listed, bool]:
    """The entries of a folder, at most ENTRIES_MAX, and whether there are more."""
    found: Listed = []
    async with contextlib.aclosing(session.folder_parts(path)) as parts:
        async for part in parts:
            for name, told in part:
                if not plain_name(name) or len(name) > NAME_MAX:
                    raise FilesError(f"{session.whose} sent an invalid file name")
                if len(found) == ENTRIES_MAX:
                    return found, True
                found.append((name, told))
    return found, False


async def _followed(session: SftpSession, folder: bytes, links: Sequence[bytes]) -> dict[bytes, EntryType]:
    """What links lead to; those that lead nowhere are not in it."""
    left, found = iter(links), dict[bytes, EntryType]()

    async def some() -> None:
        for name in left:
            with contextlib.suppress(FileRefused):
                found[name] = type_of(await session.look(joined(folder, name), follow=True))

    async with together() as tasks:
        for _ in range(min(_AT_ONCE, len(links))):
            tasks.create_task(some())
    return found


async def _remove(session: SftpSession, path: bytes, whole: bool) -> None:
    if not whole and (await session.look(path)).is_folder:
        if await session.folder(path, NameCount(ENTRIES_MAX)):
            raise StateError(f"{display(path)} is not empty, so it is not deleted")
        await session.remove_folder(path)
        return
    await session.remove(path)


async def _look_or_none(session: SftpSession, path: bytes) -> Attributes | None:
    """The attributes of a path; None: there is nothing."""
    try:
        return await session.look(path)
    except FileRefused as refusal:
        if refusal.code != codec.NO_SUCH_FILE:
            raise
    return None


async def _as_there(session: SftpSession, folder: bytes, name: bytes) -> bytes:
    """A name as the guest's folder spells it; as it is if there is none like it."""
    if name.isascii() or await _look_or_none(session, joined(folder, name)) is not None:
        return name
    with contextlib.suppress(FileRefused):
        found, _ = await _entries(session, folder)
        return next((one for one, _ in found if looks_like(one, name)), name)
    return name


async def _is_same_file(session: SftpSession, old: bytes, new: bytes) -> bool:
    """Whether a guest that ignores case or normalization takes the new name for the old file's."""
    if parent(old) != parent(new) or not differs_in_case_only(name_of(old), name_of(new)):
        return False
    found, _ = await _entries(session, parent(old))
    return name_of(new) not in [name for name, _ in found]


async def _bounded(upload: Upload, offset: int, data: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The data, which must not be more than the rest of the file."""
    async for chunk in data:
        offset += len(chunk)
        if offset > upload.size:
            raise UsageError("the file became longer while it was sent")
        yield chunk
