"""Apple's serial numbers of a machine: chosen when it is made, changed by `pommel identity --new`. Band: app.

A machine gets new numbers, unless its boot disk has numbers that may be the user's. The numbers of a public upstream do
not count: all its users have the same ones, and Apple's services would confuse their machines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pommel.app.argv import boot_disk
from pommel.app.argv.boot_disk import BootDiskChanges
from pommel.app.disk import encryption
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import ConfigError, MissingProgram, PommelError, StateError, UsageError
from pommel.machine import numbers_wanted, permission, record, smbios
from pommel.machine.boot_choices import BootChoice
from pommel.machine.disk_contents import facts_of
from pommel.machine.folder import OWN_BOOT_DISK
from pommel.machine.identity import RANDOM_BYTES, new_identity
from pommel.machine.numbers_wanted import Wanted
from pommel.machine.record import MachineRecord
from pommel.machine.spec import MachineSpec
from pommel.overlay.git import git
from pommel.progress import Report, ignore, note, warn

if TYPE_CHECKING:
    from pommel.app.argv.commandline import MachineDisks

_FIRST_THAT_ASKS = 15  # macOS, for apple_services; `opencore.apple_services` has the reason


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers on a boot disk, or in the config.plist from which one would be built; `where` is that file.

    `values` may have the keys model, serial, mlb, uuid and rom; `problem` says why they cannot be read.
    """

    where: Path | None
    values: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The numbers for a new machine, its Mac model, and the reason."""

    wanted: Wanted
    model: str
    why: str


def decide(workspace: Workspace, spec: MachineSpec, disks: MachineDisks | None) -> Decision:
    """Choose the numbers for the new machine `spec.name`. Nothing is changed. `disks` are the machine's, if known.

    Raises:
        ConfigError: the settings have numbers that this machine cannot have.
        MissingProgram: its boot disk cannot be read without mtools and qemu-img.
    """
    if spec.upstream == TRIAL:
        if isinstance(spec.identity, Mapping):
            raise ConfigError(
                "the trial machine is not a Mac, and has no serial numbers", hint="remove identity from the settings"
            )
        return Decision("upstream", "", "the trial machine is not a Mac")
    found = on_boot_disk(workspace, spec, disks)
    model = smbios.model_for(spec.macos, found.values.get("model"))
    if spec.identity is not None:
        return Decision(spec.identity, model, "asked for: identity")
    if disks is not None and disks.own.has_macos:
        return Decision("upstream", model, "the macOS on its disk already uses those")
    if spec.upstream == OSX_KVM and (found.where is None or _is_upstreams(workspace, spec, found.where)):
        return Decision("own", model, "the upstream's numbers are public")
    if found.problem or found.where is None:
        return Decision("upstream", model, found.problem or "no boot disk with Apple's serial numbers is known")
    if why := smbios.why_public(found.values):
        return Decision("own", model, f"those on {found.where.name} belong to no real Mac: {why}")
    return Decision("upstream", model, f"{found.where.name} has {found.values['serial']}, which may be yours")


def give(made: MachineRecord, spec: MachineSpec, decision: Decision, *, report: Report = ignore) -> MachineRecord:
    """The record of a new machine with the chosen numbers; a note says which they are."""
    # On a Mac, ROM is the network card's MAC address. So a MAC address from the settings is also the ROM.
    given = _given(replace(made, mac=spec.mac or made.mac), decision.wanted, decision.model)
    if given.model is not None:
        note(report, f"{made.name}: model {given.model}, serial number {given.serial}; {decision.why}")
        if spec.macos is not None and smbios.offered(given.model, spec.macos) is False:
            warn(
                report, f"Apple does not offer macOS {spec.macos} for {given.model}; to change the model, set identity"
            )
    elif spec.upstream != TRIAL:
        note(report, f"{made.name}: it keeps the numbers on its boot disk; {decision.why}")
    return given


def boot_disk_changes(
    spec: MachineSpec, kept: MachineRecord, choice: BootChoice, *, installed: bool, starting: bool
) -> tuple[BootDiskChanges, tuple[str, ...]]:
    """The changes of the machine's boot disk to its upstream's, and notes for the user.

    Raises:
        StateError: with `starting`: the settings have other numbers than those it was made with.
    """
    notes = []
    if spec.upstream != TRIAL and kept.created != "-" and (why := numbers_wanted.differs(kept.apple, spec.identity)):
        hint = f"pommel identity {spec.name} --new changes them; or remove identity from the settings"
        if starting:
            raise StateError(f"{spec.name} keeps the numbers with which it was created: {why}", hint=hint)
        notes.append(f"{why}; {hint}")
    # The installer must see that it is in a virtual machine, in all its starts: so nothing is hidden during one.
    hide = spec.apple_services and choice.shows is None
    if hide and (because := _why_not_hidden(spec, installed)):
        notes.append(f"apple_services has no effect: {because}")
        hide = False
    if hide and kept.apple is None:
        notes.append(
            "apple_services is on, but Apple's services need unique serial numbers. To see them: pommel identity"
        )
    # The trial machine's picker has no such entries: it starts whatever is attached.
    shows = choice.shows if spec.upstream != TRIAL else None
    return BootDiskChanges(kept.apple, hide, choice.verbose, spec.resolution, shows), tuple(notes)


def on_boot_disk(workspace: Workspace, spec: MachineSpec, disks: MachineDisks | None) -> Numbers:
    """Read the numbers that machine `spec.name` gets from its boot disk if it has none in its record.

    Raises:
        MissingProgram: mtools or qemu-img is not installed.
    """
    from pommel.opencore import config, reading

    where, kind = _source(workspace, spec, disks)
    if where is None:
        return Numbers(None, {})
    try:
        if where.suffix == ".plist":
            return Numbers(where, reading.numbers(config.read(where.read_bytes(), str(where))))
        return Numbers(where, reading.numbers(reading.read_config(where, image_format=kind)))
    except MissingProgram as missing:
        missing.hint = f'{missing.hint}; or set identity = "upstream", which reads no boot disk'
        raise
    except PommelError as failure:
        return Numbers(where, {}, failure.message)
    except OSError as failure:
        return Numbers(where, {}, f"{where} cannot be read: {failure.strerror}")


def can_be_written(workspace: Workspace, name: str) -> bool:
    """Whether machine `name` has a boot disk on which numbers can be written, or one that Pommel builds.

    It is also True if its boot script cannot be read: then its start reports the error.
    """
    from pommel.app.argv import commandline

    try:
        spec = workspace.spec(name)
        return on_boot_disk(workspace, spec, commandline.disks(workspace, spec)).where is not None
    except PommelError:
        return True


def show(name: str, *, workspace: Workspace | None = None) -> dict[str, Any]:
    """The numbers of machine `name` as one JSON object.

    `source` is "record" or "boot disk". `public` says why the numbers are not unique, `problem` why they cannot be
    read.

    Raises:
        StateError: it has not been made yet.
        MissingProgram: its boot disk cannot be read without mtools and qemu-img.
    """
    workspace = workspace or Workspace.current()
    kept, spec = record.load(workspace.made(name).record), workspace.spec(name)
    told = {"name": name, "uuid": kept.uuid, "mac": kept.mac, "macos": kept.macos}
    if kept.apple is not None or kept.upstream == TRIAL:
        values = {"model": kept.model, "serial": kept.serial, "board_serial": kept.mlb, "rom": kept.rom}
        return {**told, **values, "source": "record", "where": None, "public": None, "problem": None}
    from pommel.app.argv import commandline

    found = on_boot_disk(workspace, spec, commandline.disks(workspace, spec))
    values = {key: found.values.get(key) for key in ("model", "serial", "rom")}
    public = smbios.why_public(found.values) if not found.problem and found.where else None
    return {
        **told,
        **values,
        "board_serial": found.values.get("mlb"),
        "source": "boot disk",
        "where": str(found.where) if found.where else None,
        "public": public,
        "problem": found.problem or (None if found.where else "no boot disk is known"),
    }


def change(
    name: str,
    *,
    model: str | None = None,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> MachineRecord:
    """Give the stopped machine `name` another UUID, MAC address and numbers: those in `identity`, or else new ones.

    The guest is then signed out of Apple's services. `dry_run` returns the new record and changes nothing.

    Raises:
        UsageError: no numbers can be made for that model.
        StateError: it runs, sleeps, is golden or does not exist; or it is the trial machine.
        UpstreamError, BuildError, MissingProgram: its own boot disk cannot be written.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name), permission.working_on(paths, permission.RENUMBERED, report=report):
        kept, spec = record.load(paths.record), workspace.spec(name)
        if kept.upstream == TRIAL:
            raise StateError("the trial machine is not a Mac, and has no serial numbers")
        if model is not None and model not in smbios.MODELS:
            raise UsageError(
                f"no serial numbers can be created for {model!r}; possible models are {', '.join(smbios.MODELS)}"
            )
        if model is not None and isinstance(spec.identity, Mapping):
            raise UsageError("--model conflicts with identity in pommel.toml, which sets the numbers", hint="use one")
        wanted = "own" if model is not None or spec.identity is None else spec.identity
        fresh = new_identity(os.urandom(RANDOM_BYTES))
        chosen = model or smbios.model_for(kept.macos, kept.model)
        made = _given(replace(kept, uuid=fresh.uuid, mac=spec.mac or fresh.mac), wanted, chosen)
        if not dry_run:
            write_on(paths.directory / OWN_BOOT_DISK, made, report=report)
            record.save(paths.record, made)
    return made


def write_on(disk: Path, made: MachineRecord, *, report: Report = ignore) -> None:
    """Write the record's numbers to a machine's own boot disk, if it has one: completely or not at all.

    Raises:
        StateError, UpstreamError, BuildError, MissingProgram: they cannot be written.
    """
    if made.apple is None or not disk.is_file():
        return
    from pommel.opencore.options import Options
    from pommel.opencore.rework import rework

    kind = facts_of(str(disk)).format or "qcow2"
    rework(disk, disk, options=Options(smbios=boot_disk.smbios_of(made.apple)), image_format=kind, report=report)


def _given(made: MachineRecord, wanted: Wanted, model: str) -> MachineRecord:
    born = numbers_wanted.give(
        wanted, model=model, uuid=made.uuid, mac=made.mac, random=os.urandom(smbios.RANDOM_BYTES)
    )
    apple = born.apple
    return replace(
        made,
        uuid=born.uuid,
        mac=born.mac,
        model=apple.model if apple else None,
        serial=apple.serial if apple else None,
        mlb=apple.mlb if apple else None,
        rom=apple.rom if apple else None,
    )


def _source(workspace: Workspace, spec: MachineSpec, disks: MachineDisks | None) -> tuple[Path | None, str]:
    """The boot disk with the numbers, and its format; or the config.plist from which one would be built."""
    if spec.boot_disk is not None:
        path = workspace.beside(spec.name, spec.boot_disk)
        return path, facts_of(str(path)).format or "qcow2"
    if (own := workspace.paths(spec.name).directory / OWN_BOOT_DISK).is_file():
        return own, facts_of(str(own)).format or "qcow2"
    named = disks.boot_disk if disks else None
    seen = disks.facts.get(named) if disks and named else None
    if named and seen is not None and seen.kind == "file" and seen.loader in ("OpenCore", "Clover"):
        return Path(named), seen.format or "qcow2"
    plist = workspace.upstream_folder(spec) / "OpenCore" / "config.plist"
    return (plist if plist.is_file() else None), ""


def _is_upstreams(workspace: Workspace, spec: MachineSpec, where: Path) -> bool:
    """Whether a file is unchanged from the upstream's commit."""
    checkout = workspace.upstream_folder(spec)
    if not where.resolve().is_relative_to(checkout.resolve()):
        return False
    commit = workspace.pin(workspace.file_of(spec.name)).commit
    name = where.resolve().relative_to(checkout.resolve())
    return git(checkout, "diff", "--quiet", commit, "--", name, check=False).returncode == 0


def _why_not_hidden(spec: MachineSpec, installed: bool) -> str | None:
    if spec.upstream == TRIAL or spec.macos is None:
        return "it needs a machine with a known macOS: set macos"
    if float(spec.macos.partition(".")[0]) < _FIRST_THAT_ASKS:
        return f"macOS {spec.macos} can sign in without it"
    if not installed:
        return "macOS is not installed yet, and its installer must see the virtual machine; it is turned on after that"
    return None
