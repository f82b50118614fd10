"""Snapshots of a machine: save, load, list, delete; all or nothing over a kill -9. Band: shell.

A snapshot is an internal snapshot in each of the machine's disks, a copy of the NVRAM, and a record that says which.
Of a running machine it holds the guest's RAM as well, where nothing forbids that. Whatever a killed process left is
put right by `recover`, which every call here begins with, and which a start must begin with too.

To load a snapshot with RAM into a stopped machine, with its lock held throughout: `load`, start QEMU with
`Loaded.start_args` added, `resume`. Should any of that fail, or never happen: stop QEMU, and `recover` puts back what
was there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pommel.errors import StateError
from pommel.machine import snapshot_store
from pommel.machine.permission import SAVED, SNAPSHOT_DELETED, working_on
from pommel.machine.snapshot_keeping import drop, keep, own_files
from pommel.machine.snapshot_loading import Loaded, load, recover, resume
from pommel.machine.snapshot_record import Snapshot, check_tag
from pommel.machine.snapshot_saving import Wanted
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

__all__ = ["Loaded", "Snapshot", "delete", "list_snapshots", "load", "recover", "resume", "save", "save_as"]


def save(
    paths: MachinePaths,
    tag: str,
    *,
    disks: Sequence[Path] | None = None,
    live: bool | None = None,
    report: Report = ignore,
) -> Snapshot:
    """Save `disks` (default: all that the machine has) and NVRAM as `tag`; of a running machine, RAM too.

    `live` says whether RAM must be in it (True), must not (False), or is where nothing forbids it (None; the record's
    `note` then says what did). Without RAM the disks of a running machine are saved as a power cut would leave them.

    Raises:
        UsageError: it cannot be called so.
        StateError: there is one called so; a disk cannot hold snapshots; RAM is asked of a stopped machine.
        BusyError: somebody else is at work on the machine.
        BuildError, MachineError: there is too little room, or qemu-img or QEMU refuses.
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
    """Save as `save` does, under any tag, those that Pommel keeps for itself among them; `note` says what for."""
    with working_on(paths, SAVED, report=report):
        return keep(paths, tag, Wanted(tuple(disks or own_files(paths)), live, note), report)


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
        BusyError: somebody else is at work on the machine.
        BuildError, MachineError: qemu-img or QEMU refuses.
    """
    with working_on(paths, SNAPSHOT_DELETED, report=report):
        if tag not in snapshot_store.tags(paths):
            raise StateError(f"{paths.name} has no snapshot {tag}", hint=f"pommel snapshot list {paths.name}")
        drop(paths, tag)
    report(Progress("snapshot", f"{tag} is deleted", finished=True))
