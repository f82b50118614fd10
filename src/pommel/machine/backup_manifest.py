"""What stands in a backup's manifest, and what follows from several: chains, and which may go. Band: core, no I/O.

A point is what a machine was at one moment: a folder with its disks and small files, and this manifest, which is
written last. A disk of a point is whole, or holds what changed since its `parent`, the same disk of an earlier point.
What is read here may have been written by anybody who can write to the folder, so each name is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1
NAME = "backup.json"
_ID = re.compile(r"\d{4,9}-\d{8}T\d{6}Z\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# The names that a machine's disks have in its folder, and its small files.
_SLOT = re.compile(r"(mac_hdd_ng\.img|disk-[a-z0-9][a-z0-9_-]{0,31}\.qcow2)\Z")
# What of a machine's folder is backed up beside its disks; nothing else is ever taken from a backup.
FILES = (
    *("machine.json", "nvram.fd", "firmware.fd", "OpenCore.qcow2", "forwards.json", "usb.json"),
    "shares.json",
    *("ssh/id_ed25519", "ssh/id_ed25519.pub", "ssh/known_hosts"),
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_TARGET = re.compile(r"[0-9a-f]{16}\Z")
_PREFIX = "pommel-backup"
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class BackedFile:
    """One small file, by its name in the machine's folder."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BackedDisk:
    """One disk, by its name in the machine's folder. `parent` is the point that it lies over; None: it is whole.

    `why_full` says why it is whole where the point has a predecessor, in words.
    """

    slot: str
    virtual_bytes: int
    size_bytes: int
    sha256: str
    parent: str | None = None
    why_full: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of a machine. `state` is how it was then, `notes` say what is not in here."""

    id: str
    number: int
    machine: str
    uuid: str
    created: str
    state: str
    disks: tuple[BackedDisk, ...]
    files: tuple[BackedFile, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def full(self) -> bool:
        """Whether it needs no other point."""
        return all(disk.parent is None for disk in self.disks)

    @property
    def parents(self) -> set[str]:
        """The points that its disks lie over."""
        return {disk.parent for disk in self.disks if disk.parent is not None}

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return sum(each.size_bytes for each in self.disks) + sum(each.size_bytes for each in self.files)

    def disk(self, slot: str) -> BackedDisk | None:
        """Its disk called `slot`."""
        return next((each for each in self.disks if each.slot == slot), None)


@dataclass(frozen=True, slots=True)
class Folder:
    """Whose backups a folder holds; `id` is the folder's own, which the bitmaps in the disks are named after."""

    id: str
    machine: str
    uuid: str


def point_id(number: int, stamp: str) -> str:
    """The name of a point: its number, and when it was, as 20260131T120000Z."""
    return f"{number:04d}-{stamp}"


def is_point_id(name: str) -> bool:
    """Whether a folder may be a point."""
    return _ID.match(name) is not None


def bitmap_name(target: str, point: str) -> str:
    """The bitmap that knows what has changed in a disk since `point` in the folder with the id `target`."""
    return f"{_PREFIX}-{target}-{point}"


def bitmap_parts(name: str) -> tuple[str, str] | None:
    """Folder and point that a bitmap is of; None: it is none of ours."""
    target, point = name.removeprefix(f"{_PREFIX}-")[:16], name.removeprefix(f"{_PREFIX}-")[17:]
    if name == bitmap_name(target, point) and _TARGET.match(target) and _ID.match(point):
        return target, point
    return None


def is_bitmap(name: str) -> bool:
    """Whether a bitmap is of a backup, whichever."""
    return name.startswith(f"{_PREFIX}-")


def chain(points: Mapping[str, Point], point: str, slot: str) -> list[str]:
    """The points whose disk `slot` is needed for that of `point`, the whole one first.

    Raises:
        ValueError: one is missing, or they go in a circle; the text is for the user.
    """
    found: list[str] = []
    at: str | None = point
    while at is not None:
        if at in found:
            raise ValueError(f"the disk {slot} of {point} depends on itself")
        disk = points[at].disk(slot) if at in points else None
        if disk is None:
            raise ValueError(f"{point} needs the disk {slot} of {at}, which does not exist")
        found.append(at)
        at = disk.parent
    return found[::-1]


def depth(points: Mapping[str, Point], point: str) -> int:
    """How many points have to be read for `point`, itself included, at most."""
    return max((len(chain(points, point, disk.slot)) for disk in points[point].disks), default=1)


def needed(points: Mapping[str, Point], wanted: Iterable[str]) -> set[str]:
    """The points `wanted` and all that they lie over."""
    found: set[str] = set()
    rest = list(wanted)
    while rest:
        if (at := rest.pop()) not in found and at in points:
            found.add(at)
            rest += points[at].parents
    return found


def may_go(points: Sequence[Point], keep: int) -> list[str]:
    """The points that are not among the newest `keep`, and that none of these needs; the newest of them first."""
    by_id = {point.id: point for point in points}
    ordered = sorted(points, key=lambda point: point.number, reverse=True)
    kept = needed(by_id, [point.id for point in ordered[:keep]])
    return [point.id for point in ordered if point.id not in kept]


def render(point: Point) -> str:
    """The manifest as JSON text."""
    return json.dumps({"format": FORMAT, **asdict(point)}, indent=2, ensure_ascii=False) + "\n"


def parse(text: str) -> Point:
    """Parse a manifest.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    told = _object(text)
    try:
        made = Point(
            id=_text(told["id"]),
            number=_count(told["number"]),
            machine=_text(told["machine"]),
            uuid=_text(told["uuid"]),
            created=_text(told["created"]),
            state=_text(told["state"]),
            disks=tuple(_disk(each) for each in told["disks"]),
            files=tuple(_file(each) for each in told["files"]),
            settings=_table(told["settings"]),
            notes=tuple(_text(each) for each in told["notes"]),
        )
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"{wrong} is missing or has the wrong type") from wrong
    if not _ID.match(made.id) or not _UUID.match(made.uuid) or not made.disks:
        raise ValueError("it has no usable id, UUID or disks")
    names = [each.slot for each in made.disks] + [each.name for each in made.files]
    if len(set(names)) < len(names):
        raise ValueError("it lists a file twice")
    return made


def render_folder(folder: Folder) -> str:
    """What says whose backups a folder holds, as JSON text."""
    return json.dumps({"format": FORMAT, **asdict(folder)}, indent=2) + "\n"


def parse_folder(text: str) -> Folder:
    """Parse that.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    told = _object(text)
    try:
        made = Folder(_text(told["id"]), _text(told["machine"]), _text(told["uuid"]))
    except (KeyError, TypeError) as wrong:
        raise ValueError(f"{wrong} is missing or has the wrong type") from wrong
    if not _TARGET.match(made.id) or not _UUID.match(made.uuid):
        raise ValueError("it has no usable id or UUID")
    return made


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as failure:
        raise ValueError(f"it is not JSON ({failure})") from failure
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"it is not an object of format {FORMAT}")
    return told


def _disk(told: Any) -> BackedDisk:
    parent = told["parent"]
    if not _SLOT.match(_text(told["slot"])):
        raise ValueError(f"{told['slot']!r} is not a disk's name")
    if parent is not None and not _ID.match(_text(parent)):
        raise ValueError(f"{parent!r} is not a backup")
    sizes = (_count(told["virtual_bytes"]), _count(told["size_bytes"]))
    return BackedDisk(told["slot"], *sizes, _sum(told["sha256"]), parent, _text(told["why_full"]))


def _file(told: Any) -> BackedFile:
    name = _text(told["name"])
    if name not in FILES:
        raise ValueError(f"{name!r} is not a file of a machine")
    return BackedFile(name, _count(told["size_bytes"]), _sum(told["sha256"]))


def _table(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise TypeError("a table")
    return told


def _sum(told: Any) -> str:
    if not isinstance(told, str) or not _SHA256.match(told):
        raise ValueError(f"{told!r} is not a SHA-256")
    return told


def _text(told: Any) -> str:
    if not isinstance(told, str) or len(told) > _LONGEST or not told.isprintable():  # it may be shown on a terminal
        raise TypeError("a text")
    return told


def _count(told: Any) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:
        raise TypeError(repr(told))
    return told
