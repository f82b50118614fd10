"""Make a machine from an image, with a new identity. Every byte is checked against the manifest. Band: app.

It is built aside and renamed into place. An image may come from a stranger: so only its settings for size and speed are
used, each checked like a value in pommel.toml, and none that names a program or a file of this host.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pommel import private, ssh
from pommel.app.disk import encryption
from pommel.app.disk.restoring import TAKEN, must_stand_alone
from pommel.app.image.places import OpenedImage, opened, plainly, store_of
from pommel.app.machine import identities
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import StateError, UsageError
from pommel.image import packing
from pommel.image.names import ImageName
from pommel.image.store import ImageStore
from pommel.machine import copying, disk, identity, leftovers, naming, ports, record, smbios
from pommel.machine.events import note_event
from pommel.machine.exclusive import serialised
from pommel.machine.folder import OWN_BOOT_DISK, refuse_lost
from pommel.machine.record import MachineRecord
from pommel.machine.spec import SETTINGS
from pommel.paths import MachinePaths, build_aside, sweep_aside, write_atomic
from pommel.progress import Report, ignore, warn

_NEVER = ("mac", "boot_script")  # part of an identity; a program
_KEY = "id_ed25519"


def create(
    image: ImageName,
    name: str,
    *,
    model: str | None = None,
    golden: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> MachineRecord:
    """Make machine `name` from `image`, with a new identity.

    `model` is a Mac model in place of the image's; `golden` makes the machine a base for clones.

    Raises:
        UsageError: `name` is not valid, or no numbers can be made for the model.
        StateError: there is no such image, or a machine of that name; or the image needs an upstream folder that only
            its author has.
        ImageError: a piece is missing or does not match the manifest; the message names it.
        BuildError: there is too little room.
    """
    workspace = workspace or Workspace.current()
    store, paths = store_of(workspace), workspace.paths(name)
    _refuse_taken(name, paths)
    workspace.mark()
    with plainly(store), store.in_use(), serialised(paths), contextlib.ExitStack() as held:
        found = opened(store, image)
        upstream = _upstream(workspace, found, name)
        made = replace(_record(workspace, found, name, upstream, model, report), golden=golden)
        _refuse_taken(name, paths)
        sweep_aside(paths.directory)
        leftovers.sweep_unfinished(paths.directory.parent)
        if made.encrypted is not None:
            held.enter_context(encryption.new_key(workspace, workspace.spec(name), made, report))
        aside = held.enter_context(build_aside(paths.directory))
        _fill(store, found, made, aside, report)
        ports.allot_port(
            workspace.home,
            name,
            wanted=None,
            keep=lambda port: record.save(aside / paths.record.name, replace(made, ssh_port=port)),
            report=report,
        )
    note_event(paths, "made from an image", f"{found.entry.name} ({found.manifest.blob.digest})")
    return record.load(paths.record)


def dry_run(image: ImageName, name: str, *, workspace: Workspace) -> dict[str, Any]:
    """What `create` would make, without making it. Raises the errors of `create` that are known beforehand."""
    found = opened(store_of(workspace), image)
    _refuse_taken(name, workspace.paths(name))
    _upstream(workspace, found, name)
    return {"name": name, "dry_run": True, **found.as_dict()}


def _refuse_taken(name: str, paths: MachinePaths) -> None:
    refuse_lost(name, paths.directory)
    if paths.directory.exists():
        raise StateError(f"{name} already exists", hint="choose another name; pommel list shows the machines")


def _upstream(workspace: Workspace, found: OpenedImage, name: str) -> str:
    """The machine's upstream: from pommel.toml, or else from the image.

    Raises:
        StateError: pommel.toml has an upstream that does not fit the image; or it has none, and the image needs one.
    """
    said = workspace.spec(name).upstream if name in workspace.file.machines else None
    wanted = found.machine.upstream
    if said is None and wanted == "own":
        raise StateError(
            f"{found.entry.name} needs an upstream folder of its author, which is not in the image",
            hint=f'get that folder, and write upstream = "FOLDER" into [machine.{name}] of a pommel.toml',
        )
    if said is not None and (said == TRIAL) != (wanted == TRIAL):
        raise StateError(
            f"pommel.toml says upstream = {said!r} for {name}, and {found.entry.name} is an image for {wanted}",
            hint=f"choose another name, or change upstream in [machine.{name}]",
        )
    return said or wanted


def _record(
    workspace: Workspace, found: OpenedImage, name: str, upstream: str, model: str | None, report: Report
) -> MachineRecord:
    fresh = identity.new_identity(os.urandom(identity.RANDOM_BYTES))
    config = workspace.file_of(name).path
    made = MachineRecord(
        name=name,
        upstream=upstream,
        uuid=fresh.uuid,
        mac=fresh.mac,
        ssh_port=ports.FIRST_SSH_PORT,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        base=found.machine.base,
        macos=found.machine.macos,
        config=str(config.absolute()) if config else None,
        installed=found.machine.installed,
        settings=settings_of(found.machine.settings, report) or None,
    )
    made = encryption.of_clone(workspace, made, made)  # encrypted, if pommel.toml says so
    wanted = model or found.machine.model
    if upstream == TRIAL and model is not None:
        raise UsageError("the trial machine is not a Mac, and cannot be given a model")
    if upstream == TRIAL or wanted is None:
        return made
    try:
        apple = smbios.new_apple_identity(wanted, os.urandom(smbios.RANDOM_BYTES), uuid=made.uuid, mac=made.mac)
    except ValueError as unknown:
        raise UsageError(str(unknown)) from None
    return replace(made, model=apple.model, serial=apple.serial, mlb=apple.mlb, rom=apple.rom)


def settings_of(said: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The settings of an image that its machines get: each is allowed, and valid as in pommel.toml."""
    parsers = {setting.key: setting.parse for setting in SETTINGS}
    taken = {}
    for key, value in said.items():
        try:
            if key not in TAKEN or key in _NEVER:
                raise ValueError
            parsers[key](value)
        except (ValueError, KeyError, TypeError):
            warn(report, f"the image's setting {key[:40]!r} is not used")
        else:
            taken[key] = value
    return taken


def _fill(store: ImageStore, found: OpenedImage, made: MachineRecord, aside: Path, report: Report) -> None:
    # Twice: each disk is first unpacked to a raw file, and then copied to a qcow2 before the raw file is deleted.
    disk.check_room(aside.parent, 2 * found.manifest.packed_bytes)
    for each in found.machine.disks:
        raw = aside / f".{each.slot}.raw"
        packing.unpack_disk(store, found.manifest, each, raw, report=report)
        copying.copy_whole(raw, aside / each.slot, form="raw", encrypted=made.encrypted is not None, report=report)
        raw.unlink()
    for file in found.manifest.files:
        write_atomic(aside / file.name, packing.file_data(store, file))
    must_stand_alone(aside / OWN_BOOT_DISK, "image")
    identities.write_on(aside / OWN_BOOT_DISK, made, report=report)
    _give_key(store, found, made, aside, report)
    naming.write_keys(aside / "ssh" / "known_hosts", made.name)


def _give_key(store: ImageStore, found: OpenedImage, made: MachineRecord, aside: Path, report: Report) -> None:
    """Give the machine its guest's SSH key: the image's, or the one that this home stored for it, or else a new one."""
    folder, own = aside / "ssh", store.own_key(found.manifest.blob)
    if (folder / _KEY).exists():
        return
    private.make_folder(folder)
    if (own / _KEY).is_file():
        for path in sorted(own.iterdir()):
            write_atomic(folder / path.name, path.read_bytes())
        return
    ssh.make_key(folder / _KEY, f"pommel {made.name}")
    warn(
        report,
        f"the SSH key for the guest is not in the image, so {made.name} gets a new one that its guest does not know; "
        f"while it runs, type: pommel ssh --copy-id {made.name}",
    )
