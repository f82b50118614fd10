"""From spec and upstream to the argv that QEMU gets. Band: app.

The upstream's boot script is run with a recording stand-in; what it would have run is parsed, the rules are laid over
it, and every argument knows why it is there. Looking (`command_line`) changes nothing on disk; `prepare`, for a start,
allots the SSH port and makes the machine's own NVRAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pommel.app import boot_disk
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import UpstreamError
from pommel.host import accel
from pommel.host.qemu_version import qemu_version
from pommel.machine import explain, firmware, identity, installation, own_disks, ports, record
from pommel.machine.boot_choices import BootChoice, choose_installer
from pommel.machine.commandline import CommandLine
from pommel.machine.folder import OWN_FIRMWARE
from pommel.machine.rules import HostFacts, Overlaid, Placement, apply_rules
from pommel.machine.spec import MachineSpec
from pommel.machine.upstream_files import UpstreamFiles, upstream_files
from pommel.overlay.capture import Captured, capture
from pommel.paths import MachinePaths
from pommel.process import which
from pommel.progress import Report, warn
from pommel.trial import upstream as trial_upstream

QEMU = "qemu-system-x86_64"
QEMU_HINT = "pommel up NAME installs what is missing"
_USUAL = BootChoice()
NOT_YET = bytes(identity.RANDOM_BYTES)  # the identity that a machine which does not exist is shown with


@dataclass(frozen=True, slots=True)
class Planned:
    """What would run: the laid-over command line, and what it was made from."""

    spec: MachineSpec
    captured: Captured
    accel: accel.Accel
    firmware: firmware.Choice
    boot_disk: boot_disk.BootDisk
    overlaid: Overlaid
    warnings: tuple[str, ...] = ()  # of the vCPUs


@dataclass(frozen=True, slots=True)
class _Upstream:
    """The upstream's own command line, parsed, and the files it names."""

    folder: Path
    captured: Captured
    line: CommandLine
    files: UpstreamFiles


def command_line(
    workspace: Workspace, name: str, flags: Mapping[str, Any] | None = None, *, choice: BootChoice = _USUAL
) -> Planned:
    """Work out the command line of machine `name` without changing anything.

    Raises:
        UpstreamError: the boot script cannot be used as data.
        FirmwareError: no matching firmware pair can be had.
        MissingProgram: QEMU is not installed.
    """
    spec, paths = workspace.spec(name, flags), workspace.paths(name)
    kept = record.load(paths.record) if paths.record.exists() else new_record(spec, NOT_YET)
    return _plan(workspace, replace(kept, ssh_port=spec.ssh_port or kept.ssh_port), spec, choice)


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
        report=report,
    )
    planned = _plan(workspace, replace(kept, ssh_port=port), spec, choice)
    if said := firmware.prepare_nvram(planned.firmware, paths.nvram):
        warn(report, said)
    boot_disk.provide(workspace, planned.boot_disk, report=report)
    return planned


def own_installer(workspace: Workspace, spec: MachineSpec) -> str | None:
    """The installer image that lies in the upstream's own folder, if one does."""
    installer = _read(workspace, spec).files.installer
    return installer if installer and Path(installer).exists() else None


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
    )


def _read(workspace: Workspace, spec: MachineSpec) -> _Upstream:
    folder = workspace.upstream_folder(spec)
    if spec.upstream == TRIAL and not folder.is_dir():
        folder = trial_upstream.EMBEDDED  # not made yet: enough to look at
    elif not folder.is_dir():
        get = "pommel bootstrap --no-setup" if spec.upstream == OSX_KVM else f"pommel config {spec.name}"
        raise UpstreamError(f"there is no upstream at {folder}", hint=get)
    captured = capture(folder, spec.boot_script)
    line = CommandLine.parse(captured.program, captured.argv)
    return _Upstream(folder, captured, line, upstream_files(line, str(captured.cwd)))


def _plan(workspace: Workspace, kept: record.MachineRecord, spec: MachineSpec, choice: BootChoice) -> Planned:
    paths = workspace.paths(spec.name)
    qemu = which(QEMU, hint=QEMU_HINT)
    chosen = accel.choose(spec.accel, partial(accel.probe_kvm, workspace.home.cache, qemu=qemu))
    upstream = _read(workspace, spec)
    spec, warnings = _tuned(spec, chosen.kind, upstream.line)
    pair = _firmware(paths, upstream.files)
    boot = boot_disk.choose(workspace, spec, upstream.folder, upstream.files, kept.apple, choice)
    installer, installer_reason = _installer(workspace, spec, kept, upstream.files, choice)
    placement = Placement(
        guest_name=spec.name,
        upstream=str(upstream.captured.cwd),
        disk=str(paths.disk),
        disk_format=kept.disk_format or "qcow2",
        nvram=str(paths.nvram),
        firmware_code=str(pair.pair.code),
        firmware_reason=pair.reason,
        vnc=str(paths.vnc),
        qmp=str(paths.qmp),
        qmp_watch=str(paths.qmp_watch),
        pidfile=str(paths.pidfile),
        serial_log=str(paths.serial_log),
        uuid=kept.uuid,
        mac=kept.mac,
        ssh_port=kept.ssh_port,
        installer=installer,
        installer_reason=installer_reason,
        data_disks=tuple(map(str, own_disks.data_disks(paths).values())),
        choice=choice,
        boot_disk=str(boot.path) if boot.path else None,
        boot_disk_reason=boot.reason,
    )
    facts = HostFacts(
        accel="kvm" if chosen.kind == "kvm" else "tcg",
        accel_reason=chosen.reason,
        qemu_version=qemu_version(qemu, workspace.home.cache),
    )
    overlaid = apply_rules(upstream.line, spec, facts, placement)
    return Planned(spec, upstream.captured, chosen, pair, boot, overlaid, warnings)


def _firmware(paths: MachinePaths, files: UpstreamFiles) -> firmware.Choice:
    """The upstream's firmware, unless the machine was taken over with one that its NVRAM belongs to."""
    own = paths.directory / OWN_FIRMWARE
    if own.is_file() and paths.nvram.is_file() and firmware.matches(own.stat().st_size, paths.nvram.stat().st_size):
        return firmware.Choice(firmware.Pair(own, paths.nvram), "the firmware that the machine was taken over with")
    return firmware.find_pair(Path(files.firmware_code), Path(files.firmware_variables))


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
) -> tuple[str | None, str]:
    path = files.installer
    if spec.macos is not None or kept.recovery is not None:
        from pommel.app import recovery

        image = recovery.image_for(workspace, spec.macos, kept.recovery)
        path = str(image.image) if image else path
    there = path if path and Path(path).exists() else None
    return choose_installer(choice, there, installation.installed(workspace.paths(spec.name), kept))


def explained(planned: Planned) -> list[tuple[str, str, str]]:
    """Rows of argument, origin and reason; removed arguments last, marked so."""
    return [
        (("removed: " if row.state == "removed" else "") + row.argument, row.origin, row.reason)
        for row in explain.explain(planned.overlaid)
    ]


def as_shell(planned: Planned) -> str:
    """The command line as a shell takes it."""
    return explain.as_shell(planned.overlaid.command_line)


def as_dict(planned: Planned) -> dict[str, Any]:
    """The command line and its explanation as one JSON object."""
    return {
        "name": planned.spec.name,
        "accel": planned.accel.kind,
        "accel_reason": planned.accel.reason,
        "upstream": str(planned.captured.cwd),
        "sandboxed": planned.captured.sandboxed,
        "argv": list(planned.overlaid.command_line.argv),
        "warnings": list(planned.warnings),
        "arguments": explain.as_json(explain.explain(planned.overlaid)),
    }
