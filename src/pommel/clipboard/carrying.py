"""Files across: what the host copied is sent to the guest at once, what the guest copied is fetched when it is pasted.
Band: shell.

A list of files means nothing on the other side. So each is known by whose files it names (content.FILES_OF_HOST,
FILES_OF_GUEST), and becomes a list of that side's own only by copying them there. A list that names our copies is
known again for what it was made of, so that nothing is copied back.
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

from pommel.clipboard import trees
from pommel.clipboard.content import FILES_OF_GUEST, FILES_OF_HOST, URIS, Content, Held, files_of
from pommel.clipboard.copies import Copy, told_names, told_paths, told_size
from pommel.clipboard.engine import Side
from pommel.clipboard.sftp_session import SessionLost, sftp_session
from pommel.clipboard.shelves import GuestShelf, HostShelf
from pommel.clipboard.tree import ENTRIES_MAX, FilesError, Plan
from pommel.clipboard.uris import is_cut, paths_of, uri_list
from pommel.settings import format_size

_OWNED = {Side.HOST: FILES_OF_HOST, Side.GUEST: FILES_OF_GUEST}
_REMEMBERED = 16
_TELL_EVERY_S = 0.1


class Stage(Enum):
    """What became of files that were copied."""

    PENDING = "pending"
    COPYING = "copying"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Files on their way to `side`, in bytes. `names` and `hint` may name files; nothing else here does.

    `cut` files are copied all the same, and stay where they were. `left_out` counts what is neither file, folder nor a
    link that leads to one of those.
    """

    side: Side
    names: tuple[str, ...]
    stage: Stage = Stage.PENDING
    files: int = 0
    done: int = 0
    total: int | None = None
    left_out: int = 0
    cut: bool = False
    why: str = ""
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """Files of the guest as the host may have them: their future places, and what it takes to bring them there."""

    uris: Content
    copy: Copy
    plan: Plan
    transfer: Transfer


class Carrier:
    """The files of one sync. `tell` hears of each transfer."""

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
        self._made: dict[Side, deque[tuple[Copy, Plan, Content]]] = {side: deque(maxlen=_REMEMBERED) for side in Side}

    def meet(self, caches: bytes) -> None:
        """Hear where the guest keeps its caches; it may be another guest than before."""
        if self._there is None or not self._there.folder.startswith(caches + b"/"):
            self._there = GuestShelf(self._ssh, caches, self.here.folder, self._limits[Side.GUEST])

    async def sweep(self) -> None:
        """Throw away what a killed sync left half done on the guest."""
        if self._there is not None:
            with contextlib.suppress(FilesError):  # the next copy tries again
                await self._there.sweep()

    def known(self, side: Side, content: Content, *, anew: bool) -> Content:
        """Say whose files these are: a list of our copies is what they were made of.

        Copied anew, the same list is another copy: the files may have changed. It is not `anew` after a reconnection.
        """
        uris = content.get(URIS)
        if uris is None:
            return content
        paths = paths_of(uris)
        if not paths:
            return Content(held=Held.FOREIGN, size=content.size)
        if len(paths) > ENTRIES_MAX:
            return Content(held=Held.TOO_LARGE, size=content.size)
        shelf = self.here if side is Side.HOST else self._there
        copy = shelf.owner_of(paths[0]) if shelf else None
        if copy is None:
            told = uri_list(paths, cut=is_cut(uris))
            if anew or self._seen.get(side) != told:
                self._seen[side], self._count[side] = told, self._count[side] + 1
            return files_of(_OWNED[side], told + b"# %d\r\n" % self._count[side])
        return next((origin for made, _, origin in self._made[side] if made == copy), Content(held=Held.OURS))

    async def to_guest(self, content: Content) -> Content | None:
        """Copy the host's files to the guest; return the list of the copies, or None where that failed."""
        uris = content.get(FILES_OF_HOST)
        if uris is None:
            return self._own(content, FILES_OF_GUEST)
        transfer = Transfer(Side.GUEST, told_names(paths_of(uris)), cut=is_cut(uris))
        self._tell(transfer)
        try:
            plan = await asyncio.to_thread(trees.look_through_host, paths_of(uris))
            transfer = self._weighed(transfer, plan, paths_of(uris))
            if transfer.stage is Stage.REFUSED or self._there is None:
                return None
            copy = await self._sent(self._there, plan, content, transfer)
            return _list(self._there.paths(copy, plan))
        except FilesError as failure:
            self._failed(transfer, failure)
            return None

    async def to_host(self, content: Content) -> Offered | Content | None:
        """Find out what fetching the guest's files takes; None where that failed or is too much."""
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
        if transfer.stage is Stage.REFUSED:
            return None
        copy = self.here.reserve(plan)
        self._made[Side.HOST].append((copy, plan, content))
        return Offered(_list(self.here.paths(copy, plan)), copy, plan, transfer)

    async def fetch(self, offered: Offered) -> bool:
        """Bring what was offered to this host; whether it is there."""
        if self.here.has(offered.copy):
            return True
        try:
            await self._twice(lambda: self._brought(offered))
        except FilesError as failure:
            self._failed(offered.transfer, failure)
            return False
        return True

    async def _brought(self, offered: Offered) -> None:
        meter = _Meter(offered.transfer, self._tell)
        async with sftp_session(self._ssh) as session:
            await self.here.bring(session, offered.plan, offered.copy, meter.moved)
        meter.done()

    async def _sent(self, shelf: GuestShelf, plan: Plan, content: Content, transfer: Transfer) -> Copy:
        made: list[Copy] = []

        async def once() -> None:
            meter = _Meter(transfer, self._tell)
            async with shelf.opened() as session:
                again = self._again(plan, content)
                there = again is not None and await shelf.has(session, again)
                made.append(again if there and again else await shelf.send(session, plan, meter.moved))
            meter.done()

        await self._twice(once)
        self._made[Side.GUEST].append((made[-1], plan, content))
        return made[-1]

    async def _twice(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it; if the session ends, once more over a new one."""
        try:
            await work()
        except SessionLost:
            await work()

    def _again(self, plan: Plan, content: Content) -> Copy | None:
        """A copy on the guest of the same files, unchanged since, made when they came onto the clipboard.

        Not when they were copied anew: a file that changed within a second, to the same size, looks unchanged.
        """
        return next((copy for copy, before, of in self._made[Side.GUEST] if before == plan and of == content), None)

    def _weighed(self, transfer: Transfer, plan: Plan, paths: Sequence[bytes]) -> Transfer:
        limit = self._limits[transfer.side]
        weighed = replace(transfer, files=plan.files, total=plan.total, left_out=plan.left_out)
        if plan.total > limit:
            more = f"more than the {format_size(limit)} that the clipboard copies to the {transfer.side.value}"
            weighed = replace(
                weighed,
                stage=Stage.REFUSED,
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
        self._tell(replace(transfer, stage=Stage.FAILED, why=failure.message, hint=failure.hint))

    def _own(self, content: Content, form: str) -> Content:
        """A list of a side's own files goes back to it as it came."""
        uris = content.get(form)
        return content if uris is None else _list(paths_of(uris))


class _Meter:
    """Tells of a transfer's progress, not too often."""

    def __init__(self, transfer: Transfer, tell: Callable[[Transfer], None]) -> None:
        self._transfer, self._tell = replace(transfer, stage=Stage.COPYING), tell
        self._told_at = 0.0

    def moved(self, size: int) -> None:
        self._transfer = replace(self._transfer, done=self._transfer.done + size)
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            self._tell(self._transfer)

    def done(self) -> None:
        self._tell(replace(self._transfer, stage=Stage.DONE, done=self._transfer.total or 0))


def _list(paths: Sequence[bytes]) -> Content:
    return files_of(URIS, uri_list(paths))
