"""The position of a recipe, on disk, so that it can continue after a kill or a restart of the host. Band: app."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pommel import json_file
from pommel.paths import MachinePaths


@dataclass(frozen=True, slots=True)
class Position:
    """The present state of a recipe. `file` is the recipe's name or path; `since` is ISO 8601 in UTC."""

    file: str
    state: str
    attempt: int
    since: str

    @classmethod
    def now(cls, file: str, state: str, attempt: int) -> Position:
        """The position at this moment."""
        return cls(file, state, attempt, datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))


def load(paths: MachinePaths) -> Position | None:
    """The position of an unfinished recipe; None: there is none, or the file is damaged."""
    return json_file.read_or(_file(paths), _from_dict, None)


def save(paths: MachinePaths, position: Position) -> None:
    """Write the position, completely or not at all."""
    json_file.write(_file(paths), asdict(position))


def forget(paths: MachinePaths) -> None:
    """Remove the position, because the recipe is done."""
    _file(paths).unlink(missing_ok=True)


def lock_of(paths: MachinePaths) -> Path:
    """The lock file that a process holds while it runs a recipe with the machine."""
    return paths.directory / "recipe.lock"


def _file(paths: MachinePaths) -> Path:
    return paths.directory / "recipe.json"


def _from_dict(found: Any) -> Position:
    return Position(str(found["file"]), str(found["state"]), int(found["attempt"]), str(found["since"]))
