"""Reads and writes a JSON file of the machine; errors are named, and writes are atomic. Band: shell."""

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
    """The result of `parse` for the file's object; `absent` if there is no file.

    Raises:
        MachineError: the file cannot be used; `hint` is the advice for this case.
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
    """Write a file for `load`, completely or not at all. Raises as `write`."""
    write(path, {"format": _FORMAT, **document})


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a file that other processes read, completely or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    try:
        json_file.write(path, document, indent=1)
    except OSError as failure:
        raise MachineError(f"{path} cannot be written: {failure}") from failure
