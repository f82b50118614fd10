"""From spec and upstream to the argv that QEMU gets. Band: app.

The upstream's boot script is run with a recording stand-in; what it would have run is parsed, the rules are laid over
it, and every argument knows why it is there. Looking (`command_line`) changes nothing on disk; `prepare`, for a start,
allots the SSH port and makes the machine's own NVRAM.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pommel.app import (
    asked_for,
    boot_disk,
    encryption,
    forwards,
    identities,
    machine_disk,
    origins,
    passt,
    passthrough,
    reach,
    trust,
)
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import UpstreamError
from pommel.host import accel, qemu_binary
from pommel.host.qemu_version import qemu_version
from pommel.machine import added, firmware, identity, installation, own_disks, ports, record, user_words
from pommel.machine.boot_choices import BootChoice, choose_installer
from pommel.machine.commandline import CommandLine
from pommel.machine.disk_facts import DiskFacts, Facts
from pommel.machine.folder import OWN_FIRMWARE
from pommel.machine.forwards import Forward, Reverse
from pommel.machine.origins import Difference
from pommel.machine.rules import HostFacts, Overlaid, Placement, apply_rules
from pommel.machine.spec import MachineSpec
from pommel.machine.upstream_files import Named, UpstreamFiles, upstream_files
from pommel.overlay.capture import Captured, Given, capture
from pommel.paths import MachinePaths
from pommel.progress import Report, warn
from pommel.trial import upstream as trial_upstream

_USUAL = BootChoice()
NOT_YET = bytes(identity.RANDOM_BYTES)  # the identity that a machine which does not exist is shown with


@dataclass(frozen=True, slots=True)
class Disks:
    """A machine's disk, the upstream's further drives that it has copies of, and the upstream's own installer."""

    own: machine_disk.DiskPlan
    copies: tuple[Named, ...] = ()
    installer: str | None = None
    boot_disk: str | None = None  # the upstream's
    facts: Facts = field(default_factory=dict)  # what is in the files of the upstream's drives


@dataclass(frozen=True, slots=True)
class Planned:
    """What would run: the laid-over command line, and what it was made from."""

    spec: MachineSpec
    captured: Captured
    accel: accel.Accel
    firmware: firmware.Choice | firmware.Unpaired
    boot_disk: boot_disk.BootDisk
    overlaid: Overlaid
    warnings: tuple[str, ...] = ()  # what to know before it starts
    differences: tuple[Difference, ...] = ()  # the user's own text to the pristine upstream's
    qemu: qemu_binary.Binary | None = None
    disks: Disks | None = None
    ssh_port: int = 0  # of this host; the start takes the next free one in place of a busy one
    forwards: tuple[Forward, ...] = ()  # asked for, beside SSH's
    reverse: tuple[Reverse, ...] = ()  # services of this host for the guest


@dataclass(frozen=True, slots=True)
class _Upstream:
    """The upstream's own command line, parsed, and the files it names."""

    folder: Path
    captured: Captured
    line: CommandLine
    files: UpstreamFiles
    facts: dict[str, DiskFacts]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Storage:
    """What keeps: `words` are the placement's, by name."""

    firmware: firmware.Choice | firmware.Unpaired
    disks: Disks
    warnings: tuple[str, ...]
    words: dict[str, Any]


def command_line(
    workspace: Workspace,
    name: str,
    flags: Mapping[str, Any] | None = None,
    *,
    choice: BootChoice = _USUAL,
    starting: bool = False,
) -> Planned:
    """Work out the command line of machine `name` without changing anything; `starting` is said before a start.

    Raises:
        UpstreamError: the boot script cannot be used as data.
        FirmwareError: no matching firmware pair can be had.
        MissingProgram: QEMU is not installed.
    """
    spec, paths = workspace.spec(name, flags), workspace.paths(name)
    kept = record.load(paths.record) if paths.record.exists() else new_record(spec, NOT_YET)
    return _plan(workspace, replace(kept, ssh_port=spec.ssh_port or kept.ssh_port), spec, choice, starting=starting)


def prepare(
    workspace: Workspace,
    name: str,
    flags: Mapping[str, Any] | None,
    *,
    choice: BootChoice = _USUAL,
    report: Report,
) -> Planned:
    """Work out the command line for a start: allot the SSH port, make the machine's NVRAM. Hold the machine's lock.

    Raises:
        As `command_line`; and StateError when the machine was not made.
    """
    spec, paths = workspace.spec(name, flags), workspace.paths(name)
    kept = record.load(paths.record)
    port = ports.allot_port(
        workspace.home,
        name,
        wanted=spec.ssh_port or kept.ssh_port,
        keep=lambda port: record.save(paths.record, replace(kept, ssh_port=port)),
        claimed=forwards.claimed(workspace, name, spec.ssh_port or kept.ssh_port),
        report=report,
    )
    planned = _plan(workspace, replace(kept, ssh_port=port), spec, choice, starting=True)
    passthrough.must_start(planned.spec)
    forwards.refuse(workspace, spec, planned, allotted=port)  # which the start sees to
    added.lead(paths, planned.reverse)
    if said := firmware.prepare_nvram(planned.firmware, paths.nvram):
        warn(report, said)
    boot_disk.provide(workspace, planned.boot_disk, report=report)
    further = planned.disks.copies if planned.disks else ()
    machine_disk.copy_missing(paths, further, encrypted=kept.encrypted is not None, report=report)
    return planned


def disks(workspace: Workspace, spec: MachineSpec) -> Disks:
    """The disks that machine `spec.name` has or will have, by its boot script, which is run for it.

    Raises:
        UpstreamError, StateError: as `command_line`; `machine_disk.plan` and `copies` say the rest.
    """
    return _disks(workspace, spec, _read(workspace, spec, starting=True))


def _disks(workspace: Workspace, spec: MachineSpec, upstream: _Upstream) -> Disks:
    paths, files = workspace.paths(spec.name), upstream.files
    kept = record.load(paths.record) if paths.record.exists() else None
    if kept is not None:
        encryption.must_agree(spec, kept)
    planned = machine_disk.plan(workspace, spec, files, upstream.facts, kept)
    copies = machine_disk.copies(spec, paths, files, upstream.facts)
    installer = files.installer if files.installer and Path(files.installer).exists() else None
    return Disks(planned, tuple(copies), installer, files.boot_disk, upstream.facts)


def new_record(
    spec: MachineSpec, random: bytes, *, created: str = "-", base: str | None = None
) -> record.MachineRecord:
    """The record of a new machine, its identity from 19 random bytes."""
    made = identity.new_identity(random)
    return record.MachineRecord(
        name=spec.name,
        upstream=spec.upstream,
        uuid=made.uuid,
        mac=made.mac,
        ssh_port=spec.ssh_port or ports.FIRST_SSH_PORT,
        created=created,
        base=base,
        encrypted=made.uuid if spec.encrypt else None,
    )


def _read(workspace: Workspace, spec: MachineSpec, *, starting: bool = False) -> _Upstream:
    folder = workspace.upstream_folder(spec)
    if spec.upstream == TRIAL and not folder.is_dir():
        folder = trial_upstream.EMBEDDED  # not made yet: enough to look at
    elif not folder.is_dir():
        get = "pommel bootstrap --no-setup" if spec.upstream == OSX_KVM else f"pommel config {spec.name}"
        raise UpstreamError(f"there is no upstream at {folder}", hint=get)
    if starting:
        trust.must_start(workspace, spec, folder)
    again = partial(_capture, workspace, spec, starting=starting)
    captured = again(folder)
    followed = origins.follow(workspace, spec, folder, captured, again)
    cwd = str(captured.cwd)
    line = machine_disk.read_configs(followed.traced.line, captured.cwd)
    facts, drive = machine_disk.look(line, cwd), machine_disk.drive_named(workspace, spec, line, cwd)
    files = upstream_files(line, cwd, facts, drive)
    return _Upstream(folder, captured, line, files, facts, followed.traced.differences, followed.notes)


def followed(workspace: Workspace, spec: MachineSpec) -> origins.Followed:
    """The upstream's own command line for `spec`, with who wrote each argument.

    Raises:
        UpstreamError: the boot script cannot be used as data.
    """
    folder = workspace.upstream_folder(spec)
    captured = _capture(workspace, spec, folder)
    return origins.follow(workspace, spec, folder, captured, partial(_capture, workspace, spec))


def _capture(workspace: Workspace, spec: MachineSpec, folder: Path, *, starting: bool = False) -> Captured:
    """Run the boot script; without a sandbox only for a start, and for the trial machine, whose script is ours."""
    return capture(
        folder,
        spec.boot_script,
        given=Given(spec.boot_args, spec.boot_env, spec.boot_input),
        timeout_s=spec.boot_timeout_s,
        unsandboxed=starting or spec.upstream == TRIAL,
        real=qemu_binary.host_qemu(spec.qemu),
        hidden=(workspace.home.root, workspace.home.cache),
    )


def _plan(
    workspace: Workspace, kept: record.MachineRecord, spec: MachineSpec, choice: BootChoice, *, starting: bool
) -> Planned:
    upstream = _read(workspace, spec, starting=starting)
    binary = qemu_binary.choose(upstream.captured.program, upstream.captured.cwd, spec.qemu)
    chosen = accel.choose(spec.accel, partial(accel.probe_kvm, workspace.home.cache, qemu=str(binary.path)))
    own = user_words.warnings(upstream.line, spec, host_limits(), chosen.kind)
    spec, warnings = _tuned(spec, chosen.kind, upstream.line)
    storage, ways = _storage(workspace, spec, upstream), asked_for.placed(workspace, spec)
    there = installation.installed(workspace.paths(spec.name), kept)
    changed, notes = identities.boot_disk_changes(spec, kept, choice, installed=there[0], starting=starting)
    boot = boot_disk.choose(workspace, spec, upstream.folder, upstream.files, changed, facts=upstream.facts)
    installer, why = _installer(workspace, spec, kept, upstream.files, choice, there)
    placement = replace(
        _placement(workspace.paths(spec.name), kept, upstream, storage, reach.taken_macs(workspace, spec.name)),
        installer=installer,
        installer_reason=why,
        encrypted=kept.encrypted is not None,
        choice=choice,
        boot_disk=str(boot.path) if boot.path else None,
        boot_disk_reason=boot.reason,
        boot_disk_format=boot.format,
        **ways,
    )
    host = HostFacts(
        accel="kvm" if chosen.kind == "kvm" else "tcg",
        accel_reason=chosen.reason,
        qemu_version=qemu_version(str(binary.path), workspace.home.cache),
    )
    overlaid = apply_rules(replace(upstream.line, program=binary.program), spec, host, placement)
    said = (*upstream.notes, *filter(None, [binary.warning]), *_script_warnings(upstream.captured))
    return Planned(
        spec,
        upstream.captured,
        chosen,
        storage.firmware,
        boot,
        overlaid,
        (*said, *own, *warnings, *notes, *storage.warnings, *overlaid.warnings),
        upstream.differences,
        binary,
        storage.disks,
        kept.ssh_port,
        placement.forwards,
        placement.reverse,
    )


def _placement(
    paths: MachinePaths,
    kept: record.MachineRecord,
    upstream: _Upstream,
    storage: _Storage,
    taken_macs: Mapping[str, str],
) -> Placement:
    return Placement(
        guest_name=paths.name,
        upstream=str(upstream.captured.cwd),
        nvram=str(paths.nvram),
        vnc=str(paths.vnc),
        qmp=str(paths.qmp),
        qmp_watch=str(paths.qmp_watch),
        pidfile=str(paths.pidfile),
        serial_log=str(paths.serial_log),
        uuid=kept.uuid,
        mac=kept.mac,
        ssh_port=kept.ssh_port,
        taken_macs=taken_macs,
        passt=str(passt.place(paths)),
        **storage.words,
    )


def _script_warnings(captured: Captured) -> list[str]:
    """What the boot script does beside starting QEMU, and what Pommel therefore does not."""
    found = [
        f"the boot script changes the host, and Pommel does not do that. If you want it, type: {effect}"
        for effect in captured.facts.effects
    ]
    return found + [f"left out, because it wraps the start of QEMU: {words}" for words in captured.facts.left_out]


def host_limits() -> user_words.HostLimits:
    """What this host has of memory and of processors."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return user_words.HostLimits(memory, os.cpu_count() or 1)


def _storage(workspace: Workspace, spec: MachineSpec, upstream: _Upstream) -> _Storage:
    """What the machine's firmware, its disk and its copies of the upstream's drives are."""
    paths, files, facts = workspace.paths(spec.name), upstream.files, upstream.facts
    chips = _own_firmware(paths) or firmware.choose(files.firmware_code, files.firmware_variables, files.bios)
    paired = isinstance(chips, firmware.Choice)
    found = _disks(workspace, spec, upstream)
    disk, copied = found.own, machine_disk.copy_paths(paths, found.copies)
    said = [f"{disk.refusal.message}; {disk.refusal.hint}"] if disk.refusal else []
    if isinstance(chips, firmware.Unpaired) and chips.whole is None:
        said.append(f"firmware: {chips.reason}")
    words = {
        "disk": disk.path,
        "disk_format": disk.format,
        "disk_reason": disk.reason,
        "disk_drive": files.disk_drive,
        "facts": facts,
        "firmware_code": str(chips.pair.code) if isinstance(chips, firmware.Choice) else files.firmware_code,
        "firmware_reason": chips.reason if paired else "",
        "data_disks": tuple(p for p in map(str, own_disks.data_disks(paths).values()) if p not in copied.values()),
        "drive_copies": copied,
    }
    return _Storage(chips, found, tuple(said), words)


def _own_firmware(paths: MachinePaths) -> firmware.Choice | None:
    """The firmware that the machine was taken over with and that its NVRAM belongs to; None: it has none."""
    own = paths.directory / OWN_FIRMWARE
    if own.is_file() and paths.nvram.is_file() and firmware.matches(own.stat().st_size, paths.nvram.stat().st_size):
        return firmware.Choice(firmware.Pair(own, paths.nvram), "the firmware with which the machine was adopted")
    return None


def _tuned(spec: MachineSpec, kind: str, line: CommandLine) -> tuple[MachineSpec, tuple[str, ...]]:
    if spec.macos is None:  # what is only for Macs is imported for Macs only: that is felt at every start
        return spec, ()
    from pommel.app import tuning

    fitted = tuning.tuned(spec, kind, line)
    return fitted.spec, fitted.warnings


def _installer(
    workspace: Workspace,
    spec: MachineSpec,
    kept: record.MachineRecord,
    files: UpstreamFiles,
    choice: BootChoice,
    installed: tuple[bool, str],
) -> tuple[str | None, str]:
    path = files.installer
    if spec.macos is not None or kept.recovery is not None:
        from pommel.app import recovery

        image = recovery.image_for(workspace, spec.macos, kept.recovery)
        path = str(image.image) if image else path
    there = path if path and Path(path).exists() else None
    return choose_installer(choice, there, installed)
