"""Clones of a machine's disks, and who lies over whom. Band: shell.

A linked clone's disk lies over the base's and holds only what differs; it is made at once and takes no room. From then
on nobody may write to the base's disk: a single changed block would be a hole in every clone. Nothing is written down
about it: the links are in the clones' own disks, and `linked_clones` reads them there. A disk may be a link to
a file on another drive, and is known by the file itself, whichever name a clone has for it. Snapshots are not taken
along, and identity, record and keys are the caller's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import BuildError, StateError
from pommel.machine import copying, disk
from pommel.machine.own_disks import all_disks
from pommel.machine.permission import CLONED, CLONED_LINKED, must_allow, working_on
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class ClonedDisks:
    """What was made: the files, whether they are linked, and whether a full copy shares blocks (a reflink)."""

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

    `target` is a folder beside `source.directory`, perhaps still in the making: a linked disk names its base by a
    relative path. `form` is the format of the machine's own disk, where it is no qcow2. Full copies are `encrypted`, if
    that is said or the source is. Hold the lock of `source` until `target` has its final name, lest the base be deleted
    meanwhile.

    Raises:
        StateError: the machine runs, sleeps or has no disk, or `target` has such files already; or a linked one is to
            be encrypted.
        BusyError: somebody else is at work on it.
        BuildError: there is too little room, or qemu-img fails.
    """
    refuse_encrypted(source, target.name, linked=linked, encrypted=encrypted)
    with working_on(source, CLONED_LINKED if linked else CLONED, report=report):
        wanted = list(disks) if disks is not None else all_disks(source)
        own = {source.disk: form}
        shared = [_clone(path, target / path.name, linked, own.get(path), encrypted, report) for path in wanted]
        _copy_nvram(source.nvram, target / source.nvram.name)
    return ClonedDisks(tuple(target / path.name for path in wanted), linked, not linked and all(shared))


def refuse_encrypted(source: MachinePaths, name: str, *, linked: bool, encrypted: bool = False) -> None:
    """See that no linked clone `name` of an encrypted machine is wanted, and none that is to be `encrypted` itself.

    Raises:
        StateError: one is.
    """
    if linked and encrypted:
        raise StateError(
            f"a linked clone of {source.name} cannot be encrypted: the disk that it would lie over is in plain text",
            hint=f"pommel clone {source.name} {name} --full",
        )
    must_allow(source, CLONED_LINKED if linked else CLONED)


def linked_clones(machines: Path, name: str) -> list[str]:
    """The machines in the folder `machines` whose disks lie over one of machine `name`'s, in order.

    Reads one header a disk and starts no program. A disk that cannot be read lies over nothing.
    """
    base = machines / name
    others = (folder for folder in sorted(machines.iterdir()) if folder.name != name) if machines.is_dir() else ()
    home, files = Path(os.path.realpath(base)), {key for path in _images(base) if (key := _key(path)) is not None}
    return [folder.name for folder in others if not folder.name.startswith(".") and _lies_over(folder, home, files)]


def refuse_if_base(machines: Path, name: str, done: str) -> None:
    """See that machine `name` has no linked clones, before it is `done` ("started", "deleted", "renamed").

    Raises:
        StateError: it has; the message names them.
    """
    if not (clones := linked_clones(machines, name)):
        return
    named = ", ".join(clones[:_MOST_NAMED]) + (f" and {len(clones) - _MOST_NAMED} more" if clones[_MOST_NAMED:] else "")
    raise StateError(
        f"{name} cannot be {done}: the disks of its linked clones depend on its own disks ({named})",
        hint=f"use a clone (pommel clone {name} NEW), or delete those clones first",
    )


def backing_of(path: Path) -> Path | None:
    """The file that the qcow2 disk `path` lies over, links resolved; None: none, or none that can be read."""
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
    """Whether a disk of `folder` lies over one in the folder `home`, or over one of these files wherever it is."""
    backings = (backing for backing in map(backing_of, _images(folder)) if backing is not None)
    return any(backing.parent == home or _key(backing) in files for backing in backings)


def _key(path: Path) -> tuple[int, int] | None:
    """What a file is known by, whatever it is called and however one comes to it; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _images(folder: Path) -> Iterator[Path]:
    """The files that may be disks, whatever they are called; sockets, folders and our own small files are not."""
    try:
        yield from (path for path in folder.iterdir() if path.suffix in (".img", ".qcow2") and path.is_file())
    except OSError:
        return
