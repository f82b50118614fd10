"""Which disks of a machine Pommel has moved elsewhere, and a move that is under way: `moved.json`. Band: shell.

A disk that was moved is a link in the machine's folder. Its file was made by Pommel and belongs to the machine: it is
deleted with it, which no other file is that a link leads to.
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
class Moving:
    """A move that has begun: of the disk `slot`, a name in the machine's folder, from the file `old` to `new`.

    The two files are known by device and number; the new one has none before it is whole.
    """

    slot: str
    old: str
    new: str
    old_inode: tuple[int, int] | None = None
    new_inode: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """What stands in the file: where each moved disk lies, by its link; and a move under way."""

    disks: dict[str, str] = field(default_factory=dict)
    moving: Moving | None = None


def read(directory: Path) -> Moved:
    """What has been moved of the machine in the folder `directory`; nothing, where nothing is written down.

    Raises:
        MachineError: the note cannot be read.
    """
    path = directory / NAME
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        moving = told.get("moving")
        if moving is not None:
            inodes = [tuple(each) if (each := moving[key]) else None for key in ("old_inode", "new_inode")]
            moving = Moving(moving["slot"], moving["old"], moving["new"], *inodes)
        return Moved({str(slot): str(place) for slot, place in told["disks"].items()}, moving)
    except FileNotFoundError:
        return Moved()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise MachineError(
            f"{path} cannot be used: {wrong}", hint=f"check that file; the disks are in {directory}"
        ) from wrong


def write(directory: Path, moved: Moved) -> None:
    """Write it down, whole or not at all."""
    if moved == Moved():
        (directory / NAME).unlink(missing_ok=True)
        return
    json_file.write(directory / NAME, asdict(moved), indent=2)


def own_files(directory: Path) -> list[Path]:
    """The files elsewhere that belong to the machine in `directory`: moved there, and what its links still lead to."""
    with contextlib.suppress(MachineError):
        disks = read(directory).disks
        return [Path(place) for slot, place in disks.items() if leads_to(directory / slot, Path(place))]
    return []


def inode_of(path: Path) -> tuple[int, int] | None:
    """What a file is known by, whatever it is called; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def leads_to(slot: Path, place: Path) -> bool:
    """Whether `slot` is a link to the file `place`."""
    return slot.is_symlink() and os.path.realpath(slot) == os.path.realpath(place)
