"""The disks of a machine that Pommel has moved elsewhere, and an unfinished move: `moved.json`. Band: shell.

A moved disk is a link in the machine's folder. Pommel made its file, and the file belongs to the machine: it is
deleted with it. No other target of a link is deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pommel import json_file
from pommel.errors import MachineError

NAME = "moved.json"


@dataclass(frozen=True, slots=True)
class DiskMove:
    """A move that has begun: of the disk `slot`, a name in the machine's folder, from the file `old` to `new`.

    Both files are identified by device and inode; the new one has none before it is complete.
    """

    slot: str
    old: str
    new: str
    old_inode: tuple[int, int] | None = None
    new_inode: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class MovedDisks:
    """The contents of the file: the path of each moved disk, by the name of its link; and an unfinished move."""

    disks: dict[str, str] = field(default_factory=dict)
    moving: DiskMove | None = None


def read(directory: Path) -> MovedDisks:
    """The moved disks of the machine in the folder `directory`; empty if there is no file.

    Raises:
        MachineError: the file cannot be read.
    """
    path = directory / NAME
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        moving = told.get("moving")
        if moving is not None:
            inodes = [tuple(each) if (each := moving[key]) else None for key in ("old_inode", "new_inode")]
            moving = DiskMove(moving["slot"], moving["old"], moving["new"], *inodes)
        return MovedDisks({str(slot): str(place) for slot, place in told["disks"].items()}, moving)
    except FileNotFoundError:
        return MovedDisks()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise MachineError(
            f"{path} cannot be used: {wrong}", hint=f"check that file; the disks are in {directory}"
        ) from wrong


def write(directory: Path, moved: MovedDisks) -> None:
    """Write the file, completely or not at all."""
    if moved == MovedDisks():
        (directory / NAME).unlink(missing_ok=True)
        return
    json_file.write(directory / NAME, asdict(moved), indent=2)


def own_files(directory: Path) -> list[Path]:
    """The machine's files outside of `directory`: moved there, and still the targets of its links."""
    with contextlib.suppress(MachineError):
        disks = read(directory).disks
        return [Path(place) for slot, place in disks.items() if leads_to(directory / slot, Path(place))]
    return []


def inode_of(path: Path) -> tuple[int, int] | None:
    """The device and inode of a file, which do not depend on its name; None: it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def leads_to(slot: Path, place: Path) -> bool:
    """Whether `slot` is a link to the file `place`."""
    return slot.is_symlink() and os.path.realpath(slot) == os.path.realpath(place)
