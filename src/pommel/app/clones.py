"""Clones, golden machines, and other names for machines. Band: app."""

from __future__ import annotations

import contextlib
import datetime
import os
import plistlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pommel.app import console
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import StateError, UsageError
from pommel.machine import cloning, folder, identity, ports, record, smbios
from pommel.machine.exclusive import serialised
from pommel.machine.permission import CLONED, GILDED, RENAMED, UNGILDED, working_on
from pommel.machine.record import MachineRecord
from pommel.paths import MachinePaths, build_aside, sweep_aside, write_atomic
from pommel.progress import Report, ignore

_TAHOE_MODEL = "iMac20,1"  # macOS 26 is offered to few Intel models, and this is one
_USUAL_MODEL = "iMacPro1,1"


def clone(
    source: str,
    target: str,
    *,
    linked: bool | None = None,
    keep_identity: bool = False,
    model: str | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> MachineRecord:
    """Make machine `target` from the stopped machine `source`: its disks, NVRAM and keys, and an identity of its own.

    `linked` disks hold only what differs, and `source` must not be written to from then on; by default those of a
    golden machine are. `keep_identity` keeps UUID, MAC address and Apple's numbers: two such must not meet in a net.

    Raises:
        UsageError: `target` cannot be a name, or the SMBIOS model is unknown.
        StateError: `source` is not there, runs or sleeps, or `target` is there.
        BuildError: there is too little room.
    """
    workspace = workspace or Workspace.current()
    base, paths = workspace.made(source), workspace.paths(target)
    if paths.directory.exists():
        raise StateError(f"{target} exists already", hint="pommel list shows the machines")
    with _both(workspace, source, target), working_on(base, CLONED, report=report), contextlib.ExitStack() as held:
        kept = record.load(base.record)
        made = _record_of_clone(workspace, kept, target, keep_identity, model)
        if paths.directory.exists():
            raise StateError(f"{target} exists already", hint="pommel list shows the machines")
        sweep_aside(paths.directory)
        aside = held.enter_context(build_aside(paths.directory))
        linked = kept.golden if linked is None else linked
        cloning.clone_disks(base, aside, linked=linked, form=kept.disk_format, report=report)
        _copy_own(base, aside, keep_identity)
        _copy_keys(base, aside, target)
        ports.allot_port(
            workspace.home,
            target,
            wanted=None,
            keep=lambda port: record.save(aside / paths.record.name, replace(made, ssh_port=port)),
            report=report,
        )
    return record.load(paths.record)


def rename(name: str, new: str, *, workspace: Workspace | None = None) -> None:
    """Call the stopped machine `name` `new` from now on.

    Raises:
        StateError: it runs, is not there, or linked clones lie over it; or there is one called `new`.
    """
    from pommel.app.host_checks import data_home
    from pommel.host import desktop

    workspace = workspace or Workspace.current()
    old, paths = workspace.made(name), workspace.paths(new)
    with _both(workspace, name, new), working_on(old, RENAMED):
        if paths.directory.exists():
            raise StateError(f"{new} exists already", hint="pommel list shows the machines")
        console.stop(workspace, name)
        kept = record.load(old.record)
        # The new name is in the record before the folder has it: a machine is found by its folder, and the name in
        # its record is for people, so that whoever is killed between the two leaves a machine that works.
        _rename_keys(old.known_hosts, new)
        record.save(old.record, replace(kept, name=new))
        old.directory.rename(paths.directory)
        shutil.rmtree(old.runtime, ignore_errors=True)
        desktop.remove(name, data_home=data_home(workspace.env))


def golden(name: str, on: bool = True, *, workspace: Workspace | None = None) -> None:
    """Mark the stopped machine `name` as a base for clones, which is never started itself; or take the mark off.

    Raises:
        StateError: it runs, sleeps or is not there.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with working_on(paths, GILDED if on else UNGILDED):
        record.save(paths.record, replace(record.load(paths.record), golden=on))


def apple_model(workspace: Workspace, kept: MachineRecord) -> str:
    """The Mac that a machine should be: what its upstream makes it, unless its macOS is not offered to that."""
    if kept.macos == "26":
        return _TAHOE_MODEL
    with contextlib.suppress(Exception):  # whatever is wrong with that file, there is a usual answer
        spec = workspace.spec(kept.name)
        config = workspace.upstream_folder(spec) / "OpenCore" / "config.plist"
        said = plistlib.loads(config.read_bytes())["PlatformInfo"]["Generic"]["SystemProductName"]
        if said in smbios.MODELS:
            return str(said)
    return _USUAL_MODEL


def _record_of_clone(
    workspace: Workspace, kept: MachineRecord, target: str, keep_identity: bool, model: str | None
) -> MachineRecord:
    config = workspace.file_of(kept.name).path
    made = replace(
        kept,
        name=target,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        clone_of=kept.name,
        golden=False,
        disk_format=None,  # whatever was copied, the copy is a qcow2
        config=str(config.absolute()) if config else kept.config,
    )
    if keep_identity:
        return made
    fresh = identity.new_identity(os.urandom(identity.RANDOM_BYTES))
    made = replace(made, uuid=fresh.uuid, mac=fresh.mac)
    if kept.upstream == TRIAL:
        return made
    wanted = model or kept.model or apple_model(workspace, kept)
    try:
        apple = smbios.new_apple_identity(wanted, os.urandom(smbios.RANDOM_BYTES), uuid=fresh.uuid, mac=fresh.mac)
    except ValueError as unknown:
        raise UsageError(str(unknown)) from None
    return replace(made, model=apple.model, serial=apple.serial, mlb=apple.mlb, rom=apple.rom)


@contextlib.contextmanager
def _both(workspace: Workspace, one: str, other: str) -> Iterator[None]:
    """Hold the locks of two machines, in an order that two such calls cannot wait for each other in."""
    if one == other:
        raise UsageError(f"{one} and {other} are the same name")
    with contextlib.ExitStack() as held:
        for name in sorted((one, other)):
            held.enter_context(serialised(workspace.paths(name)))
        yield


def _copy_own(base: MachinePaths, aside: Path, keep_identity: bool) -> None:
    """The firmware that the machine was taken over with; and its boot disk, which holds its numbers, if they stay."""
    for name in (folder.OWN_FIRMWARE, *((folder.OWN_BOOT_DISK,) if keep_identity else ())):
        if (base.directory / name).is_file():
            shutil.copyfile(base.directory / name, aside / name)


def _copy_keys(base: MachinePaths, aside: Path, target: str) -> None:
    if base.ssh_key.parent.is_dir():
        shutil.copytree(base.ssh_key.parent, aside / base.ssh_key.parent.name, symlinks=True)
        _rename_keys(aside / base.ssh_key.parent.name / base.known_hosts.name, target)


def _rename_keys(known_hosts: Path, new: str) -> None:
    """The guest's host keys stand under the machine's name."""
    if known_hosts.exists():
        lines = [line.partition(" ") for line in known_hosts.read_text().splitlines() if line.strip()]
        write_atomic(known_hosts, "".join(f"{new} {rest}\n" for _, _, rest in lines), mode=0o600)
