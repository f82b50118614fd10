"""Make QEMU's argv from the spec and the upstream. Band: app.

The upstream's boot script runs with a stand-in for QEMU that records its arguments. These are parsed, then the rules
change them, and every argument has a reason. `command_line` only looks and changes nothing on disk. `prepare` is for a
start: it allots the SSH port and makes the machine's NVRAM.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pommel.app.argv import asked_for, boot_disk, machine_disk, passthrough
from pommel.app.disk import encryption
from pommel.app.machine import identities
from pommel.app.network import forwards, passt, reach
from pommel.app.upstream import origins, trust
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import UpstreamError
from pommel.host import accel, qemu_binary, ram
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
from pommel.overlay.capture import Captured, ScriptInput, capture
from pommel.paths import MachinePaths
from pommel.progress import Report, warn
from pommel.trial import upstream as trial_upstream

_USUAL = BootChoice()
NOT_YET = bytes(identity.RANDOM_BYTES)  # zeros: a machine that does not exist is shown with the same identity each time


@dataclass(frozen=True, slots=True)
class MachineDisks:
    """A machine's disk, its copies of the upstream's other drives, and the upstream's installer."""

    own: machine_disk.DiskPlan
    copies: tuple[Named, ...] = ()
    installer: str | None = None
    boot_disk: str | None = None  # the upstream's
    facts: Facts = field(default_factory=dict)  # what is in the files of the upstream's drives


@dataclass(frozen=True, slots=True)
class PlannedCommand:
    """The final command line, and what it was made from."""

    spec: MachineSpec
    captured: Captured
    accel: accel.Accel
    firmware: firmware.FirmwareChoice | firmware.Unpaired
    boot_disk: boot_disk.BootDisk
    overlaid: Overlaid
    warnings: tuple[str, ...] = ()  # what to know before it starts
    differences: tuple[Difference, ...] = ()  # between the user's upstream and the pristine one
    qemu: qemu_binary.Binary | None = None
    disks: MachineDisks | None = None
    ssh_port: int = 0  # on this host; if it is busy, the start takes the next free one
    forwards: tuple[Forward, ...] = ()  # from settings and commands, without the one for SSH
    reverse: tuple[Reverse, ...] = ()  # services of this host that the guest can reach


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
    """Firmware and disks; `words` are the values for the fields of `Placement`, by name."""

    firmware: firmware.FirmwareChoice | firmware.Unpaired
    disks: MachineDisks
    warnings: tuple[str, ...]
    words: dict[str, Any]


def command_line(
    workspace: Workspace,
    name: str,
    flags: Mapping[str, Any] | None = None,
    *,
    choice: BootChoice = _USUAL,
    starting: bool = False,
) -> PlannedCommand:
    """Work out the command line of machine `name` without changing anything. `starting`: a start follows.

    Raises:
        UpstreamError: the boot script cannot be used as data.
        FirmwareError: there is no matching firmware pair.
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
) -> PlannedCommand:
    """Work out the command line for a start: allot the SSH port, make the machine's NVRAM. The caller holds its lock.

    Raises:
        As `command_line`; and StateError if the machine does not exist.
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
    forwards.refuse(workspace, spec, planned, allotted=port)  # refuses before anything is made, not when QEMU fails
    added.lead(paths, planned.reverse)
    if said := firmware.prepare_nvram(planned.firmware, paths.nvram):
        warn(report, said)
    boot_disk.provide(workspace, planned.boot_disk, report=report)
    further = planned.disks.copies if planned.disks else ()
    machine_disk.copy_missing(paths, further, encrypted=kept.encrypted is not None, report=report)
    return planned


def disks(workspace: Workspace, spec: MachineSpec) -> MachineDisks:
    """The disks that machine `spec.name` has or will have. Its boot script is run for this.

    Raises:
        UpstreamError, StateError: as `command_line`, `machine_disk.plan` and `machine_disk.copies`.
    """
    return _disks(workspace, spec, _read(workspace, spec, starting=True))


def _disks(workspace: Workspace, spec: MachineSpec, upstream: _Upstream) -> MachineDisks:
    paths, files = workspace.paths(spec.name), upstream.files
    kept = record.load(paths.record) if paths.record.exists() else None
    if kept is not None:
        encryption.must_agree(spec, kept)
    planned = machine_disk.plan(workspace, spec, files, upstream.facts, kept)
    copies = machine_disk.copies(spec, paths, files, upstream.facts)
    installer = files.installer if files.installer and Path(files.installer).exists() else None
    return MachineDisks(planned, tuple(copies), installer, files.boot_disk, upstream.facts)


def new_record(
    spec: MachineSpec, random: bytes, *, created: str = "-", base: str | None = None
) -> record.MachineRecord:
    """The record of a new machine. `random` (19 bytes) determines its identity."""
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
        folder = trial_upstream.EMBEDDED  # not copied to the home yet, but the script can be read
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
    """The upstream's command line for `spec`, with the origin of each argument.

    Raises:
        UpstreamError: the boot script cannot be used as data.
    """
    folder = workspace.upstream_folder(spec)
    captured = _capture(workspace, spec, folder)
    return origins.follow(workspace, spec, folder, captured, partial(_capture, workspace, spec))


def _capture(workspace: Workspace, spec: MachineSpec, folder: Path, *, starting: bool = False) -> Captured:
    """Run the boot script with the recording stand-in.

    If there is no sandbox, it runs only for a start, which the user asked for, or for the trial machine, whose script
    is part of Pommel.
    """
    return capture(
        folder,
        spec.boot_script,
        given=ScriptInput(spec.boot_args, spec.boot_env, spec.boot_input),
        timeout_s=spec.boot_timeout_s,
        unsandboxed=starting or spec.upstream == TRIAL,
        real=qemu_binary.host_qemu(spec.qemu),
        hidden=(workspace.home.root, workspace.home.cache),
    )


def _plan(
    workspace: Workspace, kept: record.MachineRecord, spec: MachineSpec, choice: BootChoice, *, starting: bool
) -> PlannedCommand:
    upstream = _read(workspace, spec, starting=starting)
    binary = qemu_binary.choose(upstream.captured.program, upstream.captured.cwd, spec.qemu)
    chosen = accel.choose(spec.accel, partial(accel.probe_kvm, workspace.home.cache, qemu=str(binary.path)))
    own = user_words.warnings(upstream.line, spec, host_limits(), chosen.kind)
    # First the accelerator: which CPU model and memory are good depends on KVM or TCG.
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
    return PlannedCommand(
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
    """Warnings for what the boot script does besides the start of QEMU, which Pommel does not do."""
    found = [
        f"the boot script changes the host, and Pommel does not do that. If you want it, type: {effect}"
        for effect in captured.facts.effects
    ]
    return found + [f"left out, because it wraps the start of QEMU: {words}" for words in captured.facts.left_out]


def host_limits() -> user_words.HostLimits:
    """The memory and the number of processors of this host."""
    return user_words.HostLimits(ram.total_bytes(), os.cpu_count() or 1)


def _storage(workspace: Workspace, spec: MachineSpec, upstream: _Upstream) -> _Storage:
    """The machine's firmware, its disk, and its copies of the upstream's drives."""
    paths, files, facts = workspace.paths(spec.name), upstream.files, upstream.facts
    chips = _own_firmware(paths) or firmware.choose(files.firmware_code, files.firmware_variables, files.bios)
    paired = isinstance(chips, firmware.FirmwareChoice)
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
        "firmware_code": str(chips.pair.code) if isinstance(chips, firmware.FirmwareChoice) else files.firmware_code,
        "firmware_reason": chips.reason if paired else "",
        "data_disks": tuple(p for p in map(str, own_disks.data_disks(paths).values()) if p not in copied.values()),
        "drive_copies": copied,
    }
    return _Storage(chips, found, tuple(said), words)


def _own_firmware(paths: MachinePaths) -> firmware.FirmwareChoice | None:
    """The firmware with which the machine was adopted, if its NVRAM matches it; None: there is none."""
    own = paths.directory / OWN_FIRMWARE
    if own.is_file() and paths.nvram.is_file() and firmware.matches(own.stat().st_size, paths.nvram.stat().st_size):
        return firmware.FirmwareChoice(
            firmware.FirmwarePair(own, paths.nvram), "the firmware with which the machine was adopted"
        )
    return None


def _tuned(spec: MachineSpec, kind: str, line: CommandLine) -> tuple[MachineSpec, tuple[str, ...]]:
    if spec.macos is None:  # the import below takes noticeable time at every start, and only Macs need it
        return spec, ()
    from pommel.app.argv import tuning

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
        from pommel.app.upstream import recovery

        image = recovery.image_for(workspace, spec.macos, kept.recovery)
        path = str(image.image) if image else path
    there = path if path and Path(path).exists() else None
    return choose_installer(choice, there, installed)
