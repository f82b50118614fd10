"""A JSON file of Pommel's own: written whole or not at all, and read so that a damaged one surprises nobody.

For files that say what would be nice to know (caches, the state of a process, what was chosen last): one that is
missing, damaged or another version's counts as none. A file that must be right is read with its errors named
(`machine.kept`, `machine.record`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pommel.files import write_atomic

T = TypeVar("T")

# What reading, parsing and looking into a value of JSON raises where it is not what was expected.
WRONG = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


def read_or(path: Path, make: Callable[[Any], T], otherwise: T) -> T:
    """What `make` makes of the value in the file; `otherwise` where there is no such file or it is not as expected."""
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except WRONG:
        return otherwise


def read_object(path: Path) -> dict[str, Any]:
    """The object in the file; an empty one where there is none."""
    return read_or(path, lambda found: found if isinstance(found, dict) else {}, {})


def write(path: Path, value: object, *, indent: int | None = None) -> None:
    """Write the file whole or not at all, for this user alone.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    write_atomic(path, json.dumps(value, indent=indent) + "\n")
