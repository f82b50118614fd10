"""Moves a machine's disk to another place, for example another drive, and back. Band: shell.

The copy is made beside its new place, synced and read again; then a link to it replaces the disk in the machine's
folder in one step. So at every moment the machine has a complete disk, and a kill -9 leaves at most a file that
`recover` knows. On one file system nothing is copied: the file gets its new name in addition to the old one. The file
is not changed; it keeps its snapshots and the memory of a sleeping machine.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from pommel import account, private, writable
from pommel.errors import BuildError, NotPermitted, StateError
from pommel.machine import cloning, disk, moved, taking
from pommel.machine.moved import DiskMove, MovedDisks
from pommel.machine.permission import DISK_MOVED, working_on
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

_SLACK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """The plan of a move: its files; `copies`: it goes to another file system; the needed and the free space."""

    slot: Path
    old: Path
    new: Path
    copies: bool
    takes_bytes: int
    free_bytes: int

    @property
    def back(self) -> bool:
        """Whether the disk returns into the machine's folder."""
        return self.new == self.slot


def look(paths: MachinePaths, slot: Path, path: Path) -> PlannedMove:
    """What moving the disk `slot` to `path`, a folder or a file, would do.

    Raises:
        StateError: it is already there, another file is, or there is no such folder; or a linked clone would lose it.
        NotPermitted: the folder cannot be written to.
        BuildError: there is not enough space.
    """
    old = Path(os.path.realpath(slot))
    if not old.is_file():
        raise StateError(f"{old} is not a file that can be moved", hint="a disk of this host cannot be moved")
    new = _target(paths, slot, path)
    if new == old:
        raise StateError(f"the disk is already at {old}")
    if new != slot and os.path.lexists(new):
        raise StateError(f"the file {new} already exists", hint="choose another path, or move that file away")
    if why := writable.why_not(new.parent):
        raise NotPermitted(f"{new.parent} cannot be written: {why}", hint="choose a folder that you can write to")
    found = old.stat()
    place = PlannedMove(
        slot, old, new, found.st_dev != new.parent.stat().st_dev, found.st_blocks * 512, disk.free_bytes(new.parent)
    )
    if place.copies and place.free_bytes < place.takes_bytes + _SLACK_BYTES:
        raise BuildError(
            f"{new.parent} has {place.free_bytes >> 20} MiB left, but the disk needs {place.takes_bytes >> 20} MiB",
            hint=f"free some space there (df -h {shlex.quote(str(new.parent))}), or type: pommel disk compact "
            f"{paths.name}",
        )
    _refuse_if_lost_to_clones(paths, slot, old)
    return place


def move(paths: MachinePaths, slot: Path, path: Path, *, report: Report = ignore) -> PlannedMove:
    """Move the disk `slot`, a file or a link in the machine's folder, to `path`; the machine is stopped, or sleeps.

    Raises:
        StateError, NotPermitted, BuildError: as `look` does; or the machine runs, or the disk is in use.
        BusyError: another process works on the machine.
    """
    with working_on(paths, DISK_MOVED, report=report):
        place = look(paths, slot, path)
        try:
            _name_base_whole(place)
            with taking.kept_still(place.old):
                _move(paths, place, report)
            _finish(paths)
        except OSError as failure:
            recover(paths)
            raise BuildError(f"the disk cannot be moved to {place.new}: {failure}") from failure
        except BaseException:  # for Ctrl-C too
            recover(paths)
            raise
    report(Progress("move", f"{slot.name} is now at {place.new}", finished=True))
    return place


def recover(paths: MachinePaths) -> None:
    """Repair an interrupted move: finish it if the disk is at its new place, else remove the copy.

    Call it with the machine's lock held.

    Raises:
        MachineError: the record of the move cannot be read.
        BuildError: the remaining file cannot be removed.
    """
    try:
        _finish(paths)
    except OSError as failure:
        raise BuildError(f"a move of a disk cannot be finished: {failure}") from failure


def _target(paths: MachinePaths, slot: Path, path: Path) -> Path:
    path = Path(os.path.normpath(account.expand(path).absolute()))
    home, own = (Path(os.path.realpath(each)) for each in (paths.directory.parent.parent, paths.directory))
    if path.is_dir():
        path = slot if Path(os.path.realpath(path)) == own else path / f"{paths.name}-{slot.name}"
    folder = Path(os.path.realpath(path.parent))
    if folder == own:
        if path.name != slot.name:
            raise StateError(f"in the machine's folder, the disk is called {slot.name}", hint=f"give the folder: {own}")
        return slot
    if not folder.is_dir():
        raise StateError(f"there is no folder {path.parent}", hint=f"mkdir -p {shlex.quote(str(path.parent))}")
    if folder.is_relative_to(home):
        raise StateError(f"{path.parent} is in Pommel's own folder", hint=f"choose a folder outside of {home}")
    return folder / path.name


def _refuse_if_lost_to_clones(paths: MachinePaths, slot: Path, old: Path) -> None:
    """Refuse a move after which a linked clone would lose its base: it must name the disk in the machine's folder."""
    for name in cloning.linked_clones(paths.directory.parent, paths.name):
        folder = paths.directory.with_name(name)
        for image in (each for each in folder.iterdir() if each.suffix in (".img", ".qcow2")):
            named = _backing_name(image)
            if named is None or os.path.realpath(named) != str(old):
                continue
            if (Path(os.path.realpath(named.parent)), named.name) != (Path(os.path.realpath(slot.parent)), slot.name):
                raise StateError(
                    f"the disk of {name}, a linked clone, needs {old} as its backing file, and would lose it",
                    hint=f"pommel clone {name} NEW --full, and delete {name}; or do not move the disk",
                )


def _backing_name(image: Path) -> Path | None:
    """The backing file of an image, by its name there, from the folder that QEMU would use."""
    with contextlib.suppress(OSError, ValueError):
        backing = disk.header(image).backing
        if backing is not None and not backing.startswith("json:"):
            return Path(os.path.normpath((image.parent / backing).absolute()))
    return None


def _name_base_whole(place: PlannedMove) -> None:
    """Make the backing file's name absolute, because a relative one depends on the disk's folder."""
    try:
        header = disk.header(place.old)
    except (OSError, ValueError):  # not qcow2: it has no backing file
        return
    backing = header.backing
    if backing is None or backing.startswith("/") or ":" in backing.partition("/")[0]:
        return
    whole = next((each for folder in (place.slot, place.old) if (each := folder.parent / backing).exists()), None)
    if whole is None:
        raise StateError(f"{place.old} needs the backing file {backing}, which does not exist")
    words = ["-b", os.path.normpath(whole.absolute()), "-F", header.backing_format or "raw"]
    disk.qemu_img("rebase", "-q", "-u", "-f", "qcow2", *words, disk.image(place.old))


def _move(paths: MachinePaths, place: PlannedMove, report: Report) -> None:
    told = moved.read(paths.directory)
    moving = DiskMove(place.slot.name, str(place.old), str(place.new), moved.inode_of(place.old))

    def ready(found: os.stat_result) -> None:
        if not place.back and os.path.lexists(place.new):
            raise StateError(f"the file {place.new} exists now, and was not changed")
        moved.write(paths.directory, MovedDisks(told.disks, replace(moving, new_inode=(found.st_dev, found.st_ino))))

    moved.write(paths.directory, MovedDisks(told.disks, moving))
    if place.back:
        _come_back(place, ready, report)
    else:
        _bring(place.old, place.new, ready, report)
        private_mode(place.new)
        _switch(place.slot, place.new)


def private_mode(path: Path) -> None:
    """Make a disk readable by this user only, if the file system has modes."""
    with contextlib.suppress(OSError):
        path.chmod(private.FILE)


def _bring(old: Path, new: Path, ready: taking.Ready, report: Report) -> None:
    """Make the file `old` exist at `new` too: by a hard link, or by a copy."""
    try:
        ready(old.stat())
        os.link(old, new)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without hard links
        taking.copy_image(old, new, report=report, ready=ready)
    taking.sync_folder(new.parent)


def _come_back(place: PlannedMove, ready: taking.Ready, report: Report) -> None:
    """The file replaces the link to it."""
    try:
        ready(place.old.stat())
        aside = Path(_free_name(place.slot))
        os.link(place.old, aside)
        aside.replace(place.slot)
    except OSError:
        taking.copy_image(place.old, place.slot, report=report, ready=ready)
    private_mode(place.slot)
    taking.sync_folder(place.slot.parent)


def _switch(slot: Path, new: Path) -> None:
    aside = Path(_free_name(slot))
    aside.symlink_to(new)
    aside.replace(slot)
    taking.sync_folder(slot.parent)


def _free_name(slot: Path) -> str:
    """An unused name beside `slot`, in a form that `leftovers` recognizes."""
    fd, name = tempfile.mkstemp(prefix=f".{slot.name}.", dir=slot.parent)
    os.close(fd)
    Path(name).unlink()
    return name


def _finish(paths: MachinePaths) -> None:
    """Remove the file that is not the machine's disk any more, or never was, and write the result."""
    told = moved.read(paths.directory)
    if (moving := told.moving) is None:
        return
    slot, old, new = paths.directory / moving.slot, Path(moving.old), Path(moving.new)
    disks = {name: where for name, where in told.disks.items() if name != moving.slot}
    if not slot.is_symlink() if new == slot else moved.leads_to(slot, new):
        if old != slot and moved.inode_of(old) == moving.old_inode:
            old.unlink()
        if new != slot:
            disks[moving.slot] = moving.new
    else:  # the disk is at its old place
        if new != slot:
            _drop_asides(new)
            if moving.new_inode is not None and moved.inode_of(new) == moving.new_inode:
                new.unlink()
        disks = told.disks
    moved.write(paths.directory, MovedDisks(disks))
    taking.sync_folder(paths.directory)


def _drop_asides(new: Path) -> None:
    with contextlib.suppress(OSError):
        for left in new.parent.iterdir():
            if left.name.startswith(f".{new.name}.aside."):
                left.unlink()
