"""Make disks and look at them, by qemu-img. Band: shell.

A disk is made aside and renamed into place, so there is never half a one. Nothing here knows what is on it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import process
from pommel.errors import BuildError, CommandFailed, StateError

_HINT = "install qemu-img (Debian: qemu-utils)"
_TIMEOUT_S = 60.0
_MIB = 1 << 20
_CREATE_BYTES = 16 * _MIB  # more than the metadata of any new qcow2 takes


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """What an image is. `actual_bytes` is what it takes on the host; `backing` is the file it lies over."""

    path: Path
    format: str
    virtual_bytes: int
    actual_bytes: int
    backing: Path | None
    backing_format: str | None


def create(
    path: Path,
    size_bytes: int | None = None,
    *,
    backing: Path | None = None,
    backing_format: str = "qcow2",
    room_bytes: int = 0,
) -> DiskInfo:
    """Make the qcow2 disk `path`: empty of `size_bytes`, or over `backing` (then the size may be left out).

    `room_bytes` is what will be written to it for certain: the host must have that much left. The caller holds the lock
    of the machine whose disk it is.

    Raises:
        StateError: there is a disk already.
        BuildError: the host has too little room, or qemu-img fails.
        MissingProgram: there is no qemu-img.
    """
    path = path.absolute()
    if path.exists():
        raise StateError(f"{path} exists already")
    if backing is not None and not backing.is_file():
        raise BuildError(f"{backing}, which the disk {path.name} should lie over, is not there")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(path.parent, max(room_bytes, _CREATE_BYTES))
        _make(path, size_bytes, backing, backing_format)
    except OSError as failure:
        raise BuildError(f"the disk {path} cannot be made: {failure}") from failure
    return info(path)


def info(path: Path) -> DiskInfo:
    """Look at the image `path`, which a running QEMU may be writing to.

    Raises:
        StateError: it is not there.
        BuildError: qemu-img cannot read it.
        MissingProgram: there is no qemu-img.
    """
    path = path.absolute()
    if not path.exists():
        raise StateError(f"there is no disk {path}")
    told: Any = json.loads(_qemu_img("info", "--force-share", "--output=json", str(path)))
    backing = told.get("full-backing-filename") or told.get("backing-filename")
    return DiskInfo(
        path=path,
        format=told["format"],
        virtual_bytes=told["virtual-size"],
        actual_bytes=told["actual-size"],
        backing=Path(backing) if backing else None,
        backing_format=told.get("backing-filename-format"),
    )


def free_bytes(folder: Path) -> int:
    """How much room this user has on the file system of `folder`."""
    return shutil.disk_usage(folder).free


def _check_room(folder: Path, room_bytes: int) -> None:
    free = free_bytes(folder)
    if free < room_bytes:
        raise BuildError(
            f"{folder} has {free // _MIB} MiB left, and {room_bytes // _MIB} MiB are needed",
            hint=f"make room there (df -h {folder}), or set POMMEL_HOME to a larger disk",
        )


def _make(path: Path, size_bytes: int | None, backing: Path | None, backing_format: str) -> None:
    fd, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(fd)
    try:
        words = ["create", "-q", "-f", "qcow2"]
        if backing is not None:
            words += ["-b", str(backing.absolute()), "-F", backing_format]
        _qemu_img(*words, aside, *([str(size_bytes)] if size_bytes is not None else []))
        Path(aside).chmod(0o644)
        Path(aside).rename(path)
    finally:
        Path(aside).unlink(missing_ok=True)


def _qemu_img(*words: str) -> str:
    process.which("qemu-img", hint=_HINT)
    try:
        return process.run(["qemu-img", *words], timeout_s=_TIMEOUT_S).text
    except CommandFailed as failure:
        raise BuildError(str(failure), hint=failure.hint) from failure
