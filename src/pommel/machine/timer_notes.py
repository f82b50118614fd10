"""What the timer remembers of a machine between its runs: snapshots/.timer.json. Band: shell.

When it looked last, how the files were that it left, and why its last run failed. Nothing depends on it but that a
machine which has not changed is not saved again: notes that are lost or damaged cost one snapshot more.
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
    """`looked`: the last run that found out whether a snapshot was due, and made it if so (ISO 8601 in UTC).

    `files`: each file's inode, size and time of change in ns as that run left them; None: the guest may have written
    meanwhile. `failed`: why the last run failed, or empty.
    """

    looked: str = ""
    files: Stamps | None = None
    failed: str = ""

    @property
    def looked_at(self) -> datetime.datetime | None:
        """When that was, as an instant."""
        return datetime.datetime.fromisoformat(self.looked) if self.looked else None


def load(paths: MachinePaths) -> Notes:
    """The notes; empty ones where there are none, or none that can be read."""
    return json_file.read_or(_path(paths), _made_of, Notes())


def _made_of(told: dict[str, Any]) -> Notes:
    found = Notes(**told)
    texts = isinstance(found.looked, str) and isinstance(found.failed, str)
    whole = texts and (found.files is None or isinstance(found.files, dict))
    if whole and (found.looked_at is None or found.looked_at.tzinfo is not None):
        return found
    return Notes()


def save(paths: MachinePaths, **changes: Any) -> None:
    """Change the notes. Never raises: a full disk loses them."""
    with contextlib.suppress(OSError):
        private.make_folder(snapshot_store.folder(paths))
        json_file.write(_path(paths), asdict(replace(load(paths), **changes)))


def stamps(files: Sequence[Path]) -> Stamps | None:
    """How `files` are now; None where that cannot be told: a block device's time says nothing of its data."""
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
