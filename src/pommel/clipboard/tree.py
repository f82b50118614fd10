"""Files that are to be copied: which, whereto, and what of them may be. Band: core, no I/O.

Where a tree comes from is not trusted: a name that is a path, a link that leads out of what was copied, and what is
neither file, folder nor link never get here as an entry. A tree without end is refused while it is being listed, before
it takes memory without end: by the number of its entries, by their depth, and by the length of names and paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from pommel.errors import PommelError

ENTRIES_MAX = 20_000
DEPTH_MAX = 100
# In bytes. Linux knows names of 255 bytes, macOS of 255 UTF-16 units, and both no path longer than this.
NAME_MAX = 1024
PATH_MAX = 4096
PATHS_MAX_BYTES = 32 << 20  # of all paths together
_NAMES_SHOWN = 3


class EntryKind(Enum):
    """What an entry is."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of a tree: `source` where it is, `path` where it goes, relative to the copy's folder."""

    kind: EntryKind
    source: bytes
    path: bytes
    size: int = 0
    mode: int = 0
    mtime: int = 0
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a copy takes: entries, each folder before what is in it; `left_out` counts what cannot be copied."""

    tops: tuple[bytes, ...]
    entries: tuple[Entry, ...]
    left_out: int = 0

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    @property
    def files(self) -> int:
        """How many files."""
        return sum(entry.kind is EntryKind.FILE for entry in self.entries)


class FilesError(PommelError):
    """Files could not be copied; the message says why, and names none of them."""


def too_many() -> FilesError:
    """What is said of a tree without end."""
    return FilesError(f"the folder contains more than {ENTRIES_MAX} files, or too many nested folders")


def placed(tops: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Say for each path that was copied where it goes: under its own name, in a folder apart if that is taken.

    Names that differ only in case are the same to a Mac.

    Raises:
        FilesError: there are more than can be copied.
    """
    taken: set[bytes] = set()
    found: list[tuple[bytes, bytes]] = []
    number = 2
    for source in tops:
        if len(found) >= ENTRIES_MAX:
            raise too_many()
        name = source.rstrip(b"/").rpartition(b"/")[2] or b"root"
        place = name
        if name.lower() in taken:
            while b"%d" % number in taken:
                number += 1
            place = b"%d/" % number + name
        taken.add(place.partition(b"/")[0].lower())
        found.append((source, place))
    return found


def plain_name(name: bytes) -> bool:
    """Whether `name` names something in a folder, and nothing else."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def stays_inside(depth: int, target: bytes) -> bool:
    """Whether a link leads to something in the tree it is in; `depth` is of folders between its top and the link.

    `..` only at the beginning: behind a name it would lead up from wherever that name leads.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    ups = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    return ups <= depth and b".." not in parts[ups:]


class Listed:
    """How many names have been listed of one tree: `most` at most, by default as many as can be copied."""

    def __init__(self, most: int | None = None) -> None:
        self._left = ENTRIES_MAX if most is None else most

    def take(self, name: bytes) -> None:
        """Count a name, before it is kept.

        Raises:
            FilesError: there are more than can be copied, or it is too long for a name.
        """
        self._left -= 1
        if self._left < 0:
            raise too_many()
        if len(name) > NAME_MAX:
            raise FilesError(f"a file's name has more than {NAME_MAX} bytes")


class Growing:
    """A plan in the making, which does not grow without end. What is listed for it is counted by `listed`."""

    def __init__(self, tops: Sequence[bytes]) -> None:
        self._tops = tuple(tops)
        self._entries: list[Entry] = []
        self._left_out = 0
        self._bytes = 0
        self.listed = Listed()

    def add(self, entry: Entry, depth: int) -> None:
        """Take an entry that is `depth` folders below its top.

        Raises:
            FilesError: there are more than can be copied, or their paths are too long.
        """
        if max(len(entry.source), len(entry.path), len(entry.target)) > PATH_MAX:
            raise FilesError(f"a file's path has more than {PATH_MAX} bytes")
        if entry.kind is EntryKind.LINK and not stays_inside(depth - 1, entry.target):
            self.leave_out()
            return
        self._entries.append(entry)
        self._bytes += len(entry.source) + len(entry.path) + len(entry.target)
        if len(self._entries) > ENTRIES_MAX or depth > DEPTH_MAX or self._bytes > PATHS_MAX_BYTES:
            raise too_many()

    def leave_out(self) -> None:
        """Count what cannot be copied."""
        self._left_out += 1

    def plan(self) -> Plan:
        """What it came to.

        Raises:
            FilesError: nothing of it can be copied.
        """
        if not self._entries:
            raise FilesError("what was copied is not a file or a folder")
        places = {place for _, place in placed(self._tops)}
        tops = tuple(entry.path for entry in self._entries if entry.path in places)
        return Plan(tops, tuple(self._entries), self._left_out)
