"""The process that syncs one guest's clipboard with this desktop's. Band: app.

`serve` runs until it is told to end; `app.clip.sync` starts it in the background. It holds a lock while it lives, takes
orders at its socket, writes its status to a file, and watches whether its machine runs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from pommel import locks
from pommel.app.clip import history
from pommel.app.clip import status as clip_status
from pommel.app.clip.control import listening
from pommel.app.clip.options import HAND_OVER_S, ClipOptions
from pommel.app.clip.status import ClipStatus
from pommel.app.clip.target import Guest
from pommel.app.workspace import Workspace
from pommel.clipboard.content import FORMS
from pommel.clipboard.engine import Side, SyncDirection
from pommel.clipboard.guest import EVERY_MS
from pommel.clipboard.host import HostClipboard, find_desktop, host_clipboard
from pommel.clipboard.sync import BACKOFF_S, Settings, Sync, SyncMoment, SyncState, only_sync
from pommel.errors import AddressError, DeadlineError, PommelError, StateError, UsageError
from pommel.tasks import background, first_of

# A sync that was started with its machine ends this long after the machine stopped, as its console does. A restart is
# quicker.
LINGER_S = 15.0
_LOOK_S = 1.0
_WRITE_S = 0.25  # at most four writes a second: only people read the status
# In the first _BOOT_S after its start, a machine is tried every _EAGER_S, so that the sync begins soon after the login;
# later every _PATIENT_S.
_BOOT_S = 180.0
_EAGER_S, _PATIENT_S = 2.0, 15.0
_ADDRESS_S = 5.0  # between two tries to find the guest's address
# Longer pauses than for other hosts: the start of the machine is noticed by its lock and ends the pause.
_MACHINE_BACKOFF_S = (*BACKOFF_S, 60.0)


async def serve(
    workspace: Workspace,
    guest: Guest,
    options: ClipOptions,
    *,
    on_change: Callable[[ClipStatus], None] = lambda _: None,
) -> str:
    """Sync in this process until an order or the machine's stop ends it; return the reason.

    It can be cancelled at any time: no process and no file is left.

    Raises:
        BusyError: this guest is synced already; the message has the pid.
        StateError: there is no desktop here.
        PommelError: the desktop ended, or a program is missing.
    """
    workspace.mark()
    guest.paths.make()
    with only_sync(guest.paths.lock, guest.label):
        running = _Running(workspace, guest, options, on_change)
        try:
            desktop, selection = find_desktop(workspace.env), options.selection.upper()
            async with host_clipboard(
                desktop, selection=selection, limit=options.limit_bytes, forms=frozenset(FORMS)
            ) as host:
                why = await running.run(host)
        except PommelError as error:
            last_words = ClipStatus(guest.label, why=error.message, hint=error.hint, machine=guest.machine)
            clip_status.keep(guest.paths, last_words)
            raise
        except BaseException:
            clip_status.forget(guest.paths)
            raise
        finally:
            guest.paths.shared.unlink(missing_ok=True)  # a killed ssh leaves its control socket
        clip_status.forget(guest.paths)
        return why


class _Running:
    """A sync with its order socket, its status file and the watch on its machine."""

    def __init__(
        self, workspace: Workspace, guest: Guest, options: ClipOptions, on_change: Callable[[ClipStatus], None]
    ) -> None:
        self._workspace, self._guest, self._options, self._on_change = workspace, guest, options, on_change
        self._sync: Sync | None = None
        self._since = time.time()
        self._alive = self._is_alive()
        self._came, self._end = asyncio.Event(), asyncio.Event()
        # Two events, because each has another reader that clears it: `_writing` and `_hand_over`.
        self._to_write, self._news = asyncio.Event(), asyncio.Event()

    async def run(self, host: HostClipboard) -> str:
        """Run until the end, and return the reason."""
        async with listening(self._guest.paths.socket, self._answer):
            works = [self._syncing(host), self._writing(), self._told_to_end()]
            works += [self._following(self._guest.machine)] if self._guest.machine is not None else []
            return str((await first_of(*works)).first.result())

    async def _told_to_end(self) -> str:
        await self._end.wait()
        return "stopped"

    async def _syncing(self, host: HostClipboard) -> str:
        """Sync; begin again when the machine has started with another port or user."""
        machine = self._guest.machine is not None
        settings = Settings(
            direction=SyncDirection(self._options.direction),
            limit=self._options.limit_bytes,
            history=self._options.history,
            every_ms=self._options.every_ms or EVERY_MS,
            backoff_s=_MACHINE_BACKOFF_S if machine else BACKOFF_S,
            files=self._guest.paths.files,
            guest_name=self._guest.machine or "",
            key_hint=self._guest.key_hint,
        )
        while True:
            argv = await self._argv()
            if argv is None:  # on a bridge, the address of a guest is unknown until it has sent its first packet
                await asyncio.sleep(_ADDRESS_S)
                continue
            self._sync = Sync(argv, host, settings, on_change=self._on_moment)
            async with background(self._sync.run()) as (syncing,):
                while await self._argv() in (argv, None):
                    await self._until_back(syncing)

    async def _argv(self) -> list[str] | None:
        """The ssh command for the guest; None: its address is not known yet, or the machine was deleted."""
        try:
            return await asyncio.to_thread(self._guest.argv, self._workspace, shared=True)
        except StateError as failure:
            machine = self._guest.machine
            gone = machine is not None and not self._workspace.paths(machine).record.exists()
            if gone or isinstance(failure, AddressError):
                return None
            raise

    async def _until_back(self, syncing: asyncio.Task[None]) -> None:
        """Wait until the machine has started again, or until the sync fails. A sync has no other end."""
        self._came.clear()
        async with background(self._came.wait()) as (back,):
            await asyncio.wait((syncing, back), return_when=asyncio.FIRST_COMPLETED)
        if syncing.done():
            syncing.result()

    # --- the machine

    def _is_alive(self) -> bool:
        machine = self._guest.machine
        return machine is None or locks.holder(self._workspace.paths(machine).pidfile) is not None

    async def _following(self, machine: str) -> str:
        """Watch whether the machine runs, and make the sync connect soon after a start."""
        record = self._workspace.paths(machine).record
        came = went = time.monotonic()
        asked = 0.0
        while record.exists():
            await asyncio.sleep(_LOOK_S)
            now, was, self._alive = time.monotonic(), self._alive, self._is_alive()
            if self._alive and not was:
                came, asked = now, 0.0
                self._came.set()
            if self._alive != was:
                self._to_write.set()
            if self._alive:
                went = now
                if now - asked >= (_EAGER_S if now - came < _BOOT_S else _PATIENT_S):
                    asked = now
                    self._ask_again()
            elif self._options.with_machine and now - went >= LINGER_S:
                return f"{machine} has stopped"
        return f"{machine} is gone"

    def _ask_again(self, *, refused_too: bool = False) -> None:
        # Not after a refused key, unless the user asks for it: each try would be another line in the guest's log.
        if self._sync is not None and (refused_too or self._sync.snapshot.state is not SyncState.REFUSED):
            self._sync.connect_now()

    # --- what is told

    def _on_moment(self, _: SyncMoment) -> None:
        self._to_write.set()
        self._news.set()

    def _status(self) -> ClipStatus:
        seen = self._sync.snapshot if self._sync is not None else SyncMoment()
        return clip_status.status_of(seen, self._guest, self._options, alive=self._alive, since=self._since)

    async def _writing(self) -> str:
        told: ClipStatus | None = None
        while True:
            self._to_write.clear()
            status = self._status()
            if status != told:
                told = status
                await asyncio.to_thread(clip_status.keep, self._guest.paths, status)
                self._on_change(status)
            await self._to_write.wait()
            await asyncio.sleep(_WRITE_S)

    # --- orders

    async def _answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        sync = self._sync
        match question.get("do"):
            case "stop":
                self._end.set()
            case "connect":
                self._ask_again(refused_too=True)
            case "push" | "pull" as way if sync is not None:
                return await self._hand_over(sync, Side.HOST if way == "push" else Side.GUEST)
            case "history" if sync is not None:
                return history.answer(sync.history, question.get("entry"))
            case unknown:
                raise UsageError(f"the clipboard process does not know the command {unknown!r}")
        return {"pid": os.getpid()}

    async def _hand_over(self, sync: Sync, source: Side) -> Mapping[str, Any]:
        """Send the content of `source` to the other side, and wait until it has arrived."""
        seen = sync.snapshot
        if seen.state is not SyncState.SYNCING:
            status = self._status()
            raise StateError(f"{self._guest.label}: {status.state}: {status.why}", hint=status.hint)
        sync.give(source)
        if sync.snapshot.last_change == seen.last_change:
            stayed = sync.snapshot.stayed_on_host if source is Side.HOST else sync.snapshot.stayed_on_guest
            if stayed is not None:
                raise StateError(f"the last copy on the {source.value} is not synced: {stayed.value}")
            return {"moved": False, "pid": os.getpid()}
        try:
            async with asyncio.timeout(HAND_OVER_S):
                while _copy_count(sync.snapshot, source.other) == _copy_count(seen, source.other):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise DeadlineError(f"the {source.other.value} did not accept it within {HAND_OVER_S:g} s") from None
        return {"moved": True, "pid": os.getpid()}


def _copy_count(seen: SyncMoment, side: Side) -> int:
    return seen.to_host if side is Side.HOST else seen.to_guest
