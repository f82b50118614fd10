"""Make a machine that does not exist yet. Band: app.

It is built aside, with its record, and renamed into place: a machine exists completely or not at all.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pommel import private, ssh
from pommel.app.argv import commandline, machine_disk
from pommel.app.argv.commandline import MachineDisks, new_record
from pommel.app.disk import encryption
from pommel.app.machine import identities
from pommel.app.upstream import recovery, upstreams
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import ConfigError, StateError
from pommel.machine import copying, disk, identity, leftovers, ports, record
from pommel.machine.exclusive import serialised
from pommel.machine.folder import refuse_lost
from pommel.machine.spec import GIB, MachineSpec
from pommel.paths import build_aside, sweep_aside
from pommel.progress import Progress, Report, warn
from pommel.settings import format_size
from pommel.trial import base, base_system, provision, upstream

BUSY_WAIT_S = 900.0  # another process may be building the same; waiting for its result is quicker than an error
# The space of an installed macOS on the host; the smallest disk on which its installer has room to work.
MACOS_TAKES = 35 * GIB
MACOS_DISK_MIN = 40 * GIB


def steps(workspace: Workspace, spec: MachineSpec, disks: MachineDisks | None = None) -> list[tuple[str, str, bool]]:
    """The steps of `make`: action, reason, and whether it is to be done. `disks` are the machine's, if known.

    Raises:
        StateError, UpstreamError: as `make`, about the machine's disk, if its upstream exists.
    """
    paths = workspace.paths(spec.name)
    refuse_lost(spec.name, paths.directory)
    made = paths.record.exists()
    found = []
    if spec.upstream == TRIAL:
        built = base.is_built(workspace.home.trial)
        found.append(("build the trial machine's base image", "from Debian's packages; once", not built and not made))
    if spec.upstream == OSX_KVM:
        checkout = workspace.upstream_folder(spec)
        pin = workspace.pin(workspace.file_of(spec.name))
        what = f"clone {pin.url} at {pin.commit[:12]}"
        found.append((what, str(checkout), not (checkout / ".git").is_dir()))
    if disks is None and spec.upstream != TRIAL and workspace.upstream_folder(spec).is_dir():
        disks = commandline.disks(workspace, spec)
    disk_there = disks.own if disks else machine_disk.DiskPlan(str(paths.disk))
    if disk_there.refusal and not made:
        raise disk_there.refusal
    if spec.macos is not None and not disk_there.has_macos:
        found.append(recovery.step(workspace, spec.macos, made=made))
    what = f"the disk {disk_there.target}" if disk_there.target else f"a disk of {format_size(spec.disk_bytes)}"
    found.append((f"make {spec.name} with {what}", str(paths.directory), not made))
    return [*found, *machine_disk.steps(paths, disks.copies if disks else ())]


def make(
    workspace: Workspace, spec: MachineSpec, *, offline: Path | None = None, blank: bool = False, report: Report
) -> bool:
    """Make machine `spec.name` if it does not exist; return whether it was made. `offline`: a local recovery image.

    A `blank` trial machine has an empty disk, and its upstream gets the stand-in for Recovery, which installs on it.

    Raises:
        StateError: no setting says which macOS to install from an upstream of the user's; or the upstream's disk has
            data, and no setting says whether to use it.
        ConfigError: its disk is too small for macOS.
        StateError, MissingProgram: it is to be encrypted, and no passphrase can be read or stored.
        UpstreamError, RecoveryError: the upstream or the recovery image cannot be downloaded or verified.
        BuildError, NotPermitted: the trial machine's base cannot be built here; or there is too little room.
        BusyError: another process has been making it for 15 minutes.
    """
    paths = workspace.paths(spec.name)
    refuse_lost(spec.name, paths.directory)
    if not paths.record.exists():
        encryption.refuse_new(workspace, spec)
    if spec.upstream == TRIAL and blank:
        workspace.mark()
        return _make_blank_trial(workspace, spec, report)
    if spec.upstream == TRIAL:
        if paths.record.exists() and upstream.exists(workspace.home.upstream(TRIAL)):
            return False  # its disk is a full copy, so the base is not needed any more
        workspace.mark()
        return _make_trial(workspace, spec, report)
    upstreams.provide(workspace, spec, report=report)
    if paths.record.exists():
        return False
    workspace.mark()
    return _make_mac(workspace, spec, offline, report)


def _make_trial(workspace: Workspace, spec: MachineSpec, report: Report) -> bool:
    image = base.build_base(workspace.home.trial, report=report)
    upstream.materialise(workspace.home.upstream(TRIAL), image)

    made = replace(_record(workspace, spec), base=image.directory.name)

    def write(raw: Path, target: Path) -> None:
        copying.copy_whole(raw, target, form="raw", encrypted=True, report=report)

    def fill(aside: Path) -> None:
        how = write if made.encrypted is not None else None
        provision.provision(aside, image, name=spec.name, disk_bytes=spec.disk_bytes, write=how, report=report)

    return _make(workspace, spec, fill, made, report)


def _make_blank_trial(workspace: Workspace, spec: MachineSpec, report: Report) -> bool:
    folder, image = workspace.home.upstream(TRIAL), base.build_base(workspace.home.trial, report=report)
    if not (made := workspace.paths(spec.name).record.exists()) or not upstream.exists(folder):
        upstream.materialise(folder, image)
    base_system.provide(folder, image, report=report)
    if made:
        return False
    new = _record(workspace, spec)
    return _make(workspace, spec, lambda aside: _fill_empty(aside, spec, new, report), new, report)


def _fill_empty(aside: Path, spec: MachineSpec, made: record.MachineRecord, report: Report) -> None:
    """Make an empty disk, and the SSH key for the guest."""
    report(Progress("disk", f"{format_size(spec.disk_bytes)}, grows as it is used"))
    disk.create(aside / "mac_hdd_ng.img", spec.disk_bytes, encrypted=made.encrypted is not None)
    _give_key(aside, spec)
    report(Progress("disk", finished=True))


def _give_key(aside: Path, spec: MachineSpec) -> None:
    (aside / "ssh").mkdir(mode=0o700)
    ssh.make_key(aside / "ssh" / "id_ed25519", f"pommel {spec.name}")


def refuse(workspace: Workspace, spec: MachineSpec, disks: MachineDisks | None = None) -> MachineDisks | None:
    """Check that machine `spec.name` can be made, as far as that is known beforehand; return its disks, if known.

    `disks` are the machine's, if the caller knows them already.

    Raises:
        StateError: the upstream's disk has data, and no setting says whether to use it; or no setting says which macOS
            to install on an empty disk.
        ConfigError: its disk is too small for macOS.
        UpstreamError: the upstream's boot script cannot be used as data.
    """
    if disks is None and workspace.upstream_folder(spec).is_dir():
        disks = commandline.disks(workspace, spec)
    planned = _own_disk(workspace, spec, disks)
    if planned.refusal is not None:
        raise planned.refusal
    encryption.refuse_new(workspace, spec, planned.target)
    if planned.target is None and spec.macos is not None and spec.disk_bytes < MACOS_DISK_MIN:
        raise ConfigError(
            f"a disk of {format_size(spec.disk_bytes)} is too small to install macOS",
            hint=f'set disk = "{MACOS_DISK_MIN // GIB}G" or more; unused space takes no space on the host',
        )
    needs_installer = planned.target is None and spec.macos is None and spec.upstream != TRIAL
    if needs_installer and not (disks and disks.installer):
        raise StateError(
            f"{spec.name} boots from {workspace.upstream_folder(spec)}, and no setting says which macOS to install",
            hint=f'set macos = "sonoma" in [machine.{spec.name}], or put a BaseSystem.img into that folder',
        )
    return disks


def _own_disk(workspace: Workspace, spec: MachineSpec, disks: MachineDisks | None) -> machine_disk.DiskPlan:
    return disks.own if disks else machine_disk.DiskPlan(str(workspace.paths(spec.name).disk))


def _make_mac(workspace: Workspace, spec: MachineSpec, offline: Path | None, report: Report) -> bool:
    paths = workspace.paths(spec.name)
    disks = refuse(workspace, spec)
    planned, whose = _own_disk(workspace, spec, disks), identities.decide(workspace, spec, disks)
    image = None
    if planned.target is None and spec.macos is not None:
        _check_room(workspace, report)
    if spec.macos is not None and not planned.has_macos:
        image = recovery.provide(workspace, spec.macos, offline=offline, report=report)

    def fill(aside: Path) -> None:
        if planned.target is None:
            _fill_empty(aside, spec, made, report)
            return
        machine_disk.link(aside, paths, planned.target)
        _give_key(aside, spec)

    made = replace(_record(workspace, spec), macos=spec.macos, recovery=image.key if image else None)
    made = identities.give(made, spec, whose, report=report)
    if planned.target is not None:
        made = replace(made, disk_format=planned.format)
    return _make(workspace, spec, fill, made, report)


def _check_room(workspace: Workspace, report: Report) -> None:
    """Warn if the host's disk has no room for an installed macOS. The user may free some later: no error."""
    private.make_folder(workspace.home.machines)
    if (free := disk.free_bytes(workspace.home.machines)) < MACOS_TAKES:
        warn(
            report,
            f"{workspace.home.machines} has {format_size(free)} free, but an installed macOS needs "
            f"{format_size(MACOS_TAKES)}; when the disk is full, the machine pauses",
        )


def _record(workspace: Workspace, spec: MachineSpec) -> record.MachineRecord:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    config = workspace.file_of(spec.name).path
    made = new_record(spec, os.urandom(identity.RANDOM_BYTES), created=now)
    return replace(made, config=str(config.absolute()) if config else None)


def _make(
    workspace: Workspace, spec: MachineSpec, fill: Callable[[Path], None], made: record.MachineRecord, report: Report
) -> bool:
    paths = workspace.paths(spec.name)
    with serialised(paths, wait_s=BUSY_WAIT_S):
        if paths.record.exists():
            return False
        sweep_aside(paths.directory)
        leftovers.sweep_unfinished(paths.directory.parent)
        with encryption.new_key(workspace, spec, made, report), build_aside(paths.directory) as aside:
            fill(aside)
            ports.allot_port(
                workspace.home,
                spec.name,
                wanted=spec.ssh_port,
                keep=lambda port: record.save(aside / paths.record.name, replace(made, ssh_port=port)),
                report=report,
            )
    return True
