"""The folders for copies of the other side's files: one here, and one on the guest. Band: shell.

Each belongs to one sync and is private to its user. Incomplete copies of a killed sync are deleted from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from pommel import private
from pommel.clipboard.copies import CopyName, broken_off, copy_of, to_prune
from pommel.locks import hold
from pommel.sftp import codec, trees
from pommel.sftp.session import FileRefused, SessionLost, SftpSession, sftp_session
from pommel.sftp.tree import CopyPlan, FilesError

_GUEST_FOLDER = b"pommel-clipboard"


class _Stamps:
    """Makes unused names for copies."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, size: int) -> CopyName:
        self._last = max(self._last + 1, time.time_ns() // 1_000_000)
        return CopyName(self._last, size)


class HostShelf:
    """The folder on this host."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self._room = folder, room
        self._stamps = _Stamps()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lock the folder during the block, and delete incomplete copies.

        Raises:
            BusyError: another sync uses it.
            FilesError: it cannot be created.
        """
        try:
            private.make_folder(self.folder)
            self.folder.chmod(0o700)
        except OSError as refusal:
            raise FilesError(f"{self.folder} cannot be created: {refusal.strerror}") from refusal
        with hold(self.folder / ".lock", busy="another sync keeps its files there"):
            for name in broken_off(self._names()):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            yield

    def reserve(self, plan: CopyPlan) -> CopyName:
        """Choose the name of a new copy."""
        return self._stamps.next(plan.total)

    def paths(self, copy: CopyName, plan: CopyPlan) -> list[bytes]:
        """Where its files are once it is whole."""
        return [os.fsencode(self.folder / copy.name / os.fsdecode(top)) for top in plan.tops]

    def has(self, copy: CopyName) -> bool:
        """Whether it is there, whole."""
        return (self.folder / copy.name).is_dir()

    def owner_of(self, path: bytes) -> CopyName | None:
        """The copy that a path of this host is in."""
        return _owner(os.fsencode(self.folder), path)

    async def bring(
        self, session: SftpSession, plan: CopyPlan, copy: CopyName, moved: trees.Progress
    ) -> tuple[bytes, ...]:
        """Make a copy of the guest's files, complete or not at all; return the files that could not be read.

        Raises:
            FilesError: it could not be made.
        """
        await asyncio.to_thread(self._prune, plan.total)
        part = self.folder / copy.part
        try:
            part.mkdir(mode=0o700)
            unread = await trees.bring(session, plan, part, moved)
            part.rename(self.folder / copy.name)
        except OSError as failure:
            raise FilesError(f"this host could not store the files: {failure.strerror}") from failure
        finally:
            await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
        return unread

    def _names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]

    def _prune(self, coming: int) -> None:
        for copy in to_prune(self._names(), self._room - coming):
            shutil.rmtree(self.folder / copy.name, ignore_errors=True)


class GuestShelf:
    """The folder on the guest, below its user's caches."""

    def __init__(self, ssh: Sequence[str], caches: bytes, owner: Path, room: int) -> None:
        # A name per host and sync: another host may sync with the same guest.
        mine = hashlib.sha256(os.fsencode(f"{os.uname().nodename}:{owner}")).hexdigest()[:12].encode()
        self._ssh, self._room = tuple(ssh), room
        self._ways = (caches, caches + b"/" + _GUEST_FOLDER, caches + b"/" + _GUEST_FOLDER + b"/" + mine)
        self.folder = self._ways[-1]
        self._stamps = _Stamps()
        self._one_at_a_time = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[SftpSession]:
        """Open a session during the block, and let no other coroutine of this sync change the folder meanwhile."""
        async with self._one_at_a_time, sftp_session(self._ssh) as session:
            yield session

    async def sweep(self) -> None:
        """Delete incomplete copies of a killed sync."""
        async with self.opened() as session:
            for name in broken_off(await self._names(session)):
                await session.remove(self.folder + b"/" + name.encode())

    async def has(self, session: SftpSession, copy: CopyName) -> bool:
        """Whether it is there, whole."""
        try:
            return (await session.look(self.folder + b"/" + copy.name.encode())).is_folder
        except FileRefused as refusal:
            if refusal.code == codec.NO_SUCH_FILE:
                return False
            raise

    def paths(self, copy: CopyName, plan: CopyPlan) -> list[bytes]:
        """Where its files are once it is whole."""
        return [b"/".join((self.folder, copy.name.encode(), top)) for top in plan.tops]

    def owner_of(self, path: bytes) -> CopyName | None:
        """The copy that a path of the guest is in."""
        return _owner(self.folder, path)

    async def send(
        self, session: SftpSession, plan: CopyPlan, moved: trees.Progress
    ) -> tuple[CopyName, tuple[bytes, ...]]:
        """Make a copy of this host's files, complete or not at all; return it and the files that could not be read.

        If the connection ends, the next sync deletes the incomplete copy.

        Raises:
            FilesError: it could not be made.
        """
        await self._make(session)
        names = [*await self._names(session)]
        for old in to_prune(names, self._room - plan.total):
            await session.remove(self.folder + b"/" + old.name.encode())
        for name in broken_off(names):
            await session.remove(self.folder + b"/" + name.encode())
        copy = self._stamps.next(plan.total)
        part = self.folder + b"/" + copy.part.encode()
        await session.make_folder(part)
        try:
            unread = await trees.send(session, plan, part, moved)
        except FilesError as failure:
            if not isinstance(failure, SessionLost):
                with contextlib.suppress(FilesError):
                    await session.remove(part)
            raise
        await session.rename(part, self.folder + b"/" + copy.name.encode())
        return copy, unread

    async def _make(self, session: SftpSession) -> None:
        for way in self._ways:
            with contextlib.suppress(FileRefused):  # usually it exists; if not, the next request reports the error
                await session.make_folder(way)
        await session.set_mode(self.folder, 0o700)

    async def _names(self, session: SftpSession) -> list[str]:
        try:
            return [name.decode(errors="replace") for name, _ in await session.folder(self.folder)]
        except FileRefused as refusal:
            if refusal.code == codec.NO_SUCH_FILE:
                return []
            raise


def _owner(folder: bytes, path: bytes) -> CopyName | None:
    if not path.startswith(folder + b"/"):
        return None
    return copy_of(path[len(folder) + 1 :].partition(b"/")[0].decode(errors="replace"))
