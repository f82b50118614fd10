"""A JSON file of the machine's own that commands write: read with what is wrong named, written whole. Band: shell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pommel import json_file
from pommel.errors import MachineError

T = TypeVar("T")
_FORMAT = 1


def load(path: Path, parse: Callable[[Any], T], absent: T, *, hint: str) -> T:
    """What `parse` makes of the file's object; `absent` where there is no file.

    Raises:
        MachineError: the file cannot be used; `hint` says what to do then.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise ValueError(f"its format is {found['format']!r}, but this Pommel supports {_FORMAT}")
        return parse(found)
    except FileNotFoundError:
        return absent
    except json_file.WRONG as wrong:
        raise MachineError(f"{path} cannot be used: {wrong}", hint=hint) from wrong


def save(path: Path, document: Mapping[str, Any]) -> None:
    """Write what `load` reads, whole or not at all. Raises as `write`."""
    write(path, {"format": _FORMAT, **document})


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file that others read, whole or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    try:
        json_file.write(path, document, indent=1)
    except OSError as failure:
        raise MachineError(f"{path} cannot be written: {failure}") from failure
