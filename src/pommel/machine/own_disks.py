"""The files of a machine's disks, and their names. Band: shell."""

from __future__ import annotations

import re
from pathlib import Path

from pommel.errors import UsageError
from pommel.machine import disk
from pommel.paths import MachinePaths

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
_PREFIX, _SUFFIX = "disk-", ".qcow2"


def all_disks(paths: MachinePaths) -> list[Path]:
    """The machine's disks: its own, then the further ones by name."""
    return [paths.disk, *data_disks(paths).values()]


def data_disks(paths: MachinePaths) -> dict[str, Path]:
    """The further disks of the machine, by name."""
    files = {path.name[len(_PREFIX) : -len(_SUFFIX)]: path for path in paths.directory.glob(f"{_PREFIX}*{_SUFFIX}")}
    return {name: files[name] for name in sorted(files) if _NAME.match(name)}


def data_path(paths: MachinePaths, name: str) -> Path:
    """The path of the machine's further disk `name`.

    Raises:
        UsageError: the name is not valid.
    """
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} cannot be a disk's name", hint="use 1 to 32 of a-z 0-9 _ - and begin with a letter or digit"
        )
    return paths.directory / f"{_PREFIX}{name}{_SUFFIX}"


def add(paths: MachinePaths, name: str, size_bytes: int, *, encrypted: bool = False) -> disk.DiskInfo:
    """Make another, empty disk for the machine. The caller holds its lock; a running machine gets it at its next start.

    An `encrypted` disk has the same passphrase as the machine's own disk: a machine has only one.

    Raises:
        UsageError: the name is not valid.
        StateError: the disk already exists; or the present passphrase does not open the machine's own disk.
        BuildError, MissingProgram: as `disk.create` does.
    """
    path = data_path(paths, name)
    if encrypted:
        disk.must_open(paths.disk)
    return disk.create(path, size_bytes, encrypted=encrypted)
