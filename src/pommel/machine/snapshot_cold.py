"""Snapshots in the disks of a stopped machine, with qemu-img. Band: shell.

Each of these changes all disks or none, as long as this process lives; `snapshots` handles the other cases.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pommel.errors import PommelError, StateError
from pommel.machine import backup_bitmaps, disk

_LONG_S = 3600.0


def save(disks: Sequence[Path], tag: str) -> None:
    """Make the internal snapshot `tag` in every disk.

    Raises:
        StateError: a disk does not exist, is not qcow2, or already has a `tag`.
        BuildError: qemu-img fails.
    """
    for path in disks:
        refuse(path, tag)
    try:
        for path in disks:
            disk.qemu_img("snapshot", "-c", tag, disk.image(path), timeout_s=_LONG_S)
    except BaseException:  # for Ctrl-C too
        with contextlib.suppress(PommelError):
            delete(disks, tag)
        raise


def apply(disks: Sequence[Path], tag: str) -> None:
    """Restore every disk from its internal snapshot `tag`.

    Raises:
        BuildError: qemu-img fails; some disks may be restored and others not.
    """
    for path in disks:
        backup_bitmaps.drop_cold(path)
        disk.qemu_img("snapshot", "-a", tag, disk.image(path), timeout_s=_LONG_S)


def delete(disks: Sequence[Path], tag: str) -> None:
    """Delete the internal snapshot `tag` from every disk that has it.

    Raises:
        BuildError: qemu-img fails.
    """
    for path in disks:
        if path.exists() and tag in disk.snapshot_tags(path):
            disk.qemu_img("snapshot", "-d", tag, disk.image(path), timeout_s=_LONG_S)


def mend(disks: Sequence[Path]) -> None:
    """Repair what a killed qemu-img or QEMU left incomplete in the disks that can have snapshots.

    Raises:
        BuildError: one has other damage, or is in use.
    """
    for path in disks:
        if _is_qcow2(path):
            disk.repair(path)


def lacking(disks: Sequence[Path], tag: str) -> list[str]:
    """The names of those disks that do not have `tag`, or that do not exist."""
    return [path.name for path in disks if not path.exists() or tag not in disk.snapshot_tags(path)]


def refuse(path: Path, tag: str) -> None:
    """Check that the disk can have snapshots and has none with the name `tag`.

    Raises:
        StateError: it cannot, or it has one that is not ours.
    """
    found = disk.info(path)
    if found.format != "qcow2":
        raise StateError(f"{path.name} is {found.format}, but only qcow2 disks can contain snapshots")
    if tag in disk.snapshot_tags(path):
        raise StateError(
            f"{path.name} contains a snapshot {tag} that Pommel did not create", hint=f"qemu-img snapshot -l {path}"
        )


def _is_qcow2(path: Path) -> bool:
    try:
        disk.header(path)
    except (OSError, ValueError):
        return False
    return True
