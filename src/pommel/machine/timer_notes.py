"""The timer's notes about a machine between its runs: snapshots/.timer.json. Band: shell.

The time of its last look, the files' state after it, and why its last run failed. They only serve to skip a machine
that has not changed: if the notes are lost or damaged, one more snapshot is made.
"""

from __future__ import annotations

import contextlib
import datetime
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pommel import json_file, private
from pommel.machine import snapshot_store
from pommel.paths import MachinePaths

Stamps = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Notes:
    """`looked`: the last run that checked whether a snapshot was due, and made it if so (ISO 8601 in UTC).

    `files`: each file's inode, size and modification time in ns after that run; None: the guest may have written
    meanwhile. `failed`: why the last run failed, or empty.
    """

    looked: str = ""
    files: Stamps | None = None
    failed: str = ""

    @property
    def looked_at(self) -> datetime.datetime | None:
        """The time of `looked`."""
        return datetime.datetime.fromisoformat(self.looked) if self.looked else None


def load(paths: MachinePaths) -> Notes:
    """The notes; empty ones if there are none, or if they cannot be read."""
    return json_file.read_or(_path(paths), _made_of, Notes())


def _made_of(told: dict[str, Any]) -> Notes:
    found = Notes(**told)
    texts = isinstance(found.looked, str) and isinstance(found.failed, str)
    whole = texts and (found.files is None or isinstance(found.files, dict))
    if whole and (found.looked_at is None or found.looked_at.tzinfo is not None):
        return found
    return Notes()


def save(paths: MachinePaths, **changes: Any) -> None:
    """Change the notes. Never raises: on a full disk they are lost."""
    with contextlib.suppress(OSError):
        private.make_folder(snapshot_store.folder(paths))
        json_file.write(_path(paths), asdict(replace(load(paths), **changes)))


def stamps(files: Sequence[Path]) -> Stamps | None:
    """The present state of `files`; None if it is unknown: a block device's time does not show changes of its data."""
    found = {}
    for file in files:
        try:
            seen = file.stat()
        except OSError:
            return None
        if not stat.S_ISREG(seen.st_mode):
            return None
        found[file.name] = [seen.st_ino, seen.st_size, seen.st_mtime_ns]
    return found


def _path(paths: MachinePaths) -> Path:
    return snapshot_store.folder(paths) / ".timer.json"
