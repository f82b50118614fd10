"""What a backup will copy: of each disk the whole, or what has changed since an earlier point. Band: app."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.machine import backup_manifest, disk, snapshot_keeping
from pommel.machine.backup_store import Held
from pommel.machine.backup_taking import Copy, Source
from pommel.paths import MachinePaths

_CANNOT = "changes cannot be recorded: the disk is raw, used in place, golden, or a base of clones"
_UNKNOWN = (
    "the changes since the last backup are unknown: QEMU was killed, the host went down, the disk is new, or a "
    "snapshot was loaded"
)
LONGEST = 60  # points that lie over each other: QEMU opens each of them to read the last


@dataclass(frozen=True, slots=True)
class Planned:
    """The copies, and the number of the point that they make."""

    copies: tuple[Copy, ...]
    number: int


def plan(held: Held, sources: Sequence[Source], *, full: bool, keep: int | None) -> Planned:
    """Choose for each disk what is copied; why all of it, where less might have been expected, is said."""
    taken = [int(name.partition("-")[0]) for name in (*held.points, *held.damaged)]
    why = _why_all(held, full, keep)
    return Planned(tuple(_copy(held, each, why) for each in sources), max(taken, default=0) + 1)


def would(paths: MachinePaths, held: Held, full: bool, keep: int | None) -> dict[str, Any]:
    """What `plan` would choose, as far as can be seen without opening a disk."""
    from pommel.app import backups

    why, found, still = _why_all(held, full, keep), [], backups.is_still(paths)
    for path in backups.all_there(paths):
        form, names = _bitmaps_in(path)
        live = snapshot_keeping.runs(paths)
        may = form == "qcow2" and not still and not backups.is_foreign(paths, path)
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


def _why_all(held: Held, full: bool, keep: int | None) -> str:
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


def _copy(held: Held, source: Source, why: str) -> Copy:
    if why:
        return Copy(source, why_full=why)
    if not source.remembers:
        return Copy(source, why_full=_CANNOT)
    usable = {name: each for name, each in source.bitmaps.items() if each.usable}
    parent, bitmap = _parent(held, source.slot, list(usable), source.virtual_bytes)
    if parent is not None:
        return Copy(source, parent, bitmap)
    return Copy(source, why_full=_UNKNOWN)


def _parent(
    held: Held, slot: str, names: Sequence[str], virtual_bytes: int | None
) -> tuple[str, str] | tuple[None, None]:
    """The newest point that a disk knows what has changed since, and its bitmap; all that it needs must be there."""
    for point in sorted(held.points.values(), key=lambda each: each.number, reverse=True):
        bitmap = backup_manifest.bitmap_name(_id(held), point.id)
        before = point.disk(slot)
        if bitmap not in names or before is None:
            continue
        if virtual_bytes is not None and virtual_bytes < before.virtual_bytes:
            continue
        if _is_there(held, point.id, slot):
            return point.id, bitmap
    return None, None


def _is_there(held: Held, point: str, slot: str) -> bool:
    """Whether the files are there, as long as they were; their hashes are for a restore to look at."""
    try:
        for each in backup_manifest.chain(held.points, point, slot):
            backed = held.points[each].disk(slot)
            if backed is None or (held.path / each / slot).stat().st_size != backed.size_bytes:
                return False
    except (ValueError, OSError):
        return False
    return True


def _id(held: Held) -> str:
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
