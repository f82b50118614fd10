"""The status of clipboard syncs: their processes write it to files, and other commands read it. Band: app.

The file is beside the sync's lock, is replaced as a whole, and only this user can read it. It has counts and reasons,
never clipboard content or file names. Only the lock says whether a process lives: the file of a killed process is its
last status.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pommel import json_file, locks
from pommel.app.clip.options import ClipOptions
from pommel.app.workspace import Workspace
from pommel.paths import ClipPaths
from pommel.settings import format_size

if TYPE_CHECKING:
    from pommel.app.clip.target import Guest
    from pommel.clipboard.carrying import Transfer
    from pommel.clipboard.sync import SyncMoment

STOPPED = "stopped"
_UNREACHED = "no connection to the guest: "


@dataclass(frozen=True, slots=True)
class ClipStatus:
    """One sync. Times are seconds since 1970, sizes are bytes; a field that does not apply is None or empty.

    `state` is connecting, syncing, guest asleep, refused, or stopped. `guest` is the machine's name or USER@HOST.
    """

    guest: str
    state: str = STOPPED
    why: str = ""
    hint: str | None = None
    pid: int | None = None
    machine: str | None = None
    desktop: str = ""  # "X11 :0 CLIPBOARD"
    kind: str = ""  # of guest: mac or posix
    direction: str = "both"
    limit_bytes: int = 0
    history: int = 0
    with_machine: bool = False
    since: float | None = None
    to_guest: int = 0
    to_host: int = 0
    connections: int = 0
    last_change: float | None = None
    latency_ms: float | None = None
    stayed_on_host: str | None = None
    stayed_on_guest: str | None = None
    transfer: str = ""
    notes: tuple[str, ...] = ()
    key: str = ""  # of ClipPaths
    words: tuple[str, ...] = ()  # its name as arguments of `pommel clip`
    keys: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether the sync's process lives."""
        return self.pid is not None

    def as_dict(self) -> dict[str, Any]:
        """The status as one JSON object."""
        told = {**asdict(self), "running": self.running}
        return told | {"sync_pid": told.pop("pid"), "history_size": told.pop("history")}


def status_of(seen: SyncMoment, guest: Guest, options: ClipOptions, *, alive: bool, since: float) -> ClipStatus:
    """The status of this process's sync; `alive` says whether the guest's machine runs."""
    from pommel.clipboard.sync import SyncState

    state, why, hint = seen.state.value, seen.why, seen.hint
    if not alive and seen.state is not SyncState.SYNCING:
        state, why, hint = SyncState.ASLEEP.value, f"{guest.machine} is not running", f"pommel start {guest.machine}"
    elif guest.machine is not None and seen.state is SyncState.ASLEEP:
        why = f"the guest does not answer SSH (yet): {seen.why.removeprefix(_UNREACHED)}"
    return ClipStatus(
        guest=guest.label,
        state=state,
        why=why,
        hint=hint,
        pid=os.getpid(),
        machine=guest.machine,
        desktop=seen.host,
        kind=seen.guest,
        direction=options.direction,
        limit_bytes=options.limit_bytes,
        history=options.history,
        with_machine=options.with_machine,
        since=since,
        to_guest=seen.to_guest,
        to_host=seen.to_host,
        connections=seen.connections,
        last_change=seen.last_change,
        latency_ms=None if seen.latency_s is None else round(seen.latency_s * 1000, 1),
        stayed_on_host=seen.stayed_on_host.value if seen.stayed_on_host else None,
        stayed_on_guest=seen.stayed_on_guest.value if seen.stayed_on_guest else None,
        transfer=_transfer_text(seen.transfer) if seen.transfer else "",
        notes=seen.notes,
        key=guest.paths.key,
        words=guest.words,
        keys=guest.keys,
    )


def _transfer_text(transfer: Transfer) -> str:
    """A transfer of files in words, without their names."""
    count = f"{transfer.files} files" if transfer.files != 1 else "1 file"
    total = "" if transfer.total is None else f" of {format_size(transfer.total)}"
    left_out = f"; {transfer.left_out} left out" if transfer.left_out else ""
    unread = f"; {transfer.unread} could not be read" if transfer.unread else ""
    why = f": {transfer.why}" if transfer.why else ""
    what = f"{transfer.stage.value}, {count} to the {transfer.side.value}"
    return f"{what}, {format_size(transfer.done)}{total}{left_out}{unread}{why}"


def keep(paths: ClipPaths, status: ClipStatus) -> None:
    """Write a status to its file. An error, such as a full disk, is ignored: the sync goes on without."""
    with contextlib.suppress(OSError):
        json_file.write(paths.record, asdict(status))


def forget(paths: ClipPaths) -> None:
    """Remove the status file, because the sync ended without an error."""
    with contextlib.suppress(OSError):
        paths.record.unlink(missing_ok=True)


def look(paths: ClipPaths, label: str) -> ClipStatus:
    """The present status of a sync."""
    pid, kept = locks.holder(paths.lock), _stored(paths)
    if pid is None:
        return _ended(label, kept)
    if kept is None or kept.pid != pid:
        return ClipStatus(label, state="connecting", pid=pid, key=paths.key)
    return kept


def all_of(workspace: Workspace) -> list[ClipStatus]:
    """All syncs that run, or that ended with a reason."""
    folder = workspace.home.clips
    keys = sorted(path.parent.name for path in folder.glob("*/lock")) if folder.is_dir() else []
    seen = [look(workspace.home.clip(key), key) for key in keys]
    return [status for status in seen if status.running or status.why]


def _ended(label: str, kept: ClipStatus | None) -> ClipStatus:
    if kept is None:
        return ClipStatus(label)
    if kept.pid is not None:
        why, hint = f"its process (pid {kept.pid}) was killed, or the host went down", None
    else:
        why, hint = kept.why, kept.hint
    return ClipStatus(kept.guest, why=why, hint=hint, machine=kept.machine, last_change=kept.last_change)


def _stored(paths: ClipPaths) -> ClipStatus | None:
    """The status in the file; None: there is no file, or it is not a status."""
    return json_file.read_or(paths.record, _made_of, None)


def _made_of(told: dict[str, Any]) -> ClipStatus:
    made: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return ClipStatus(**made)
