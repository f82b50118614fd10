"""A machine's disks: list them, resize, compact, move, add and check them. Band: app."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pommel.app.disk import encryption, trimming
from pommel.app.guest import shell as guest
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError
from pommel.machine import copying, disk, moving, own_disks, resizing, state, usage
from pommel.machine.copying import Compacted
from pommel.machine.disk_choice import wanted_disk
from pommel.machine.exclusive import serialised
from pommel.machine.moving import PlannedMove
from pommel.machine.permission import CHECKED, COMPACTED, DISK_ADDED, DISK_MOVED, RESIZED, must_allow, working_on
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore

MAIN = "main"
# The output of `df -kP` by POSIX: the third column is the used space in KiB. macOS has its system and the user's files
# on two volumes, so both are asked for. The first column is the device, which is counted once on Linux.
_USED = "df -kP / /System/Volumes/Data 2>/dev/null | awk 'NR > 1 && !seen[$1]++ { used += $3 } END { print used }'"


@dataclass(frozen=True, slots=True)
class DiskRow:
    """One disk of a machine: sizes in bytes, whether it has a backing file, the number of its snapshots."""

    name: str
    path: str
    virtual_bytes: int | None
    actual_bytes: int
    linked: bool
    snapshots: int
    advice: str = ""
    file: str = ""  # its path with all symbolic links resolved
    encrypted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The disk as one JSON object."""
        told = asdict(self)
        return told | {"snapshot_count": told.pop("snapshots")}


def listed(name: str, *, ask: bool = False, workspace: Workspace | None = None) -> list[DiskRow]:
    """The disks of machine `name`, its own first. With `ask`, the guest is asked over SSH how much is in use.

    Raises:
        StateError: there is no such machine.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    in_use = _in_use(workspace, name) if ask else None
    found = []
    for called, path in {MAIN: paths.disk, **own_disks.data_disks(paths)}.items():
        use = usage.disk_use(path)
        if use is None:
            raise StateError(f"there is no disk {path}", hint=f"pommel doctor {name}")
        guest_bytes = in_use if called == MAIN else None
        advice = usage.trim_report(use, guest_bytes).advice if use.virtual_bytes else ""
        sizes = (use.virtual_bytes, use.actual_bytes)
        file = os.path.realpath(path)
        found.append(DiskRow(called, str(path), *sizes, use.linked, use.snapshots, advice, file, use.encrypted))
    return found


def _in_use(workspace: Workspace, name: str) -> int | None:
    """The space that the guest's file system uses, in bytes; None: the guest does not answer."""
    if not state.observe(workspace.paths(name)).alive or not guest.ssh_answers(workspace, name):
        return None
    try:
        told = guest.ssh_run(name, _USED, timeout_s=10, workspace=workspace).decode()
        return int(told.split()[-1]) * 1024
    except (PommelError, ValueError, IndexError):
        return None


def resize(name: str, size_bytes: int, *, called: str = MAIN, workspace: Workspace | None = None) -> DiskRow:
    """Make a disk of machine `name` larger; it may run. After that, the guest must grow its own partition.

    Raises:
        StateError: it would become smaller; there is no such disk; it sleeps, or linked clones depend on it.
        BuildError, MachineError: qemu-img or QEMU refuses.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name), working_on(paths, RESIZED):
        resizing.resize(paths, _path(paths, called), size_bytes)
    return next(each for each in listed(name, workspace=workspace) if each.name == called)


def compact(name: str, *, called: str = MAIN, workspace: Workspace | None = None, report: Report = ignore) -> Compacted:
    """Give the host the space that the guest of machine `name` has freed.

    In a running machine, the guest trims its file systems. The disk of a stopped machine is written again.

    Raises:
        StateError: it is paused or sleeps; stopped: the disk has snapshots, or linked clones depend on it; running: its
            QEMU ignores trims, or its guest has no program for it.
        NotPermitted: the SSH user of the guest may not trim.
        BuildError: there is too little room for the copy.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    if trimming.runs(paths):
        return trimming.trim(workspace, paths, _path(paths, called), report=report)
    with encryption.unlocked(workspace, name), working_on(paths, COMPACTED, report=report):
        return copying.compact(_path(paths, called), report=report)


def look_compact(name: str, *, called: str = MAIN, workspace: Workspace | None = None) -> tuple[str, DiskRow]:
    """What `compact` would do now ("rewrite" or "trim") and the disk as it is, without doing it.

    Raises:
        StateError: `compact` would refuse, as far as that is known beforehand.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    path, live = _path(paths, called), trimming.runs(paths)
    if not live:
        must_allow(paths, COMPACTED)
        copying.must_fit(path)
    elif (refusal := trimming.why_not(paths, path)) is not None:
        raise refusal
    found = next(each for each in listed(name, ask=live, workspace=workspace) if each.name == called)
    return "trim" if live else "rewrite", found


def move(
    name: str, path: Path, *, called: str = MAIN, workspace: Workspace | None = None, report: Report = ignore
) -> PlannedMove:
    """Move a disk of the stopped machine `name` to `path`, a folder or a file, perhaps on another drive; or back.

    Raises:
        StateError: it runs, or there is a file already, or no folder.
        NotPermitted, BuildError: the folder cannot be written to, or has too little room.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    _refuse_if_settled(workspace, name, called)
    with encryption.unlocked(workspace, name):
        return moving.move(paths, _path(paths, called), path, report=report)


def look_move(name: str, path: Path, *, called: str = MAIN, workspace: Workspace | None = None) -> PlannedMove:
    """What `move` would do now, without doing it. Raises the errors of `move` that are known beforehand."""
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    _refuse_if_settled(workspace, name, called)
    must_allow(paths, DISK_MOVED)
    return moving.look(paths, _path(paths, called), path)


def _refuse_if_settled(workspace: Workspace, name: str, called: str) -> None:
    said = workspace.spec(name).disk_file
    if called == MAIN and wanted_disk(said).kind in ("path", "upstream"):
        raise StateError(
            f"disk_file says that the disk of {name} is {said}, so it is expected there",
            hint="remove disk_file from pommel.toml: a machine keeps its disk",
        )


def add(name: str, called: str, size_bytes: int, *, workspace: Workspace | None = None) -> DiskRow:
    """Give machine `name` a further disk; a running one sees it when it is next started.

    Raises:
        UsageError: a disk cannot be called so.
        StateError: there is one, or no such machine; or it sleeps.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name), working_on(paths, DISK_ADDED):
        sealed = encryption.must_be_as_recorded(paths).encrypted is not None
        own_disks.add(paths, called, size_bytes, encrypted=sealed)
    return next(each for each in listed(name, workspace=workspace) if each.name == called)


def check(name: str, *, called: str = MAIN, workspace: Workspace | None = None) -> disk.DiskCheck:
    """Look for damage in a disk of the stopped machine `name`; changes nothing.

    Raises:
        StateError: it runs, or there is no such disk.
        BuildError: qemu-img cannot read it.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    # Not `working_on`, which first finishes or undoes interrupted work: a check must not change anything.
    with encryption.unlocked(workspace, name), serialised(paths):
        must_allow(paths, CHECKED)
        return disk.check(_path(paths, called))


def _path(paths: MachinePaths, called: str) -> Path:
    path = paths.disk if called == MAIN else own_disks.data_path(paths, called)
    if not path.exists():
        there = ", ".join([MAIN, *own_disks.data_disks(paths)])
        raise StateError(f"{paths.name} has no disk {called!r}", hint=f"it has {there}")
    return path
