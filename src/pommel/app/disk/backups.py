"""Backups of a machine, running or not: a full one first, then the changes. Band: app.

Only the target folder says which backups exist. The machine's disks record the changes since a backup in a bitmap,
whose name contains the folder's id and the backup's id. So nothing has to be repaired after a kill: a point gets its
name only when it is complete, and the next backup removes incomplete points and bitmaps without a point.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pommel import json_file
from pommel.app.disk.backup_plan import BackupPlan, plan, would
from pommel.app.workspace import Workspace
from pommel.errors import BuildError, PommelError, UsageError
from pommel.host import qemu_binary
from pommel.machine import (
    backup_engine,
    backup_manifest,
    backup_store,
    backup_taking,
    cloning,
    disk,
    moved,
    own_disks,
    permission,
    qmp,
    record,
    snapshot_keeping,
    snapshot_live,
    snapshot_store,
    state,
)
from pommel.machine.backup_engine import OpenedDisk
from pommel.machine.backup_manifest import BackedDisk, BackupPoint
from pommel.machine.backup_store import BackupContents
from pommel.machine.backup_taking import DiskCopy, DiskSource
from pommel.machine.events import note_event
from pommel.machine.permission import BACKED_UP, working_on
from pommel.machine.snapshot_record import SLEEP_TAG
from pommel.paths import MachinePaths, write_atomic
from pommel.progress import Progress, Report, ignore, note, warn

NOTES = "backups.json"  # in the machine's folder: where its last backups went
_OLD_DAYS = 30
_OTHERS_KEPT = 2  # other target folders for which the disks go on recording changes: each bitmap takes RAM in QEMU
_CRASH = "the state after a power cut: macOS has no agent that could write its unsaved data to disk first"


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made; `swept` are incomplete points that were deleted, `removed` old ones (`keep`)."""

    path: Path
    point: BackupPoint
    swept: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The backup as one JSON object."""
        return {
            **point_as_dict(self.point),
            "path": str(self.path),
            "swept_points": list(self.swept),
            "removed_points": list(self.removed),
        }


def point_as_dict(point: BackupPoint) -> dict[str, Any]:
    """A point as one JSON object."""
    return {
        "point": point.id,
        "name": point.machine,
        "created": point.created,
        "state": point.state,
        "full": point.full,
        "size_bytes": point.size_bytes,
        "backed_disks": [
            {
                "disk_file": each.slot,
                "parent": each.parent,
                "size_bytes": each.size_bytes,
                "virtual_bytes": each.virtual_bytes,
                "why_full": each.why_full,
            }
            for each in point.disks
        ],
        "notes": list(point.notes),
    }


def backup(
    name: str,
    target: Path | None = None,
    *,
    full: bool = False,
    keep: int | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> BackedUp:
    """Back machine `name` up to the folder `target` (None: the folder of the last backup). A running one goes on.

    At least the newest `keep` backups stay; an older one is deleted when no newer one depends on it.

    Raises:
        StateError: there is no such machine or folder, the folder holds another machine's backups, or a disk is gone.
        BusyError: another command works on the machine, or in the folder.
        BuildError: there is too little room, or a file that was read back differs from what was written.
        MachineError: QEMU cannot copy a disk. Earlier backups are as they were.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    path = folder_of(workspace, paths, target)
    if keep is not None and keep < 1:
        raise UsageError("--keep takes a number from 1 up")
    with working_on(paths, BACKED_UP, report=report), backup_store.locked(path):
        kept = record.load(paths.record)
        swept = tuple(backup_store.sweep(path))
        for half in swept:
            note(report, f"an incomplete backup is removed: {half}")
        held = backup_store.begin(path, name, kept.uuid)
        for bad, why in held.damaged.items():
            warn(report, f"the backup {bad} cannot be used: {why}")
        with _opened(workspace, paths, report) as (socket, sources, notes):
            planned = plan(held, sources, full=full, keep=keep)
            point = _make(workspace, paths, held, planned, socket, notes, report)
            _forget_older(socket, planned.copies, held, point, report)
    held = backup_store.look(path)
    removed = _thin(held, keep, report)
    _note(paths, held, point, path)
    note_event(paths, "backed up", f"{point.id} in {path}")
    return BackedUp(path / point.id, point, swept, removed)


def dry_run(
    name: str, target: Path | None = None, *, full: bool = False, keep: int | None = None, workspace: Workspace
) -> dict[str, Any]:
    """What `backup` would do, without doing it. Raises the errors of `backup` that are known beforehand."""
    paths = workspace.made(name)
    path = folder_of(workspace, paths, target)
    permission.must_allow(paths, BACKED_UP)
    return {"name": name, "dry_run": True, "path": str(path), **would(paths, backup_store.look(path), full, keep)}


def folder_of(workspace: Workspace, paths: MachinePaths, target: Path | None) -> Path:
    """The folder of a machine's backups in `target`, or the folder of the last backup.

    Raises:
        UsageError: no target is given, and there is no earlier backup.
        StateError, NotPermitted: the folder cannot be used.
    """
    if target is None:
        last = max(known(paths).values(), key=lambda each: str(each["created"]), default=None)
        if last is None:
            raise UsageError("where to?", hint=f"give a folder: pommel backup {paths.name} /media/you/drive")
        target = Path(str(last["path"])).parent
    return backup_store.target_folder(target, workspace.home.root) / paths.name


def known(paths: MachinePaths) -> dict[str, dict[str, Any]]:
    """The folders of the machine's last backups, by folder id: `path`, `point`, `created`. Empty: none is known."""
    wanted = ("path", "point", "created")
    return json_file.read_or(
        paths.directory / NOTES,
        lambda found: {str(key): {each: str(value[each]) for each in wanted} for key, value in found.items()},
        {},
    )


def listed(paths: MachinePaths) -> list[dict[str, Any]]:
    """The folders of the machine's last backups, the newest first, as JSON objects."""
    return sorted(known(paths).values(), key=lambda each: str(each["created"]), reverse=True)


def checks(paths: MachinePaths) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """For the doctor: how old the last backup is. Nothing for a machine without backups."""
    for each in listed(paths)[:1]:
        with contextlib.suppress(ValueError):
            old = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(each["created"])
            text = f"the last one is {each['point']} in {each['path']}, {old.days} days ago"
            again = f"pommel backup {paths.name}"
            yield "backup", "warn" if old.days > _OLD_DAYS else "ok", text, again


@contextlib.contextmanager
def _opened(
    workspace: Workspace, paths: MachinePaths, report: Report
) -> Iterator[tuple[Path, list[DiskSource], list[str]]]:
    """Yield a QMP socket, the disks and the notes on what the backup lacks.

    The QEMU behind the socket is the machine's own if it runs, and else one that is started without a guest.
    """
    kept = record.load(paths.record)
    forms = {paths.disk.name: kept.disk_format or "qcow2"}
    own = all_there(paths)
    notes = _left_out(paths, own)
    if snapshot_keeping.runs(paths):
        files = snapshot_keeping.own_files(paths)
        notes += [f"{each.name} was added after the machine was started" for each in own if each not in files]
        nodes = qmp.run(_nodes(paths, files))
        disks = [
            (each.name, each, forms.get(each.name, "qcow2"), node, not is_foreign(paths, each))
            for each, node in zip(files, nodes, strict=True)
        ]
        yield paths.qmp, backup_taking.sources(paths.qmp, disks), [*notes, _CRASH]
        return
    still = is_still(paths)
    asked = workspace.spec(paths.name).qemu
    qemu = str(qemu_binary.installed(asked if asked is None or "/" in asked else None))
    opened = [
        OpenedDisk(Path(os.path.realpath(each)), forms.get(each.name, "qcow2"), still or is_foreign(paths, each))
        for each in own
    ]
    report(Progress("backup", f"{paths.name} is stopped: its disks are opened by a QEMU without a guest"))
    with backup_engine.engine(paths, qemu, opened) as socket:
        disks = [
            (
                each.name,
                opened[number].path,
                opened[number].format,
                backup_engine.node(number),
                not opened[number].read_only,
            )
            for number, each in enumerate(own)
        ]
        yield socket, backup_taking.sources(socket, disks), notes


def all_there(paths: MachinePaths) -> list[Path]:
    """The paths of all disks of the machine, after a check that each file exists.

    Raises:
        BuildError: one does not exist.
    """
    own = own_disks.all_disks(paths)
    for each in own:
        if not each.exists():
            there = os.path.realpath(each)
            raise BuildError(
                f"the disk {there} does not exist", hint="mount the drive that it is on, or put the file back"
            )
    return own


def is_foreign(paths: MachinePaths, path: Path) -> bool:
    """Whether a disk is used in place, so that only the guest may write to it: Pommel stores no bitmaps in it."""
    there = Path(os.path.realpath(path))
    return path.is_symlink() and there not in [
        Path(os.path.realpath(each)) for each in moved.own_files(paths.directory)
    ]


def is_still(paths: MachinePaths) -> bool:
    """Whether the machine's disks must not change, because linked clones use them as their base."""
    return record.load(paths.record).golden or bool(cloning.linked_clones(paths.directory.parent, paths.name))


def _left_out(paths: MachinePaths, own: Sequence[Path]) -> list[str]:
    """The parts of the machine that are not in a backup, one line each."""
    found = []
    if tags := [tag for tag in snapshot_store.tags(paths) if tag != SLEEP_TAG]:
        found.append(f"its snapshots are not in the backup ({', '.join(sorted(tags))})")
    if permission.sleeps(paths):
        found.append("it sleeps: its saved memory is not in the backup, so the restored machine boots")
    found += [f"{each.name} is used in place ({os.path.realpath(each)})" for each in own if is_foreign(paths, each)]
    upstream = record.load(paths.record).upstream
    if "/" in upstream or upstream.startswith("."):
        found.append(f"its upstream is a folder of your own ({upstream}), which is not in the backup")
    return found


async def _nodes(paths: MachinePaths, files: Sequence[Path]) -> list[str]:
    async with snapshot_live.monitor_of(paths) as monitor:
        return (await snapshot_live.drives(monitor, files, paths.nvram)).nodes


def _make(
    workspace: Workspace,
    paths: MachinePaths,
    held: BackupContents,
    planned: BackupPlan,
    socket: Path,
    notes: Sequence[str],
    report: Report,
) -> BackupPoint:
    folder = held.folder
    if folder is None:
        raise BuildError(f"{held.path} has lost {backup_store.FOLDER}")
    now = datetime.datetime.now(datetime.UTC)
    ident = backup_manifest.point_id(planned.number, now.strftime("%Y%m%dT%H%M%SZ"))
    bitmap = backup_manifest.bitmap_name(folder.id, ident)
    for each in planned.copies:
        how = f"what has changed since {each.parent}" if each.parent else "all of it"
        note(report, f"{each.source.slot}: {how}" + (f"; {each.why_full}" if each.why_full else ""))
    backup_store.check_room(held.path, sum(each.room_bytes() for each in planned.copies))
    # All is written into a folder under another name, which gets its own name at the end: a point is complete or
    # absent.
    with backup_store.making(held.path, ident) as aside:
        seen = state.observe(paths).state.value if snapshot_keeping.runs(paths) else "stopped"
        nvram = backup_taking.take(socket, planned.copies, aside, bitmap, lambda: _bytes(paths.nvram), report)
        files = {**_files(workspace, paths), **({paths.nvram.name: nvram} if nvram is not None else {})}
        backed = [backup_store.write(aside, name, data) for name, data in sorted(files.items())]
        point = BackupPoint(
            id=ident,
            number=planned.number,
            machine=paths.name,
            uuid=record.load(paths.record).uuid,
            created=now.isoformat(timespec="seconds"),
            state="asleep" if permission.sleeps(paths) else seen,
            disks=tuple(_verified(aside, each, report) for each in planned.copies),
            files=tuple(backed),
            settings=_settings(workspace, paths.name),
            notes=tuple(notes),
        )
        write_atomic(aside / backup_manifest.NAME, backup_manifest.render(point))
    report(Progress("backup", f"{ident} is complete", finished=True))
    return point


def _verified(aside: Path, copy: DiskCopy, report: Report) -> BackedDisk:
    """Check that a copy is a sound image, and read it back for its hash."""
    path = aside / copy.source.slot
    found = disk.check(path)
    if not found.sound:
        raise BuildError(f"the copy of {path.name} is damaged: {found.detail}", hint="check the target's drive")
    size, done = path.stat().st_size, [0]

    def tell(count: int) -> None:
        done[0] += count
        report(Progress("verify", f"reading {path.name} back", done[0], max(size, 1), "B"))

    summed = backup_store.digest(path, tell)
    report(Progress("verify", f"{path.name} is sound", finished=True))
    return BackedDisk(path.name, copy.source.virtual_bytes, size, summed, copy.parent, copy.why_full)


def _files(workspace: Workspace, paths: MachinePaths) -> dict[str, bytes]:
    """The machine's small files that are in a backup, without the NVRAM."""
    found = {}
    for name in backup_manifest.FILES:
        if name != paths.nvram.name and (data := _bytes(paths.directory / name)) is not None:
            found[name] = data
    said = workspace.spec(paths.name).boot_disk
    data = _bytes(workspace.beside(paths.name, said)) if said is not None else None
    if data is not None:
        found.setdefault("OpenCore.qcow2", data)
    return found


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _settings(workspace: Workspace, name: str) -> Mapping[str, Any]:
    said = dict(workspace.file_of(name).machines.get(name, {}))
    plain: dict[str, Any] = json.loads(json.dumps(said, default=str))
    return plain


def _forget_older(
    socket: Path, copies: Sequence[DiskCopy], held: BackupContents, point: BackupPoint, report: Report
) -> None:
    """Keep the bitmaps of this point and of the last point in each of the other recent folders; delete all others."""
    folder = held.folder.id if held.folder else ""
    others: dict[str, str] = {}
    for copy in copies:
        for name in copy.source.bitmaps:
            target, of = backup_manifest.bitmap_parts(name) or ("", "")
            if target and target != folder:
                others[target] = max(others.get(target, ""), of)
    lately = sorted(others.items(), key=lambda each: each[1].partition("-")[2], reverse=True)[:_OTHERS_KEPT]
    kept = [backup_manifest.bitmap_name(folder, point.id)]
    kept += [backup_manifest.bitmap_name(target, of) for target, of in lately]
    try:
        backup_taking.settle(socket, copies, kept)
    except PommelError as failure:
        warn(report, f"the backup is complete; the next one may be a full backup: {failure.message}")


def _thin(held: BackupContents, keep: int | None, report: Report) -> tuple[str, ...]:
    if keep is None:
        return ()
    gone = []
    for doomed in backup_manifest.may_go(list(held.points.values()), keep):
        backup_store.remove(held.path, doomed)
        gone.append(doomed)
        note(report, f"removed, because {keep} newer ones are kept: {doomed}")
    return tuple(gone)


def _note(paths: MachinePaths, held: BackupContents, point: BackupPoint, path: Path) -> None:
    """Record the folder of the backup. If that cannot be written, the backup is good nevertheless."""
    if held.folder is None:
        return
    told = {**known(paths), held.folder.id: {"path": str(path), "point": point.id, "created": point.created}}
    newest = dict(sorted(told.items(), key=lambda each: str(each[1]["created"]), reverse=True)[: _OTHERS_KEPT + 1])
    with contextlib.suppress(OSError):
        json_file.write(paths.directory / NOTES, newest, indent=2)
