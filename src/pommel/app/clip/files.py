"""Push or pull files once, without a sync. They are copied at once, because a person waits for them. Band: app.

The copies are in the folder of a sync of the same guest, by the same rules. The folder is locked only while files are
copied, so that a sync can start after that.
"""

from __future__ import annotations

from pommel.app.clip.target import Guest
from pommel.app.workspace import Workspace
from pommel.clipboard.carrying import Carrier, OfferedFiles, Transfer, TransferStage
from pommel.clipboard.content import URIS, Content
from pommel.clipboard.engine import Side
from pommel.clipboard.frames import Hello
from pommel.clipboard.guest import caches_of
from pommel.clipboard.sync import PASTE_LIMIT_BYTES
from pommel.errors import PommelError, StateError
from pommel.progress import Progress, Report, ignore, warn


class Files:
    """The files of one push or pull; `last` is the newest state of their transfer."""

    def __init__(self, workspace: Workspace, guest: Guest, report: Report = ignore) -> None:
        self._guest, self._report = guest, report
        self.last: Transfer | None = None
        self._carrier = Carrier(
            guest.argv(workspace),
            guest.paths.files,
            self._on_transfer,
            limit=PASTE_LIMIT_BYTES,
            paste_limit=PASTE_LIMIT_BYTES,
            guest_name=guest.machine or "",
        )

    async def push(self, listed: Content, hello: Hello) -> Content:
        """Copy the files of this host's list to the guest; return the list of the copies.

        Raises: StateError, PommelError: the guest's clipboard accepts no files, or they could not be copied.
        """
        self._meet(hello)
        with self._carrier.here.held():
            made = await self._carrier.to_guest(self._known(Side.HOST, listed))
        return made if made is not None else self._refuse()

    async def pull(self, listed: Content, hello: Hello) -> Content:
        """Copy the files of the guest's list to this host; return the list of the copies. Raises as `push`."""
        self._meet(hello)
        with self._carrier.here.held():
            offered = await self._carrier.to_host(self._known(Side.GUEST, listed))
            if isinstance(offered, OfferedFiles):
                offered = offered.uris if await self._carrier.fetch(offered) else None
        return offered if offered is not None else self._refuse()

    def _meet(self, hello: Hello) -> None:
        caches = caches_of(hello)
        if URIS not in hello.forms or caches is None:
            raise StateError(
                f"the clipboard of {self._guest.label} accepts no files",
                hint="on a Linux machine, install xclip there; or copy files with: pommel scp",
            )
        self._carrier.meet(caches)

    def _known(self, side: Side, listed: Content) -> Content:
        known = self._carrier.known(side, listed, anew=True)
        if known.held is not None:
            raise StateError(f"the last copy on the {side.value} is not synced: {known.held.value}")
        return known

    def _refuse(self) -> Content:
        last = self.last
        raise PommelError(last.why if last else "the files could not be copied", hint=last.hint if last else None)

    def _on_transfer(self, transfer: Transfer) -> None:
        self.last = transfer
        step = f"copying files to the {transfer.side.value}"
        if transfer.stage in (TransferStage.COPYING, TransferStage.DONE):
            done = transfer.stage is TransferStage.DONE
            self._report(Progress(step, done=transfer.done, total=transfer.total, unit="B", finished=done))
        if transfer.stage is TransferStage.DONE and transfer.left_out:
            warn(self._report, f"{transfer.left_out} left out: not a file, a folder, or a link to one")
        if transfer.stage is TransferStage.DONE and transfer.unread:
            warn(self._report, f"{transfer.unread} left out: could not be read: {', '.join(transfer.unread_names)}")
