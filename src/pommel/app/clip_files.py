"""Files that are pushed or pulled once, without a sync: copied now, as a person waits for them. Band: app.

Their copies are kept where a sync of the same guest would keep them, by the same rules: that folder is held no
longer than it takes to copy them, so that a sync may begin.
"""

from __future__ import annotations

from pommel.app.clip_target import Guest
from pommel.app.workspace import Workspace
from pommel.clipboard.carrying import Carrier, Offered, Stage, Transfer
from pommel.clipboard.content import URIS, Content
from pommel.clipboard.engine import Side
from pommel.clipboard.frames import Hello
from pommel.clipboard.guest import caches_of
from pommel.clipboard.sync import PASTE_LIMIT_BYTES
from pommel.errors import PommelError, StateError
from pommel.progress import Progress, Report, ignore, warn


class Files:
    """The files of one push or pull; `last` is what became of them."""

    def __init__(self, workspace: Workspace, guest: Guest, report: Report = ignore) -> None:
        self._guest, self._report = guest, report
        self.last: Transfer | None = None
        self._carrier = Carrier(
            guest.argv(workspace),
            guest.paths.files,
            self._told,
            limit=PASTE_LIMIT_BYTES,
            paste_limit=PASTE_LIMIT_BYTES,
            guest_name=guest.machine or "",
        )

    async def push(self, listed: Content, hello: Hello) -> Content:
        """Copy the files of a list of this host's to the guest; return the list of the copies.

        Raises: StateError, PommelError: the guest's clipboard accepts no files, or they could not be copied.
        """
        self._meet(hello)
        with self._carrier.here.held():
            made = await self._carrier.to_guest(self._known(Side.HOST, listed))
        return made if made is not None else self._refuse()

    async def pull(self, listed: Content, hello: Hello) -> Content:
        """Copy the files of a list of the guest's to this host; return the list of the copies. Raises as `push`."""
        self._meet(hello)
        with self._carrier.here.held():
            offered = await self._carrier.to_host(self._known(Side.GUEST, listed))
            if isinstance(offered, Offered):
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

    def _told(self, transfer: Transfer) -> None:
        self.last = transfer
        step = f"copying files to the {transfer.side.value}"
        if transfer.stage in (Stage.COPYING, Stage.DONE):
            done = transfer.stage is Stage.DONE
            self._report(Progress(step, done=transfer.done, total=transfer.total, unit="B", finished=done))
        if transfer.stage is Stage.DONE and transfer.left_out:
            warn(self._report, f"{transfer.left_out} left out: not a file, a folder, or a link to one")
