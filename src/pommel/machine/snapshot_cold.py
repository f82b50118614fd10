"""Snapshots in the disks of a stopped machine, by qemu-img. Band: shell.

Each of these ends with all disks changed or none, as long as this process lives; `snapshots` sees to the rest.
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
        StateError: a disk is not there, is no qcow2, or holds a `tag` already.
        BuildError: qemu-img fails.
    """
    for path in disks:
        refuse(path, tag)
    try:
        for path in disks:
            disk.qemu_img("snapshot", "-c", tag, disk.image(path), timeout_s=_LONG_S)
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(PommelError):
            delete(disks, tag)
        raise


def apply(disks: Sequence[Path], tag: str) -> None:
    """Put every disk back to its internal snapshot `tag`.

    Raises:
        BuildError: qemu-img fails; some disks may be put back and some not.
    """
    for path in disks:
        backup_bitmaps.drop_cold(path)
        disk.qemu_img("snapshot", "-a", tag, disk.image(path), timeout_s=_LONG_S)


def delete(disks: Sequence[Path], tag: str) -> None:
    """Delete the internal snapshot `tag` from every disk that holds it.

    Raises:
        BuildError: qemu-img fails.
    """
    for path in disks:
        if path.exists() and tag in disk.snapshot_tags(path):
            disk.qemu_img("snapshot", "-d", tag, disk.image(path), timeout_s=_LONG_S)


def mend(disks: Sequence[Path]) -> None:
    """Repair what a killed qemu-img or QEMU left half done in those of the disks that can hold snapshots.

    Raises:
        BuildError: one is damaged beyond that, or in use.
    """
    for path in disks:
        if _is_qcow2(path):
            disk.repair(path)


def lacking(disks: Sequence[Path], tag: str) -> list[str]:
    """The names of those disks that do not hold `tag`, or that are not there."""
    return [path.name for path in disks if not path.exists() or tag not in disk.snapshot_tags(path)]


def refuse(path: Path, tag: str) -> None:
    """See that the disk can hold snapshots and has none called `tag`.

    Raises:
        StateError: it cannot, or has one that is not ours.
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
