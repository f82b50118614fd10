"""Checks that a folder is writable and has enough space. Band: shared ground.

Called before the work begins, so that a full or read-only disk does not interrupt it. The check writes nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from pommel import account
from pommel.errors import BuildError, NotPermitted

LEAST_BYTES = 32 << 20  # records, logs, and the first blocks of a disk that grows
_MIB = 1 << 20
_ELSEWHERE = "set POMMEL_HOME to a folder that you can write to"


def must_take(folder: Path, *, room_bytes: int = LEAST_BYTES, hint: str = _ELSEWHERE) -> None:
    """Check that files of `room_bytes` can be made in `folder`, or in its first existing parent.

    Raises:
        NotPermitted: they cannot; the message has the reason, and the hint is `hint`.
        BuildError: there is too little space.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if why := why_not(there):
        raise NotPermitted(f"{there} cannot be written: {why}", hint=hint)
    free = shutil.disk_usage(there).free
    if free < room_bytes:
        raise BuildError(
            f"the disk is full: {there} has {free // _MIB} MiB left, but {-(-room_bytes // _MIB)} MiB are needed",
            hint=f"free some space there (df -h {there}), or set POMMEL_HOME to a folder on a larger disk",
        )


def why_not(path: Path) -> str | None:
    """The reason why this user cannot write to `path`, as in "PATH cannot be written: …"; None if they can."""
    if os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0), effective_ids=True):
        return None
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "its file system is mounted read-only"
    owner = path.stat().st_uid
    return "its mode does not allow it" if owner == os.geteuid() else f"it belongs to {_name(owner)}"


def take_it(path: Path) -> str:
    """The command that gives a folder of Pommel back to this user, for example after a `sudo pommel`."""
    typed = shlex.quote(str(path))
    return f"to make it yours: sudo chown -R {os.geteuid()} {typed}; if it is read-only: findmnt -T {typed}"


def _name(uid: int) -> str:
    return account.spelled(uid)
