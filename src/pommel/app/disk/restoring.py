"""Make a machine from a backup: a new one, or in place of an existing one. Band: app.

All files are read and compared with the manifest first; then the machine is built aside and renamed into place. Another
person may have changed the backup: so only settings for size and speed are restored, and none that names a program, a
file or a device of this host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import private
from pommel.app.console import page as console
from pommel.app.disk import backups, encryption
from pommel.app.machine import identities
from pommel.app.workspace import Workspace
from pommel.errors import BuildError, PommelError, StateError, UsageError
from pommel.machine import (
    backup_reading,
    backup_store,
    copying,
    disk,
    identity,
    leftovers,
    moved,
    naming,
    ports,
    record,
    smbios,
)
from pommel.machine.backup_manifest import BackupPoint
from pommel.machine.backup_reading import Verified
from pommel.machine.backup_store import BackupContents
from pommel.machine.disk_contents import facts_of
from pommel.machine.events import note_event
from pommel.machine.exclusive import serialised
from pommel.machine.folder import OWN_BOOT_DISK, refuse_lost
from pommel.machine.permission import RESTORED_OVER, must_allow, working_on
from pommel.machine.record import MachineRecord
from pommel.paths import MachinePaths, build_aside, check_name, sweep_aside
from pommel.progress import Report, ignore, note, warn

# Settings for size, speed and display, which name nothing of a particular host.
TAKEN = (
    *("accel", "memory", "cpu", "cpu_flags", "sockets", "cores", "threads", "topology", "macos", "ssh_user", "disk"),
    *("stop_timeout", "boot_timeout", "boot_script", "apple_services", "resolution", "display", "clipboard", "mac"),
)
_OF_THE_HOST = ("forwards.json", "usb.json", "shares.json")
_SLACK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class ChosenPoint:
    """The backup to restore, and the name of the machine. `over`: it replaces an existing machine."""

    held: BackupContents
    point: BackupPoint
    name: str
    over: bool
    keeps_identity: bool

    def as_dict(self) -> dict[str, Any]:
        """The plan as one JSON object."""
        told = backups.point_as_dict(self.point)
        plan = {"restored_as": self.name, "replaces_machine": self.over, "keeps_identity": self.keeps_identity}
        return {**told, **plan, "path": str(self.held.path / self.point.id)}


def found(target: Path, name: str | None = None, *, workspace: Workspace) -> list[BackupContents]:
    """The machines whose backups are in `target`, or machine `name` alone.

    Raises:
        StateError: there is no such folder, or nothing in it.
        BuildError: it cannot be read.
    """
    folder = backup_store.target_folder(target, workspace.home.root, write=False)
    held = [each for each in backup_store.all_held(folder) if name is None or each.path.name == name]
    if not held:
        there = ", ".join(each.path.name for each in backup_store.all_held(folder))
        what = f"no backup of {name}" if name else "no backup"
        raise StateError(
            f"there is {what} in {folder}", hint=f"there are: {there}" if there else "to make one: pommel backup NAME"
        )
    return held


def choose(
    target: Path,
    name: str | None = None,
    *,
    at: str | None = None,
    new: str | None = None,
    keep_identity: bool | None = None,
    workspace: Workspace,
) -> ChosenPoint:
    """Choose the point `at` (None: the newest) of machine `name`, to be restored as machine `new`. Nothing is written.

    The machine keeps its identity if no other machine here has it; `keep_identity` overrides this.

    Raises:
        UsageError: the folder has backups of several machines, and none is named; or `new` is not a valid name.
        StateError, BuildError: there is no such backup, or it cannot be read.
    """
    held = found(target, name, workspace=workspace)
    if len(held) > 1:
        raise UsageError("which machine?", hint=f"give the name of one: {', '.join(each.path.name for each in held)}")
    point = _at(held[0], at)
    called = check_name(new or name or point.machine)
    paths = workspace.paths(called)
    refuse_lost(called, paths.directory)
    encryption.refuse_plain(workspace, called, "made from a backup")
    over = paths.directory.exists()
    kept = keep_identity if keep_identity is not None else not _elsewhere(workspace, point.uuid, called)
    return ChosenPoint(held[0], point, called, over, kept)


def verify(chosen: ChosenPoint, *, report: Report = ignore) -> Verified:
    """Read all files of the point and of the points that it depends on, and compare them with their hashes.

    Raises:
        BuildError: a file is missing or has changed.
    """
    return backup_reading.verify(chosen.held.path, chosen.held.points, chosen.point.id, report=report)


def restore(chosen: ChosenPoint, *, workspace: Workspace, report: Report = ignore) -> MachineRecord:
    """Make the chosen machine completely, or not at all. It replaces an existing machine of that name.

    Raises:
        StateError: the existing machine runs, sleeps, is golden or a base of linked clones.
        BusyError: another command works on it, or in the target.
        BuildError: a file of the backup has changed; or there is too little room.
    """
    paths = workspace.paths(chosen.name)
    workspace.mark()
    with serialised(paths), _reading(chosen.held.path):
        if paths.directory.exists() and not chosen.over:
            raise StateError(f"there is a machine called {chosen.name} now", hint="choose another name: --as NEW")
        with _replacing(paths, report) if chosen.over else contextlib.nullcontext():
            sweep_aside(paths.directory)
            leftovers.sweep_unfinished(paths.directory.parent)
            verify(chosen, report=report)
            # Disks of the old machine on other drives: listed before its folder is replaced, deleted after it.
            elsewhere = moved.own_files(paths.directory) if chosen.over else []
            if chosen.over:
                console.stop(workspace, chosen.name)
            with build_aside(paths.directory) as aside:
                _fill(workspace, chosen, paths, aside, report)
            for file in elsewhere:
                file.unlink(missing_ok=True)
    note_event(paths, "restored", f"{chosen.point.id} of {chosen.point.machine}")
    for line in chosen.point.notes:
        note(report, line)
    return record.load(paths.record)


@contextlib.contextmanager
def _replacing(paths: MachinePaths, report: Report) -> Iterator[None]:
    """Check that the existing machine may be replaced, and lock it during the block."""
    if paths.directory.is_symlink():
        raise StateError(
            f"the folder of {paths.name} is a link to {os.path.realpath(paths.directory)}, so it is not replaced",
            hint="choose another name: --as NEW",
        )
    if paths.record.exists():
        with working_on(paths, RESTORED_OVER, report=report):
            yield
    else:  # a folder without a record is the rest of an interrupted deletion or creation
        must_allow(paths, RESTORED_OVER)
        yield


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Lock the folder, so that no other command removes the backup while it is read.

    A folder without write permission needs no lock, because nothing can be removed from it.
    """
    if not os.access(folder, os.W_OK):
        yield
        return
    with backup_store.locked(folder):
        yield


def _at(held: BackupContents, at: str | None) -> BackupPoint:
    if not held.points:
        why = "; ".join(f"{point}: {wrong}" for point, wrong in held.damaged.items())
        raise BuildError(f"{held.path} has no backup that can be read" + (f" ({why})" if why else ""))
    ordered = sorted(held.points.values(), key=lambda point: point.number)
    if at is None:
        return ordered[-1]
    for point in ordered:
        if at == point.id or (at.isdigit() and int(at) == point.number):
            return point
    earlier = [point for point in ordered if "-" in at[1:] and point.created[: len(at)] <= at]
    if at in held.damaged:
        raise BuildError(
            f"the backup {at} cannot be read: {held.damaged[at]}", hint="choose another backup; to list them: --list"
        )
    if not earlier:
        ways = "give its number, its name, or a time such as 2026-01-31T12:00"
        hint = f"{ways}; there are {ordered[0].id} to {ordered[-1].id}"
        raise StateError(f"there is no backup {at} of {held.path.name}", hint=hint)
    return earlier[-1]


def _elsewhere(workspace: Workspace, uuid: str, name: str) -> bool:
    """Whether a machine here other than `name` has this identity."""
    for other in workspace.home.names():
        with contextlib.suppress(PommelError):
            if other != name and record.load(workspace.paths(other).record).uuid == uuid:
                return True
    return False


def _fill(workspace: Workspace, chosen: ChosenPoint, paths: MachinePaths, aside: Path, report: Report) -> None:
    held, point = chosen.held, chosen.point
    sizes = {each.slot: backup_reading.takes_bytes(held.path, held.points, point.id, each.slot) for each in point.disks}
    disk.check_room(aside.parent, sum(sizes.values()) + _SLACK_BYTES)
    for slot, size in sizes.items():
        image = backup_reading.image(held.path, held.points, point.id, slot)
        copying.write_whole(image, aside / slot, size, report=report)
    for each in point.files:
        if each.name in _OF_THE_HOST and not chosen.keeps_identity:  # as a clone, which gets none of these
            continue
        data = backup_reading.small(held.path, point.id, each)
        private.make_folder((aside / each.name).parent)
        with private.written(aside / each.name) as out:
            out.write(data)
    must_stand_alone(aside / OWN_BOOT_DISK, "backup")
    kept = _record(workspace, chosen, aside, report)
    naming.write_keys(aside / "ssh" / paths.known_hosts.name, chosen.name)
    identities.write_on(aside / OWN_BOOT_DISK, kept, report=report)
    ports.allot_port(
        workspace.home,
        chosen.name,
        wanted=kept.ssh_port if chosen.keeps_identity else None,
        keep=lambda port: record.save(aside / paths.record.name, dataclasses.replace(kept, ssh_port=port)),
        report=report,
    )


def _record(workspace: Workspace, chosen: ChosenPoint, aside: Path, report: Report) -> MachineRecord:
    """The record of the new machine, from the record in the backup."""
    path = aside / "machine.json"
    if not path.is_file():
        raise BuildError(f"the backup {chosen.point.id} has no record of its machine")
    kept = record.load(path)
    config = workspace.file_of(chosen.name)
    said: Mapping[str, Any] = {**(kept.settings or {}), **chosen.point.settings}
    if chosen.name in config.machines:
        said = kept.settings or {}  # pommel.toml speaks for itself
    taken = {key: value for key, value in said.items() if key in TAKEN}
    if left := sorted(set(said) - set(taken)):
        warn(report, f"settings that belong to a host are not restored from a backup: {', '.join(left)}")
    made = dataclasses.replace(
        kept,
        settings=taken or None,
        disk_format=None,
        encrypted=None,  # whatever it says: the disks that were just written are not
        config=str(config.path.absolute()) if config.path else None,
    )
    if chosen.keeps_identity:
        return dataclasses.replace(made, name=chosen.name)
    return _renumbered(dataclasses.replace(made, name=chosen.name))


def _renumbered(kept: MachineRecord) -> MachineRecord:
    """The record with a new identity. Apple's serial numbers are created again only if the machine has any."""
    fresh = identity.new_identity(os.urandom(identity.RANDOM_BYTES))
    made = dataclasses.replace(kept, uuid=fresh.uuid, mac=fresh.mac)
    if kept.apple is None:
        return made
    if kept.apple.model not in smbios.MODELS:
        raise StateError(
            f"no serial numbers can be created for this machine's model, {kept.apple.model}",
            hint="keep its numbers, and run only one machine with them: --keep-identity",
        )
    random = os.urandom(smbios.RANDOM_BYTES)
    apple = smbios.new_apple_identity(kept.apple.model, random, uuid=fresh.uuid, mac=fresh.mac)
    return dataclasses.replace(made, model=apple.model, serial=apple.serial, mlb=apple.mlb, rom=apple.rom)


def must_stand_alone(path: Path, source: str) -> None:
    """Refuse a boot disk from a `source` (backup, image) that refers to another file: QEMU would open any file here.

    Raises:
        BuildError: it has a backing file or external data, or its format may have them.
    """
    if not path.is_file():
        return
    try:
        header = disk.header(path)
        alone = header.backing is None and not header.external_data
    except (OSError, ValueError):
        alone = facts_of(str(path)).format == "raw"
    if not alone:
        raise BuildError(f"the boot disk in the {source} ({path.name}) refers to another file, so it is not used")
