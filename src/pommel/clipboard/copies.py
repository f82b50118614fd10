"""Names of the file copies that a side keeps, and which of them to delete. Band: core, no I/O.

1a2b3c4d5e6f-1048576           a complete copy: its time (milliseconds since 1970, hex) and its size in bytes
.1a2b3c4d5e6f-1048576.part     an incomplete copy; the next sync deletes it
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from pommel.settings import format_size
from pommel.sftp.tree import CopyPlan, shown

_WHOLE = re.compile(r"([0-9a-f]{12})-([0-9]{1,18})\Z")
_PART = re.compile(r"\.[0-9a-f]{12}-[0-9]{1,18}\.part\Z")
_PATHS_SHOWN = 3


@dataclass(frozen=True, slots=True, order=True)
class CopyName:
    """One copy's name."""

    made_ms: int
    size: int

    @property
    def name(self) -> str:
        """The name of its folder when it is complete."""
        return f"{self.made_ms:012x}-{self.size}"

    @property
    def part(self) -> str:
        """The name of its folder while it is incomplete."""
        return f".{self.name}.part"


def copy_of(name: str) -> CopyName | None:
    """The copy with this folder name; None if the folder is not a copy."""
    match = _WHOLE.match(name)
    return CopyName(int(match[1], 16), int(match[2])) if match else None


def broken_off(names: Iterable[str]) -> list[str]:
    """The folders of incomplete copies."""
    return [name for name in names if _PART.match(name)]


def to_prune(names: Iterable[str], room: int) -> list[CopyName]:
    """The copies to delete, oldest first, so that the others have at most `room` bytes.

    The newest stays, whatever its size: it may be on a clipboard, or a program may be pasting it.
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


def told_size(plan: CopyPlan) -> str:
    """The number and size of a copy's files, for a message."""
    return f"{plan.files} file{'' if plan.files == 1 else 's'}, {format_size(plan.total)}"


def told_paths(paths: Iterable[bytes]) -> list[str] | None:
    """Paths for a command line that a person types; None if one cannot be typed, or if they are many."""
    told = [path.decode(errors="replace") for path in paths]
    typable = all(path.isprintable() and "\ufffd" not in path for path in told)
    return told if typable and len(told) <= _PATHS_SHOWN else None


def told_names(paths: Iterable[bytes]) -> tuple[str, ...]:
    """The names of the first few files, for a message."""
    names = [shown(path) for path in islice(paths, _PATHS_SHOWN + 1)]
    return (*names[:_PATHS_SHOWN], *(["…"] if len(names) > _PATHS_SHOWN else []))
