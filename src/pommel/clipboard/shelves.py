"""Where copies of the other side's files are kept: a folder here, and one on the guest. Band: shell.

Both belong to one sync alone, are open to their user alone, and are swept of what a killed sync left half done.
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
from pommel.clipboard import sftp, trees
from pommel.clipboard.copies import Copy, broken_off, copy_of, to_prune
from pommel.clipboard.sftp_session import FileRefused, SessionLost, SftpSession, sftp_session
from pommel.clipboard.tree import FilesError, Plan
from pommel.locks import hold

_GUEST_FOLDER = b"pommel-clipboard"


class _Stamps:
    """Names that no copy has had."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, size: int) -> Copy:
        self._last = max(self._last + 1, time.time_ns() // 1_000_000)
        return Copy(self._last, size)


class HostShelf:
    """The folder on this host."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self._room = folder, room
        self._stamps = _Stamps()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the folder for the time of the block, and sweep it.

        Raises:
            BusyError: another sync has it.
            FilesError: it cannot be made.
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

    def reserve(self, plan: Plan) -> Copy:
        """Name a copy that is to be made."""
        return self._stamps.next(plan.total)

    def paths(self, copy: Copy, plan: Plan) -> list[bytes]:
        """Where its files are once it is whole."""
        return [os.fsencode(self.folder / copy.name / os.fsdecode(top)) for top in plan.tops]

    def has(self, copy: Copy) -> bool:
        """Whether it is there, whole."""
        return (self.folder / copy.name).is_dir()

    def owner_of(self, path: bytes) -> Copy | None:
        """The copy that a path of this host is in."""
        return _owner(os.fsencode(self.folder), path)

    async def bring(self, session: SftpSession, plan: Plan, copy: Copy, moved: trees.Progress) -> None:
        """Make a copy of the guest's files, whole or not at all.

        Raises:
            FilesError: it could not be made.
        """
        await asyncio.to_thread(self._prune, plan.total)
        part = self.folder / copy.part
        try:
            part.mkdir(mode=0o700)
            await trees.bring(session, plan, part, moved)
            part.rename(self.folder / copy.name)
        except OSError as failure:
            raise FilesError(f"this host could not store the files: {failure.strerror}") from failure
        finally:
            await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)

    def _names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]

    def _prune(self, coming: int) -> None:
        for copy in to_prune(self._names(), self._room - coming):
            shutil.rmtree(self.folder / copy.name, ignore_errors=True)


class GuestShelf:
    """The folder on the guest, below its user's caches."""

    def __init__(self, ssh: Sequence[str], caches: bytes, owner: Path, room: int) -> None:
        # Another host may sync with the same guest.
        mine = hashlib.sha256(os.fsencode(f"{os.uname().nodename}:{owner}")).hexdigest()[:12].encode()
        self._ssh, self._room = tuple(ssh), room
        self._ways = (caches, caches + b"/" + _GUEST_FOLDER, caches + b"/" + _GUEST_FOLDER + b"/" + mine)
        self.folder = self._ways[-1]
        self._stamps = _Stamps()
        self._one_at_a_time = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[SftpSession]:
        """Be the only one of this sync to change the folder, over a session for the time of the block."""
        async with self._one_at_a_time, sftp_session(self._ssh) as session:
            yield session

    async def sweep(self) -> None:
        """Throw away what a killed sync left half done."""
        async with self.opened() as session:
            for name in broken_off(await self._names(session)):
                await session.remove(self.folder + b"/" + name.encode())

    async def has(self, session: SftpSession, copy: Copy) -> bool:
        """Whether it is there, whole."""
        try:
            return (await session.look(self.folder + b"/" + copy.name.encode())).is_folder
        except FileRefused as refusal:
            if refusal.code == sftp.NO_SUCH_FILE:
                return False
            raise

    def paths(self, copy: Copy, plan: Plan) -> list[bytes]:
        """Where its files are once it is whole."""
        return [b"/".join((self.folder, copy.name.encode(), top)) for top in plan.tops]

    def owner_of(self, path: bytes) -> Copy | None:
        """The copy that a path of the guest is in."""
        return _owner(self.folder, path)

    async def send(self, session: SftpSession, plan: Plan, moved: trees.Progress) -> Copy:
        """Make a copy of this host's files, whole or not at all; its part is swept later if the connection ends.

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
            await trees.send(session, plan, part, moved)
        except FilesError as failure:
            if not isinstance(failure, SessionLost):
                with contextlib.suppress(FilesError):
                    await session.remove(part)
            raise
        await session.rename(part, self.folder + b"/" + copy.name.encode())
        return copy

    async def _make(self, session: SftpSession) -> None:
        for way in self._ways:
            with contextlib.suppress(FileRefused):  # it is there; if not, what comes next says so
                await session.make_folder(way)
        await session.set_mode(self.folder, 0o700)

    async def _names(self, session: SftpSession) -> list[str]:
        try:
            return [name.decode(errors="replace") for name, _ in await session.folder(self.folder)]
        except FileRefused as refusal:
            if refusal.code == sftp.NO_SUCH_FILE:
                return []
            raise


def _owner(folder: bytes, path: bytes) -> Copy | None:
    if not path.startswith(folder + b"/"):
        return None
    return copy_of(path[len(folder) + 1 :].partition(b"/")[0].decode(errors="replace"))
