"""Plan a backup: for each disk, a full copy, or the changes since an earlier point. Band: app."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.machine import backup_manifest, disk, snapshot_keeping
from pommel.machine.backup_store import BackupContents
from pommel.machine.backup_taking import DiskCopy, DiskSource
from pommel.paths import MachinePaths

_CANNOT = "changes cannot be recorded: the disk is raw, used in place, golden, or a base of clones"
_UNKNOWN = (
    "the changes since the last backup are unknown: QEMU was killed, the host went down, the disk is new, or a "
    "snapshot was loaded"
)
LONGEST = 60  # points in one chain: to read the last, QEMU opens a file of each of them


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """The copies, and the number of the new point."""

    copies: tuple[DiskCopy, ...]
    number: int


def plan(held: BackupContents, sources: Sequence[DiskSource], *, full: bool, keep: int | None) -> BackupPlan:
    """Choose what is copied of each disk. A full copy has its reason in `why_full`."""
    taken = [int(name.partition("-")[0]) for name in (*held.points, *held.damaged)]
    why = _why_all(held, full, keep)
    return BackupPlan(tuple(_copy(held, each, why) for each in sources), max(taken, default=0) + 1)


def would(paths: MachinePaths, held: BackupContents, full: bool, keep: int | None) -> dict[str, Any]:
    """What `plan` would choose, as far as it is known without opening a disk."""
    from pommel.app.disk import backups

    why, found, still = _why_all(held, full, keep), [], backups.is_still(paths)
    for path in backups.all_there(paths):
        form, names = _bitmaps_in(path)
        live = snapshot_keeping.runs(paths)
        may = form == "qcow2" and not still and not backups.is_foreign(paths, path)
        # The bitmaps of a running machine are in its QEMU's memory, not in the file: only a guess is possible.
        known = any(_parent(held, path.name, names, None)) if not live else held.newest is not None
        increment = not why and may and known
        found.append(
            {
                "disk_file": path.name,
                "full": not increment,
                "why_full": "" if increment else why or ("" if may else _forgetful(form, still)),
            }
        )
    return {"backed_disks": found, "earlier": len(held.points)}


def _why_all(held: BackupContents, full: bool, keep: int | None) -> str:
    if full:
        return "asked for: --full"
    newest = held.newest
    if newest is None:
        return "there is no earlier backup in the folder"
    try:
        deep = backup_manifest.depth(held.points, newest.id)
    except ValueError:
        return ""
    if deep >= min(keep or LONGEST, LONGEST):
        return f"{deep} backups depend on each other, so a new chain begins"
    return ""


def _copy(held: BackupContents, source: DiskSource, why: str) -> DiskCopy:
    if why:
        return DiskCopy(source, why_full=why)
    if not source.remembers:
        return DiskCopy(source, why_full=_CANNOT)
    usable = {name: each for name, each in source.bitmaps.items() if each.usable}
    parent, bitmap = _parent(held, source.slot, list(usable), source.virtual_bytes)
    if parent is not None:
        return DiskCopy(source, parent, bitmap)
    return DiskCopy(source, why_full=_UNKNOWN)


def _parent(
    held: BackupContents, slot: str, names: Sequence[str], virtual_bytes: int | None
) -> tuple[str, str] | tuple[None, None]:
    """The newest point since which the disk has recorded its changes, and the bitmap of these changes.

    All files that the point depends on must be in the folder.
    """
    for point in sorted(held.points.values(), key=lambda each: each.number, reverse=True):
        bitmap = backup_manifest.bitmap_name(_id(held), point.id)
        before = point.disk(slot)
        if bitmap not in names or before is None:
            continue
        # A disk never shrinks, so a smaller one is another disk with the same name.
        if virtual_bytes is not None and virtual_bytes < before.virtual_bytes:
            continue
        if _is_there(held, point.id, slot):
            return point.id, bitmap
    return None, None


def _is_there(held: BackupContents, point: str, slot: str) -> bool:
    """Whether the files exist and have their recorded sizes. A restore checks their hashes, which takes long."""
    try:
        for each in backup_manifest.chain(held.points, point, slot):
            backed = held.points[each].disk(slot)
            if backed is None or (held.path / each / slot).stat().st_size != backed.size_bytes:
                return False
    except (ValueError, OSError):
        return False
    return True


def _id(held: BackupContents) -> str:
    return held.folder.id if held.folder else ""


def _forgetful(form: str, still: bool) -> str:
    if still:
        return "its disks must stay unchanged for its clones, so changes are not recorded"
    return (
        f"a {form} disk cannot record changes"
        if form != "qcow2"
        else "it is used in place, and nothing is recorded in it"
    )


def _bitmaps_in(path: Path) -> tuple[str, list[str]]:
    told = json.loads(disk.qemu_img("info", "--force-share", "--output=json", str(path)))
    about = told.get("format-specific", {}).get("data", {})
    found = [str(each["name"]) for each in about.get("bitmaps", []) if "in-use" not in each["flags"]]
    return str(told["format"]), found
