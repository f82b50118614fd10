"""Clones a machine's disks, and finds linked clones. Band: shell.

A linked clone's disk has the base's disk as its backing file and stores only the differences; it is made at once and
needs no space. From then on nobody may write to the base's disk: a single changed block would damage every clone. There
is no separate record: the links are in the clones' own disks, and `linked_clones` reads them there. A disk may be
a symbolic link to a file on another drive; it is identified by the file itself, whichever name a clone has for it.
Snapshots are not copied. The caller handles identity, record and keys.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import BuildError, StateError
from pommel.machine import copying, disk, lease
from pommel.machine.own_disks import all_disks
from pommel.machine.permission import CLONED, CLONED_LINKED, must_allow, working_on
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class ClonedDisks:
    """The result: the files, whether they are linked, and whether a full copy shares blocks (a reflink)."""

    files: tuple[Path, ...]
    linked: bool
    shares_blocks: bool


def clone_disks(
    source: MachinePaths,
    target: Path,
    *,
    linked: bool,
    disks: Sequence[Path] | None = None,
    form: str | None = None,
    encrypted: bool = False,
    report: Report = ignore,
) -> ClonedDisks:
    """Clone the disks (default: all of them) and the NVRAM of the stopped machine `source` into the folder `target`.

    `target` is a folder beside `source.directory`, perhaps still incomplete: a linked disk names its base by a relative
    path. `form` is the format of the machine's own disk if it is not qcow2. Full copies are encrypted if `encrypted` is
    set or the source is encrypted. Hold the lock of `source` until `target` has its final name, or else the base may be
    deleted meanwhile.

    Raises:
        StateError: the machine runs, sleeps or has no disk, or `target` already has such files; or a linked clone is to
            be encrypted.
        BusyError: another process works on it.
        BuildError: there is not enough space, or qemu-img fails.
    """
    refuse_encrypted(source, target.name, linked=linked, encrypted=encrypted)
    with working_on(source, CLONED_LINKED if linked else CLONED, report=report):
        wanted = list(disks) if disks is not None else all_disks(source)
        own = {source.disk: form}
        shared = [_clone(path, target / path.name, linked, own.get(path), encrypted, report) for path in wanted]
        _copy_nvram(source.nvram, target / source.nvram.name)
    return ClonedDisks(tuple(target / path.name for path in wanted), linked, not linked and all(shared))


def refuse_encrypted(source: MachinePaths, name: str, *, linked: bool, encrypted: bool = False) -> None:
    """Check that `name` is not a linked clone of an encrypted machine, nor one that is to be `encrypted` itself.

    Raises:
        StateError: it is.
    """
    if linked and encrypted:
        raise StateError(
            f"a linked clone of {source.name} cannot be encrypted: the disk that it would lie over is in plain text",
            hint=f"pommel clone {source.name} {name} --full",
        )
    must_allow(source, CLONED_LINKED if linked else CLONED)


def linked_clones(machines: Path, name: str) -> list[str]:
    """The machines in the folder `machines` that are linked clones of machine `name`, in order.

    It reads one header for each disk and starts no program. A disk that cannot be read counts as not linked.
    """
    base = machines / name
    others = (folder for folder in sorted(machines.iterdir()) if folder.name != name) if machines.is_dir() else ()
    home, files = Path(os.path.realpath(base)), {key for path in _images(base) if (key := _key(path)) is not None}
    return [folder.name for folder in others if not folder.name.startswith(".") and _lies_over(folder, home, files)]


def refuse_if_base(machines: Path, name: str, done: str) -> None:
    """Check that machine `name` has no linked clones, before it is `done` ("started", "deleted", "renamed").

    Raises:
        StateError: it has linked clones; the message names them.
    """
    if not (clones := linked_clones(machines, name)):
        return
    named = ", ".join(clones[:_MOST_NAMED]) + (f" and {len(clones) - _MOST_NAMED} more" if clones[_MOST_NAMED:] else "")
    pooled = any((told := lease.read_in(machines / clone)) and told.purpose == lease.POOL for clone in clones)
    hint = f"use a clone (pommel clone {name} NEW), or delete those clones first"
    raise StateError(
        f"{name} cannot be {done}: the disks of its linked clones depend on its own disks ({named})",
        hint="those of the pool are listed and ended with: pommel pool" if pooled else hint,
    )


def backing_of(path: Path) -> Path | None:
    """The backing file of the qcow2 disk `path`, links resolved; None: there is none, or the disk cannot be read."""
    try:
        backing = disk.header(path).backing
    except (OSError, ValueError):
        return None
    if backing is None or backing.startswith("json:"):
        return None
    return Path(os.path.realpath(path.parent / backing))


def _clone(source: Path, target: Path, linked: bool, form: str | None, encrypted: bool, report: Report) -> bool:
    if not linked:
        return copying.copy_whole(source, target, form=form, encrypted=encrypted, report=report)
    disk.create(target, backing=source, backing_format=form or disk.info(source).format, relative=True)
    return False


def _copy_nvram(source: Path, target: Path) -> None:
    try:
        if source.exists():
            shutil.copyfile(source, target)
            target.chmod(0o600)
    except OSError as failure:
        raise BuildError(f"the firmware's variables cannot be copied: {failure}") from failure


def _lies_over(folder: Path, home: Path, files: set[tuple[int, int]]) -> bool:
    """Whether a disk of `folder` has a backing file in the folder `home`, or one of these files at any path."""
    backings = (backing for backing in map(backing_of, _images(folder)) if backing is not None)
    return any(backing.parent == home or _key(backing) in files for backing in backings)


def _key(path: Path) -> tuple[int, int] | None:
    """The identity of a file, independent of its name and path; None: it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _images(folder: Path) -> Iterator[Path]:
    """The files that may be disks, by their suffix; sockets, folders and our own small files are left out."""
    try:
        yield from (path for path in folder.iterdir() if path.suffix in (".img", ".qcow2") and path.is_file())
    except OSError:
        return
