"""Reads a point: checks each file against the manifest, and opens a disk with its chain. Band: shell.

Somebody else may have used a drive with backups. So the backing file that an image names is compared with the manifest
and never followed: QEMU gets each file of a chain explicitly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import texts
from pommel.errors import BuildError
from pommel.machine import backup_manifest, backup_store, disk
from pommel.machine.backup_manifest import BackedDisk, BackedFile, BackupPoint
from pommel.progress import Progress, Report, ignore


@dataclass(frozen=True, slots=True)
class Verified:
    """The files that were read for a point, its own and those of its chain: their number, and their size in bytes."""

    files: int
    bytes: int


def verify(folder: Path, points: Mapping[str, BackupPoint], wanted: str, *, report: Report = ignore) -> Verified:
    """Read all files that the point `wanted` needs, and compare them with the manifests.

    Raises:
        BuildError: a file is missing or has changed; the message names it.
    """
    files = [(wanted, each.name, each.size_bytes, each.sha256) for each in points[wanted].files]
    for slot in (each.slot for each in points[wanted].disks):
        for link in _chain(points, wanted, slot):
            backed = _disk(points, link, slot)
            files.append((link, slot, backed.size_bytes, backed.sha256))
            _must_lie_right(folder, link, backed)
    total, done = sum(each[2] for each in files), [0]

    def tell(count: int) -> None:
        done[0] += count
        report(Progress("verify", f"reading {wanted}", done[0], max(total, 1), "B"))

    for point, name, size, summed in files:
        path = folder / point / name
        if not path.is_file() or path.is_symlink():
            raise _damaged(folder, point, name, "is missing")
        if path.stat().st_size != size:
            raise _damaged(folder, point, name, f"has {path.stat().st_size} bytes instead of {size}")
        if backup_store.digest(path, tell) != summed:
            raise _damaged(folder, point, name, "has changed since it was written")
    report(Progress("verify", f"{wanted} is unchanged since the backup", finished=True))
    return Verified(len(files), total)


def image(folder: Path, points: Mapping[str, BackupPoint], point: str, slot: str) -> str:
    """The disk `slot` of a point with its whole chain, as QEMU's `json:` name of one image."""
    told: dict[str, Any] | None = None
    for link in _chain(points, point, slot):
        file = {"driver": "file", "filename": str(folder / link / slot)}
        told = {"driver": "qcow2", "read-only": True, "file": file, "backing": told}
    return f"json:{json.dumps(told)}"


def small(folder: Path, point: str, backed: BackedFile) -> bytes:
    """One small file of a point, unchanged.

    Raises:
        BuildError: it has changed.
    """
    path = folder / point / backed.name
    data = texts.read_bytes(path, error=BuildError, most=max(backed.size_bytes, 1))
    if hashlib.sha256(data).hexdigest() != backed.sha256:
        raise _damaged(folder, point, backed.name, "has changed since it was written")
    return data


def takes_bytes(folder: Path, points: Mapping[str, BackupPoint], point: str, slot: str) -> int:
    """An upper limit for the size of the disk once it is written as one file."""
    return min(
        sum(_disk(points, link, slot).size_bytes for link in _chain(points, point, slot)),
        _disk(points, point, slot).virtual_bytes + (64 << 20),
    )


def _must_lie_right(folder: Path, point: str, backed: BackedDisk) -> None:
    path = folder / point / backed.slot
    wanted = f"../{backed.parent}/{backed.slot}" if backed.parent else None
    try:
        header = disk.header(path)
    except FileNotFoundError:
        raise _damaged(folder, point, backed.slot, "is missing") from None
    except (OSError, ValueError) as failure:
        raise _damaged(folder, point, backed.slot, f"cannot be read: {failure}") from failure
    if header.external_data or header.backing != wanted or header.virtual_bytes != backed.virtual_bytes:
        raise _damaged(folder, point, backed.slot, "is not the image that its manifest describes")


def _chain(points: Mapping[str, BackupPoint], point: str, slot: str) -> list[str]:
    try:
        return backup_manifest.chain(points, point, slot)
    except ValueError as broken:
        raise BuildError(
            f"the backup {point} cannot be read: {broken}", hint="choose another backup with --at; to list them: --list"
        ) from broken


def _disk(points: Mapping[str, BackupPoint], point: str, slot: str) -> BackedDisk:
    backed = points[point].disk(slot)
    if backed is None:
        raise BuildError(f"the backup {point} has no disk {slot}")
    return backed


def _damaged(folder: Path, point: str, name: str, what: str) -> BuildError:
    return BuildError(
        f"{folder / point / name} {what}: the backups that need it cannot be restored",
        hint="choose an earlier backup with --at; to list them: --list",
    )
