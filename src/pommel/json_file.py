"""Pommel's own JSON files: written completely or not at all; a damaged file is read as missing.

For files that are useful but not necessary (caches, the state of a process, the last choice): a file that is missing,
damaged or of another version counts as missing. For necessary files, `machine.kept` and `machine.record` report errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pommel.files import write_atomic

T = TypeVar("T")

# The errors of reading, parsing and using a JSON value of an unexpected form.
WRONG = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


def read_or(path: Path, make: Callable[[Any], T], otherwise: T) -> T:
    """Call `make` with the value in the file; return `otherwise` if the file is missing or has an unexpected form."""
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except WRONG:
        return otherwise


def read_object(path: Path) -> dict[str, Any]:
    """The object in the file; an empty one if there is none."""
    return read_or(path, lambda found: found if isinstance(found, dict) else {}, {})


def write(path: Path, value: object, *, indent: int | None = None) -> None:
    """Write the file completely or not at all, private to this user.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    write_atomic(path, json.dumps(value, indent=indent) + "\n")
