"""The copies of the other side's files that a side keeps: their names, and which may go. Band: core, no I/O.

1a2b3c4d5e6f-1048576           a whole copy: when it was made (milliseconds since 1970, hex), how many bytes it has
.1a2b3c4d5e6f-1048576.part     the same in the making; one that nobody is making any more is thrown away
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from pommel.clipboard.tree import Plan
from pommel.clipboard.uris import shown
from pommel.settings import format_size

_WHOLE = re.compile(r"([0-9a-f]{12})-([0-9]{1,18})\Z")
_PART = re.compile(r"\.[0-9a-f]{12}-[0-9]{1,18}\.part\Z")
_PATHS_SHOWN = 3


@dataclass(frozen=True, slots=True, order=True)
class Copy:
    """One copy's name."""

    made_ms: int
    size: int

    @property
    def name(self) -> str:
        """Of the folder it is in once it is whole."""
        return f"{self.made_ms:012x}-{self.size}"

    @property
    def part(self) -> str:
        """Of the folder it is in until then."""
        return f".{self.name}.part"


def copy_of(name: str) -> Copy | None:
    """The copy that a folder is by its name, if it is one."""
    match = _WHOLE.match(name)
    return Copy(int(match[1], 16), int(match[2])) if match else None


def broken_off(names: Iterable[str]) -> list[str]:
    """The folders of copies that nobody finishes any more."""
    return [name for name in names if _PART.match(name)]


def to_prune(names: Iterable[str], room: int) -> list[Copy]:
    """Which copies must go, oldest first, so that those that stay have at most `room` bytes.

    The newest stays whatever its size: it may be on a clipboard, or being pasted.
    """
    copies = sorted(copy for copy in map(copy_of, names) if copy is not None)
    kept = sum(copy.size for copy in copies)
    going = []
    for copy in copies[:-1]:
        if kept <= room:
            break
        going.append(copy)
        kept -= copy.size
    return going


def told_size(plan: Plan) -> str:
    """How much a copy is, for people."""
    return f"{plan.files} file{'' if plan.files == 1 else 's'}, {format_size(plan.total)}"


def told_paths(paths: Iterable[bytes]) -> list[str] | None:
    """Paths as a person may type them, or None if nobody could type one of them or they are many."""
    told = [path.decode(errors="replace") for path in paths]
    typable = all(path.isprintable() and "\ufffd" not in path for path in told)
    return told if typable and len(told) <= _PATHS_SHOWN else None


def told_names(paths: Iterable[bytes]) -> tuple[str, ...]:
    """The names of files, for people: the first few."""
    names = [shown(path) for path in islice(paths, _PATHS_SHOWN + 1)]
    return (*names[:_PATHS_SHOWN], *(["…"] if len(names) > _PATHS_SHOWN else []))
