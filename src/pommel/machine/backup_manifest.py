"""A backup's manifest, and conclusions from several: chains, and which points may be removed. Band: core, no I/O.

A point is the state of a machine at one moment: a folder with its disks and small files, and this manifest, which is
written last. A disk of a point is full, or has the changes since its `parent`, the same disk of an earlier point.
Anybody who can write to the folder may have written what is read here, so each name is checked.
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
# The names of a machine's disks in its folder.
_SLOT = re.compile(r"(mac_hdd_ng\.img|disk-[a-z0-9][a-z0-9_-]{0,31}\.qcow2)\Z")
# The files of a machine's folder that are backed up beside its disks; nothing else is ever read from a backup.
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
    """One disk, by its name in the machine's folder. `parent` is the point of its backing file; None: it is full.

    `why_full` is the reason, in words, why it is full although the point has a predecessor.
    """

    slot: str
    virtual_bytes: int
    size_bytes: int
    sha256: str
    parent: str | None = None
    why_full: str = ""


@dataclass(frozen=True, slots=True)
class BackupPoint:
    """One moment of a machine. `state` is the machine's state then; `notes` say what the point does not contain."""

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
        """The points of its disks' backing files."""
        return {disk.parent for disk in self.disks if disk.parent is not None}

    @property
    def size_bytes(self) -> int:
        """The size of its files."""
        return sum(each.size_bytes for each in self.disks) + sum(each.size_bytes for each in self.files)

    def disk(self, slot: str) -> BackedDisk | None:
        """The disk with the name `slot`."""
        return next((each for each in self.disks if each.slot == slot), None)


@dataclass(frozen=True, slots=True)
class Folder:
    """The owner of a folder's backups. `id` is the folder's own; the names of the bitmaps in the disks contain it."""

    id: str
    machine: str
    uuid: str


def point_id(number: int, stamp: str) -> str:
    """The name of a point: its number and its time, as 20260131T120000Z."""
    return f"{number:04d}-{stamp}"


def is_point_id(name: str) -> bool:
    """Whether this is the name of a point."""
    return _ID.match(name) is not None


def bitmap_name(target: str, point: str) -> str:
    """The bitmap with the changes of a disk since `point` in the folder with the id `target`."""
    return f"{_PREFIX}-{target}-{point}"


def bitmap_parts(name: str) -> tuple[str, str] | None:
    """The folder and the point of a bitmap; None: the bitmap is not ours."""
    target, point = name.removeprefix(f"{_PREFIX}-")[:16], name.removeprefix(f"{_PREFIX}-")[17:]
    if name == bitmap_name(target, point) and _TARGET.match(target) and _ID.match(point):
        return target, point
    return None


def is_bitmap(name: str) -> bool:
    """Whether a bitmap belongs to any backup."""
    return name.startswith(f"{_PREFIX}-")


def chain(points: Mapping[str, BackupPoint], point: str, slot: str) -> list[str]:
    """The points whose disk `slot` is needed for the one of `point`; the full one is first.

    Raises:
        ValueError: one is missing, or a point depends on itself; the text is for the user.
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


def depth(points: Mapping[str, BackupPoint], point: str) -> int:
    """The largest number of points to read for a disk of `point`, itself included."""
    return max((len(chain(points, point, disk.slot)) for disk in points[point].disks), default=1)


def needed(points: Mapping[str, BackupPoint], wanted: Iterable[str]) -> set[str]:
    """The points `wanted` and all points that they depend on."""
    found: set[str] = set()
    rest = list(wanted)
    while rest:
        if (at := rest.pop()) not in found and at in points:
            found.add(at)
            rest += points[at].parents
    return found


def may_go(points: Sequence[BackupPoint], keep: int) -> list[str]:
    """The points that are not among the newest `keep` and that none of these needs, newest first."""
    by_id = {point.id: point for point in points}
    ordered = sorted(points, key=lambda point: point.number, reverse=True)
    kept = needed(by_id, [point.id for point in ordered[:keep]])
    return [point.id for point in ordered if point.id not in kept]


def render(point: BackupPoint) -> str:
    """The manifest as JSON text."""
    return json.dumps({"format": FORMAT, **asdict(point)}, indent=2, ensure_ascii=False) + "\n"


def parse(text: str) -> BackupPoint:
    """Parse a manifest.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    told = _object(text)
    try:
        made = BackupPoint(
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
    """The description of a folder as JSON text."""
    return json.dumps({"format": FORMAT, **asdict(folder)}, indent=2) + "\n"


def parse_folder(text: str) -> Folder:
    """Parse the description of a folder.

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
    if not isinstance(told, str) or len(told) > _LONGEST or not told.isprintable():  # it may be printed on a terminal
        raise TypeError("a text")
    return told


def _count(told: Any) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:
        raise TypeError(repr(told))
    return told
