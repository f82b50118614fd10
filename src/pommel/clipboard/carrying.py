"""Copies files between the sides: the host's to the guest at once, the guest's to the host at a paste.
Band: shell.

A list of paths is only valid on the side that made it. So a list is marked with that side (content.FILES_OF_HOST,
FILES_OF_GUEST), and the other side gets a list of its own paths after the files were copied. A list that names our own
copies is mapped back to the original list, so that nothing is copied back.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeVar

from pommel.clipboard.content import FILES_OF_GUEST, FILES_OF_HOST, URIS, Content, HeldBack, files_of
from pommel.clipboard.copies import CopyName, told_names, told_paths, told_size
from pommel.clipboard.engine import Side
from pommel.clipboard.shelves import GuestShelf, HostShelf
from pommel.clipboard.uris import is_cut, paths_of, uri_list
from pommel.settings import format_size
from pommel.sftp import trees
from pommel.sftp.session import SessionLost, sftp_session
from pommel.sftp.tree import ENTRIES_MAX, CopyPlan, FilesError

_OWNED = {Side.HOST: FILES_OF_HOST, Side.GUEST: FILES_OF_GUEST}
_REMEMBERED = 16
_T = TypeVar("_T")
_TELL_EVERY_S = 0.1


class TransferStage(Enum):
    """The state of a transfer of files."""

    PENDING = "pending"
    COPYING = "copying"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer of files to `side`; sizes are in bytes.

    Only `names`, `unread_names` and `hint` may contain file names. `cut` files are only copied: the originals stay.
    `left_out` counts special files and links that lead outside; `unread` counts files and folders that could not be
    read. Neither are in the copy.
    """

    side: Side
    names: tuple[str, ...]
    stage: TransferStage = TransferStage.PENDING
    files: int = 0
    done: int = 0
    total: int | None = None
    left_out: int = 0
    unread: int = 0
    unread_names: tuple[str, ...] = ()
    cut: bool = False
    why: str = ""
    hint: str | None = None

    def of(self, plan: CopyPlan) -> Transfer:
        """This transfer with the numbers of `plan`."""
        unread, names = len(plan.unread), told_names(plan.unread)
        told = replace(self, files=plan.files, total=plan.total, left_out=plan.left_out)
        return replace(told, unread=unread, unread_names=names)


@dataclass(frozen=True, slots=True)
class OfferedFiles:
    """Files of the guest, offered to the host: their future paths, and the plan to copy them."""

    uris: Content
    copy: CopyName
    plan: CopyPlan
    transfer: Transfer


class Carrier:
    """The file transfers of one sync. `tell` is called at each change of a transfer."""

    def __init__(
        self,
        ssh: Sequence[str],
        folder: Path,
        tell: Callable[[Transfer], None],
        *,
        limit: int,
        paste_limit: int,
        guest_name: str = "",
    ) -> None:
        self._ssh, self._tell = tuple(ssh), tell
        self._limits = {Side.GUEST: limit, Side.HOST: paste_limit}
        self._guest_name = guest_name
        self.here = HostShelf(folder, paste_limit)
        self._there: GuestShelf | None = None
        self._seen: dict[Side, bytes] = {}
        self._count = dict.fromkeys(Side, 0)
        self._made: dict[Side, deque[tuple[CopyName, CopyPlan, Content]]] = {
            side: deque(maxlen=_REMEMBERED) for side in Side
        }

    def meet(self, caches: bytes) -> None:
        """Learn the guest's cache folder; it may be another guest than before."""
        if self._there is None or not self._there.folder.startswith(caches + b"/"):
            self._there = GuestShelf(self._ssh, caches, self.here.folder, self._limits[Side.GUEST])

    async def sweep(self) -> None:
        """Delete incomplete copies that a killed sync left on the guest."""
        if self._there is not None:
            with contextlib.suppress(FilesError):  # the next copy tries again
                await self._there.sweep()

    def known(self, side: Side, content: Content, *, anew: bool) -> Content:
        """Mark a list of files with the side that owns them; a list of our copies becomes the list of the originals.

        With `anew`, the same list counts as a new copy, because the files may have changed. After a reconnection it is
        not `anew`.
        """
        uris = content.get(URIS)
        if uris is None:
            return content
        paths = paths_of(uris)
        if not paths:
            return Content(held=HeldBack.FOREIGN, size=content.size)
        if len(paths) > ENTRIES_MAX:
            return Content(held=HeldBack.TOO_LARGE, size=content.size)
        shelf = self.here if side is Side.HOST else self._there
        copy = shelf.owner_of(paths[0]) if shelf else None
        if copy is None:
            told = uri_list(paths, cut=is_cut(uris))
            if anew or self._seen.get(side) != told:
                self._seen[side], self._count[side] = told, self._count[side] + 1
            return files_of(_OWNED[side], told + b"# %d\r\n" % self._count[side])
        return next((origin for made, _, origin in self._made[side] if made == copy), Content(held=HeldBack.OURS))

    async def to_guest(self, content: Content) -> Content | None:
        """Copy the host's files to the guest; return the list of the copies, or None after a failure."""
        uris = content.get(FILES_OF_HOST)
        if uris is None:
            return self._own(content, FILES_OF_GUEST)
        transfer = Transfer(Side.GUEST, told_names(paths_of(uris)), cut=is_cut(uris))
        self._tell(transfer)
        try:
            plan = await asyncio.to_thread(trees.look_through_host, paths_of(uris))
            transfer = self._weighed(transfer, plan, paths_of(uris))
            if transfer.stage is TransferStage.REFUSED or self._there is None:
                return None
            copy = await self._sent(self._there, plan, content, transfer)
            return _list(self._there.paths(copy, plan))
        except FilesError as failure:
            self._failed(transfer, failure)
            return None

    async def to_host(self, content: Content) -> OfferedFiles | Content | None:
        """Plan the copy of the guest's files; None after a failure, or if they are more than the limit."""
        uris = content.get(FILES_OF_GUEST)
        if uris is None:
            return self._own(content, FILES_OF_HOST)
        transfer = Transfer(Side.HOST, told_names(paths_of(uris)), cut=is_cut(uris))
        self._tell(transfer)
        try:
            async with sftp_session(self._ssh) as session:
                plan = await trees.look_through_guest(session, paths_of(uris))
        except FilesError as failure:
            self._failed(transfer, failure)
            return None
        transfer = self._weighed(transfer, plan, paths_of(uris))
        if transfer.stage is TransferStage.REFUSED:
            return None
        copy = self.here.reserve(plan)
        self._made[Side.HOST].append((copy, plan, content))
        return OfferedFiles(_list(self.here.paths(copy, plan)), copy, plan, transfer)

    async def fetch(self, offered: OfferedFiles) -> bool:
        """Copy the offered files to this host; True if they are there."""
        if self.here.has(offered.copy):
            return True
        try:
            await self._twice(lambda: self._brought(offered))
        except FilesError as failure:
            self._failed(offered.transfer, failure)
            return False
        return True

    async def _brought(self, offered: OfferedFiles) -> None:
        meter = _Meter(offered.transfer, self._tell)
        async with sftp_session(self._ssh) as session:
            unread = await self.here.bring(session, offered.plan, offered.copy, meter.moved)
        meter.done(offered.plan.without(unread))

    async def _sent(self, shelf: GuestShelf, plan: CopyPlan, content: Content, transfer: Transfer) -> CopyName:
        async def once() -> CopyName:
            meter = _Meter(transfer, self._tell)
            unread: tuple[bytes, ...] = ()
            async with shelf.opened() as session:
                copy = self._again(plan, content)
                if copy is None or not await shelf.has(session, copy):
                    copy, unread = await shelf.send(session, plan, meter.moved)
            meter.done(plan.without(unread))
            return copy

        made = await self._twice(once)
        self._made[Side.GUEST].append((made, plan, content))
        return made

    async def _twice(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do it; if the session ends, try once more with a new session."""
        try:
            return await work()
        except SessionLost:
            return await work()

    def _again(self, plan: CopyPlan, content: Content) -> CopyName | None:
        """An earlier copy on the guest of the same, unchanged files, made for the same clipboard content.

        After a new copy by the user it is not used: a file that changed within a second, to the same size, looks
        unchanged.
        """
        return next((copy for copy, before, of in self._made[Side.GUEST] if before == plan and of == content), None)

    def _weighed(self, transfer: Transfer, plan: CopyPlan, paths: Sequence[bytes]) -> Transfer:
        limit = self._limits[transfer.side]
        weighed = transfer.of(plan)
        if plan.total > limit:
            more = f"more than the {format_size(limit)} that the clipboard copies to the {transfer.side.value}"
            weighed = replace(
                weighed,
                stage=TransferStage.REFUSED,
                why=f"{told_size(plan)}: {more}",
                hint=self._command(transfer.side, paths),
            )
        self._tell(weighed)
        return weighed

    def _command(self, side: Side, paths: Sequence[bytes]) -> str:
        told = told_paths(paths) or ["PATH"]
        scp, guest = ("pommel scp -r", self._guest_name) if self._guest_name else ("scp -r", "USER@MAC")
        if side is Side.GUEST:
            return f"{scp} {shlex.join(told)} {guest}:"
        return f"{scp} {shlex.join(f'{guest}:{path}' for path in told)} ."

    def _failed(self, transfer: Transfer, failure: FilesError) -> None:
        self._tell(replace(transfer, stage=TransferStage.FAILED, why=failure.message, hint=failure.hint))

    def _own(self, content: Content, form: str) -> Content:
        """Return a side's own list of files to that side unchanged."""
        uris = content.get(form)
        return content if uris is None else _list(paths_of(uris))


class _Meter:
    """Reports a transfer's progress, at most every `_TELL_EVERY_S`."""

    def __init__(self, transfer: Transfer, tell: Callable[[Transfer], None]) -> None:
        self._transfer, self._tell = replace(transfer, stage=TransferStage.COPYING), tell
        self._told_at = 0.0

    def moved(self, size: int) -> None:
        self._transfer = replace(self._transfer, done=self._transfer.done + size)
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            self._tell(self._transfer)

    def done(self, made: CopyPlan) -> None:
        self._tell(replace(self._transfer, stage=TransferStage.DONE, done=made.total).of(made))


def _list(paths: Sequence[bytes]) -> Content:
    return files_of(URIS, uri_list(paths))
