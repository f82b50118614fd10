"""Clones, golden machines, and other names for machines. Band: app."""

from __future__ import annotations

import contextlib
import datetime
import os
import plistlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pommel.app.console import page as console
from pommel.app.disk import encryption
from pommel.app.machine import identities
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import StateError, UsageError
from pommel.machine import cloning, folder, identity, lease, naming, ports, record, saved_memory, smbios
from pommel.machine.exclusive import serialised
from pommel.machine.lease import Lease
from pommel.machine.permission import CLONED, GILDED, RENAMED, UNGILDED, working_on
from pommel.machine.record import MachineRecord
from pommel.paths import MachinePaths, build_aside, sweep_aside
from pommel.progress import Report, ignore, note


@dataclass(frozen=True, slots=True)
class Throwaway:
    """The extras of a throw-away clone: its lease, and settings that replace defaults."""

    lease: Lease
    settings: Mapping[str, Any]


def clone(
    source: str,
    target: str,
    *,
    linked: bool | None = None,
    keep_identity: bool = False,
    model: str | None = None,
    throwaway: Throwaway | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> MachineRecord:
    """Make machine `target` from the stopped machine `source`: its disks, NVRAM and keys, with a new identity.

    `linked` disks contain only the differences, and after that `source` must not change; None: linked if `source` is
    golden. `keep_identity` keeps UUID, MAC address and Apple's numbers: two such machines must not run in one network.
    If there is no known boot disk for new Apple numbers, the clone has those of `source`, and a note says so.

    Raises:
        UsageError: `target` is not a valid name, or the SMBIOS model is unknown, or there is no boot disk to write it
            on.
        StateError: `source` does not exist, runs or sleeps, or `target` exists.
        BuildError: there is too little room.
    """
    workspace = workspace or Workspace.current()
    base, paths = workspace.made(source), workspace.paths(target)
    _refuse_taken(target, paths)
    with _both(workspace, source, target), encryption.unlocked(workspace, source), contextlib.ExitStack() as held:
        held.enter_context(working_on(base, CLONED, report=report))
        kept = record.load(base.record)
        made = _record_of_clone(workspace, kept, target, keep_identity=keep_identity, model=model, report=report)
        made = encryption.of_clone(workspace, kept, made)
        if throwaway is not None:
            made = replace(made, settings={**(made.settings or {}), **throwaway.settings})
        _refuse_taken(target, paths)
        sweep_aside(paths.directory)
        linked = kept.golden if linked is None else linked
        is_new = kept.encrypted is None and made.encrypted is not None
        cloning.refuse_encrypted(base, target, linked=linked, encrypted=is_new)
        if is_new:
            held.enter_context(encryption.new_key(workspace, workspace.spec(target), made, report))
        aside = held.enter_context(build_aside(paths.directory))
        cloning.clone_disks(base, aside, linked=linked, form=kept.disk_format, encrypted=is_new, report=report)
        _copy_own(base, aside)
        if not keep_identity:
            identities.write_on(aside / folder.OWN_BOOT_DISK, made, report=report)
        _copy_keys(base, aside, target)
        if throwaway is not None:  # before the rename: a throw-away machine must never exist without its lease
            lease.write(aside, throwaway.lease)
        _allot_port(workspace, aside / paths.record.name, made, report)
    return record.load(paths.record)


def rename(name: str, new: str, *, workspace: Workspace | None = None) -> None:
    """Rename the stopped machine `name` to `new`.

    Raises:
        StateError: it runs, does not exist, or linked clones depend on it; or a machine `new` exists.
    """
    from pommel.app.host.checks import data_home
    from pommel.host import desktop

    workspace = workspace or Workspace.current()
    old, paths = workspace.made(name), workspace.paths(new)
    with _both(workspace, name, new), encryption.unlocked(workspace, name), working_on(old, RENAMED):
        _refuse_taken(new, paths)
        console.stop(workspace, name)
        naming.write(old, new)
        shutil.rmtree(old.runtime, ignore_errors=True)  # first: once the old name is gone, nobody finds it
        old.directory.rename(paths.directory)
        desktop.remove(name, data_home=data_home(workspace.env))


def golden(name: str, on: bool = True, *, workspace: Workspace | None = None) -> None:
    """Mark the stopped machine `name` as a base for clones, which is never started itself; or remove the mark.

    With the mark, its saved memory is deleted too: it would not fit the disks any more once they change.

    Raises:
        StateError: it runs, sleeps or does not exist.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name), working_on(paths, GILDED if on else UNGILDED):
        if not on:
            saved_memory.forget(paths)
        record.save(paths.record, replace(record.load(paths.record), golden=on))


def apple_model(workspace: Workspace, kept: MachineRecord) -> str:
    """The Mac model for a machine: its upstream's, unless Apple does not offer the machine's macOS for that model."""
    said = None
    with contextlib.suppress(Exception):  # any error in that file: `model_for` has a default
        spec = workspace.spec(kept.name)
        config = workspace.upstream_folder(spec) / "OpenCore" / "config.plist"
        said = str(plistlib.loads(config.read_bytes())["PlatformInfo"]["Generic"]["SystemProductName"])
    return smbios.model_for(kept.macos, said)


def _refuse_taken(name: str, paths: MachinePaths) -> None:
    folder.refuse_lost(name, paths.directory)
    if paths.directory.exists():
        raise StateError(f"{name} already exists", hint="pommel list shows the machines")


def _record_of_clone(
    workspace: Workspace, kept: MachineRecord, target: str, *, keep_identity: bool, model: str | None, report: Report
) -> MachineRecord:
    config = workspace.file_of(kept.name).path
    made = replace(
        kept,
        name=target,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        clone_of=kept.name,
        golden=False,
        disk_format=None,  # copies are always qcow2
        config=str(config.absolute()) if config else kept.config,
    )
    if keep_identity:
        return made
    fresh = identity.new_identity(os.urandom(identity.RANDOM_BYTES))
    made = replace(made, uuid=fresh.uuid, mac=fresh.mac)
    if kept.upstream == TRIAL:
        return made
    if kept.apple is None and not identities.can_be_written(workspace, kept.name):
        if model is not None:
            raise UsageError(
                f"{kept.name} uses no boot disk that Pommel knows, so {target} cannot become a {model}",
                hint="set boot_disk to an image of OpenCore's boot disk, or leave out --model",
            )
        note(
            report,
            f"{target}: no boot disk with Apple's serial numbers is known; if it is a Mac, it has the numbers of "
            f"{kept.name}",
        )
        return made
    wanted = model or kept.model or apple_model(workspace, kept)
    try:
        apple = smbios.new_apple_identity(wanted, os.urandom(smbios.RANDOM_BYTES), uuid=fresh.uuid, mac=fresh.mac)
    except ValueError as unknown:
        raise UsageError(str(unknown)) from None
    return replace(made, model=apple.model, serial=apple.serial, mlb=apple.mlb, rom=apple.rom)


@contextlib.contextmanager
def _both(workspace: Workspace, one: str, other: str) -> Iterator[None]:
    """Hold the locks of two machines, in alphabetical order, so that two such calls cannot wait for each other."""
    if one == other:
        raise UsageError(f"{one} and {other} are the same name")
    with contextlib.ExitStack() as held:
        for name in sorted((one, other)):
            held.enter_context(serialised(workspace.paths(name)))
        yield


def _copy_own(base: MachinePaths, aside: Path) -> None:
    """Copy the firmware and the boot disk of an adopted machine, so that the clone boots like its base."""
    for name in (folder.OWN_FIRMWARE, folder.OWN_BOOT_DISK):
        if (base.directory / name).is_file():
            shutil.copyfile(base.directory / name, aside / name)


def _allot_port(workspace: Workspace, path: Path, made: MachineRecord, report: Report) -> None:
    """Write the record with a port of this host that no other machine uses."""

    def keep(port: int) -> None:
        record.save(path, replace(made, ssh_port=port))

    ports.allot_port(workspace.home, made.name, wanted=None, keep=keep, report=report)


def _copy_keys(base: MachinePaths, aside: Path, target: str) -> None:
    if base.ssh_key.parent.is_dir():
        shutil.copytree(base.ssh_key.parent, aside / base.ssh_key.parent.name, symlinks=True)
        naming.write_keys(aside / base.ssh_key.parent.name / base.known_hosts.name, target)
