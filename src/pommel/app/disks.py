"""A machine's disks: how large, how full, larger, smaller on the host, more of them. Band: app."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pommel.app import encryption, guest, trimming
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
# df by POSIX: the third column is what is used, in KiB. A Mac's own files are on its data volume, beside the system's.
_USED = "df -kP / /System/Volumes/Data 2>/dev/null | awk 'NR > 1 && !seen[$1]++ { used += $3 } END { print used }'"


@dataclass(frozen=True, slots=True)
class Listed:
    """One disk of a machine: sizes in bytes, what it lies over, how many snapshots it holds."""

    name: str
    path: str
    virtual_bytes: int | None
    actual_bytes: int
    linked: bool
    snapshots: int
    advice: str = ""
    file: str = ""  # where it lies, links followed
    encrypted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The disk as one JSON object."""
        told = asdict(self)
        return told | {"snapshot_count": told.pop("snapshots")}


def listed(name: str, *, ask: bool = False, workspace: Workspace | None = None) -> list[Listed]:
    """The disks of machine `name`, its own first. With `ask`, a guest that answers SSH says how much of it is in use.

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
        found.append(Listed(called, str(path), *sizes, use.linked, use.snapshots, advice, file, use.encrypted))
    return found


def _in_use(workspace: Workspace, name: str) -> int | None:
    """What the guest's own file system says it uses, in bytes; None where nobody answers."""
    if not state.observe(workspace.paths(name)).alive or not guest.ssh_answers(workspace, name):
        return None
    try:
        told = guest.ssh_run(name, _USED, timeout_s=10, workspace=workspace).decode()
        return int(told.split()[-1]) * 1024
    except (PommelError, ValueError, IndexError):
        return None


def resize(name: str, size_bytes: int, *, called: str = MAIN, workspace: Workspace | None = None) -> Listed:
    """Make a disk of machine `name` larger; it may run. The guest must then grow its own partition.

    Raises:
        StateError: it would become smaller; there is no such disk; it sleeps, or linked clones lie over it.
        BuildError, MachineError: qemu-img or QEMU refuses.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name), working_on(paths, RESIZED):
        resizing.resize(paths, _path(paths, called), size_bytes)
    return next(each for each in listed(name, workspace=workspace) if each.name == called)


def compact(name: str, *, called: str = MAIN, workspace: Workspace | None = None, report: Report = ignore) -> Compacted:
    """Give back what the guest of machine `name` has freed: by its own trim while it runs, else by writing a disk anew.

    Raises:
        StateError: it is held or sleeps; of a stopped one, the disk holds snapshots, or linked clones lie over it; of a
            running one, its QEMU keeps what is trimmed, or its guest has nothing to call.
        NotPermitted: who we are in the guest may not trim.
        BuildError: there is too little room for the copy.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    if trimming.runs(paths):
        return trimming.trim(workspace, paths, _path(paths, called), report=report)
    with encryption.unlocked(workspace, name), working_on(paths, COMPACTED, report=report):
        return copying.compact(_path(paths, called), report=report)


def look_compact(name: str, *, called: str = MAIN, workspace: Workspace | None = None) -> tuple[str, Listed]:
    """What `compact` would do now ("rewrite" or "trim"), and how the disk is, without doing any of it.

    Raises:
        StateError: it would refuse, as far as can be known beforehand.
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
    """What `move` would do now, without doing any of it. Raises as `move` does, as far as can be known beforehand."""
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


def add(name: str, called: str, size_bytes: int, *, workspace: Workspace | None = None) -> Listed:
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


def check(name: str, *, called: str = MAIN, workspace: Workspace | None = None) -> disk.Checked:
    """Look for damage in a disk of the stopped machine `name`; changes nothing.

    Raises:
        StateError: it runs, or there is no such disk.
        BuildError: qemu-img cannot read it.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    # Whatever is to be put right in it, this puts nothing right.
    with encryption.unlocked(workspace, name), serialised(paths):
        must_allow(paths, CHECKED)
        return disk.check(_path(paths, called))


def _path(paths: MachinePaths, called: str) -> Path:
    path = paths.disk if called == MAIN else own_disks.data_path(paths, called)
    if not path.exists():
        there = ", ".join([MAIN, *own_disks.data_disks(paths)])
        raise StateError(f"{paths.name} has no disk {called!r}", hint=f"it has {there}")
    return path
