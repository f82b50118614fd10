"""Snapshots of a machine: save, load, list, delete; each completely or not at all, even after a kill -9. Band: shell.

A snapshot is an internal snapshot in each of the machine's disks, a copy of the NVRAM, and a record of the disks.
Of a running machine it contains the guest's RAM as well, if possible. `recover` repairs what a killed process left;
every call here begins with it, and a start must begin with it too.

To load a snapshot with RAM into a stopped machine, with its lock held throughout: `load`, start QEMU with
`LoadedSnapshot.start_args` added, `resume`. If any of this fails, or never happens: stop QEMU, and `recover` restores
the state before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pommel.errors import StateError
from pommel.machine import snapshot_store
from pommel.machine.permission import SAVED, SNAPSHOT_DELETED, working_on
from pommel.machine.snapshot_keeping import drop, keep, own_files
from pommel.machine.snapshot_loading import LoadedSnapshot, load, recover, resume
from pommel.machine.snapshot_record import Snapshot, check_tag
from pommel.machine.snapshot_saving import SnapshotWish
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

__all__ = ["LoadedSnapshot", "Snapshot", "delete", "list_snapshots", "load", "recover", "resume", "save", "save_as"]


def save(
    paths: MachinePaths,
    tag: str,
    *,
    disks: Sequence[Path] | None = None,
    live: bool | None = None,
    report: Report = ignore,
) -> Snapshot:
    """Save `disks` (default: all disks of the machine) and NVRAM as `tag`; of a running machine, RAM too.

    `live`: RAM must be in it (True), must not (False), or is in it if possible (None; the record's `note` is then the
    reason why it is not). Without RAM the disks of a running machine are saved as a power failure would leave them.

    Raises:
        UsageError: the name is not valid.
        StateError: the snapshot already exists; a disk cannot have snapshots; RAM of a stopped machine is requested.
        BusyError: another process works on the machine.
        BuildError, MachineError: there is not enough space, or qemu-img or QEMU refuses.
    """
    return save_as(paths, check_tag(tag), disks=disks, live=live, report=report)


def save_as(
    paths: MachinePaths,
    tag: str,
    *,
    disks: Sequence[Path] | None = None,
    live: bool | None = None,
    note: str = "",
    report: Report = ignore,
) -> Snapshot:
    """Save as `save` does, under any tag, also one that Pommel reserves; `note` is the reason."""
    with working_on(paths, SAVED, report=report):
        return keep(paths, tag, SnapshotWish(tuple(disks or own_files(paths)), live, note), report)


def list_snapshots(paths: MachinePaths) -> list[Snapshot]:
    """The machine's snapshots, oldest first.

    Raises:
        MachineError: a record cannot be used.
    """
    found = [snapshot_store.read(paths, tag) for tag in snapshot_store.tags(paths)]
    return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.tag))


def delete(paths: MachinePaths, tag: str, *, report: Report = ignore) -> None:
    """Delete snapshot `tag`; the machine may run.

    Raises:
        StateError: there is no such snapshot.
        BusyError: another process works on the machine.
        BuildError, MachineError: qemu-img or QEMU refuses.
    """
    with working_on(paths, SNAPSHOT_DELETED, report=report):
        if tag not in snapshot_store.tags(paths):
            raise StateError(f"{paths.name} has no snapshot {tag}", hint=f"pommel snapshot list {paths.name}")
        drop(paths, tag)
    report(Progress("snapshot", f"{tag} is deleted", finished=True))
