"""Plans a copy of files: sources, destinations, and the limits. Band: core, no I/O.

The source of a tree is not trusted: names that are paths, links that lead out of the copy, and special files never
become entries. An endless tree is refused while it is listed, before it fills the memory: by the number of its entries,
by their depth, and by the length of names and paths.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pommel.errors import PommelError

ENTRIES_MAX = 20_000
DEPTH_MAX = 100
# In bytes. Linux allows names of 255 bytes, macOS of 255 UTF-16 units, and neither allows longer paths than this.
NAME_MAX = 1024
PATH_MAX = 4096
PATHS_MAX_BYTES = 32 << 20  # of all paths together
SHOWN = 60  # characters of a name in a message


class EntryKind(Enum):
    """The type of an entry."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One file, folder or link: `source` is its path, `path` its destination relative to the copy's folder."""

    kind: EntryKind
    source: bytes
    path: bytes
    size: int = 0
    mode: int = 0
    mtime: int = 0
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """The plan of a copy: its entries, each folder before its contents.

    `left_out` counts entries that cannot be copied. `unread` has the sources that are not readable or no longer exist.
    """

    tops: tuple[bytes, ...]
    entries: tuple[TreeEntry, ...]
    left_out: int = 0
    unread: tuple[bytes, ...] = ()

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    @property
    def files(self) -> int:
        """How many files."""
        return sum(entry.kind is EntryKind.FILE for entry in self.entries)

    def without(self, sources: Collection[bytes]) -> CopyPlan:
        """The plan without these files, which could not be read."""
        kept = tuple(entry for entry in self.entries if entry.source not in sources)
        return replace(self, entries=kept, unread=(*self.unread, *sources))


class FilesError(PommelError):
    """Files could not be copied; the message has the reason, and no file names."""


def too_many() -> FilesError:
    """The error for an endless tree."""
    return FilesError(f"the folder contains more than {ENTRIES_MAX} files, or too many nested folders")


def placed(tops: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Choose the destination of each copied path: its own name, in a numbered folder if the name is already used.

    Names that differ only in case count as equal, as on a Mac.

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
    """Whether `name` is a plain name of an entry: no path, no `.`, no `..`."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def shown(path: bytes, most: int = SHOWN) -> str:
    """A file's name for a message: no control characters, no line ends, at most `most` characters."""
    name = path.rstrip(b"/").rpartition(b"/")[2].decode(errors="replace") or "/"
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def stays_inside(depth: int, target: bytes) -> bool:
    """Whether a link leads into its own tree; `depth` is the number of folders between the top and the link.

    `..` is only allowed at the beginning: after a name that is itself a link, it could lead anywhere.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    ups = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    return ups <= depth and b".." not in parts[ups:]


class NameCount:
    """Counts the listed names of one tree, up to `most`, by default as many as can be copied."""

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
    """A plan that is being built, with limits. `listed` counts the names that were listed for it."""

    def __init__(self, tops: Sequence[bytes]) -> None:
        self._tops = tuple(tops)
        self._entries: list[TreeEntry] = []
        self._left_out = 0
        self._unread: list[bytes] = []
        self._refusal: FilesError | None = None
        self._bytes = 0
        self.listed = NameCount()

    def add(self, entry: TreeEntry, depth: int) -> None:
        """Add an entry that is `depth` folders below its top.

        Raises:
            FilesError: there are more than can be copied, or their paths are too long.
        """
        if depth > DEPTH_MAX:
            raise too_many()
        if entry.kind is EntryKind.LINK and not stays_inside(depth - 1, entry.target):
            self.leave_out()
            return
        self._count(entry.source, entry.path, entry.target)
        self._entries.append(entry)

    def leave_out(self) -> None:
        """Count an entry that cannot be copied."""
        self._left_out += 1

    def refused(self, source: bytes, refusal: FilesError) -> None:
        """Note a source that cannot be read. The rest is still copied.

        Raises:
            FilesError: its path is too long, or there are too many.
        """
        self._refusal = self._refusal or refusal
        self._count(source)
        self._unread.append(source)

    def _count(self, *paths: bytes) -> None:
        if max(map(len, paths)) > PATH_MAX:
            raise FilesError(f"a file's path has more than {PATH_MAX} bytes")
        self._bytes += sum(map(len, paths))
        if len(self._entries) + len(self._unread) >= ENTRIES_MAX or self._bytes > PATHS_MAX_BYTES:
            raise too_many()

    def plan(self) -> CopyPlan:
        """The finished plan.

        Raises:
            FilesError: nothing of it can be copied.
        """
        if not self._entries:
            raise self._refusal or FilesError("what was copied is not a file or a folder")
        places = {place for _, place in placed(self._tops)}
        tops = tuple(entry.path for entry in self._entries if entry.path in places)
        return CopyPlan(tops, tuple(self._entries), self._left_out, tuple(self._unread))
