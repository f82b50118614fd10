"""Which boot disk a machine starts from: one asked for, its own, upstream's, or one packed from it. Band: app."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pommel import locks
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.machine.boot_choices import BootChoice
from pommel.machine.disk_contents import facts_of
from pommel.machine.disk_facts import DiskFacts, Facts
from pommel.machine.folder import OWN_BOOT_DISK
from pommel.machine.smbios import AppleIdentity
from pommel.machine.spec import MachineSpec
from pommel.machine.upstream_files import UpstreamFiles
from pommel.opencore.own_disk import needs_build
from pommel.paths import build_aside, sweep_aside
from pommel.progress import Report

if TYPE_CHECKING:
    from pommel.opencore.options import Options, Smbios

NAME = "OpenCore.qcow2"
_WAIT_S = 120.0
_USUAL = BootChoice()


@dataclass(frozen=True, slots=True)
class BootDisk:
    """The boot disk; `path` is None when it is the upstream's own. We pack it from the folder `packed`, if any."""

    path: Path | None = None
    reason: str = ""
    format: str = "qcow2"
    packed: Path | None = None
    options: Options | None = None
    root: Path | None = None  # the upstream's folder, which links in `packed` may lead into


def choose(
    workspace: Workspace,
    spec: MachineSpec,
    folder: Path,
    files: UpstreamFiles,
    apple: AppleIdentity | None = None,
    choice: BootChoice = _USUAL,
    *,
    facts: Facts | None = None,
) -> BootDisk:
    """Say which boot disk machine `spec.name` starts from; changes nothing. `facts` is what is in the upstream's.

    Raises:
        StateError: the one that is asked for is not there; or what is asked for takes packing, and there is nothing to
            pack.
        UpstreamError: upstream's own is missing, and its OpenCore folder cannot be packed.
    """
    if spec.boot_disk is not None:
        path = workspace.beside(spec.name, spec.boot_disk)
        if not path.is_file():
            raise StateError(f"boot_disk is {path}, and there is no such file", hint=f"pommel opencore build -o {path}")
        return BootDisk(path, "asked for: boot_disk", facts_of(str(path)).format or "qcow2")
    if (own := workspace.paths(spec.name).directory / OWN_BOOT_DISK).is_file():
        if choice.verbose:
            raise StateError(
                f"{spec.name} has a boot disk of its own, and --verbose would start it from another",
                hint=f"set boot-args in OpenCore's configuration on {own}",
            )
        reason = "the machine's own boot disk, which it was taken over with"
        return BootDisk(own, reason, facts_of(str(own)).format or "qcow2")
    efi, config = folder / "OpenCore" / "EFI", folder / "OpenCore" / "config.plist"
    why = _why_packed(files, apple, choice, (facts or {}).get(files.boot_disk or ""))
    if not why:
        return BootDisk()
    _refuse_other_than_said(files, folder, facts or {})
    if not efi.is_dir():
        if choice.verbose:
            raise StateError(f"--verbose takes OpenCore's folder, and there is no {efi}")
        return BootDisk()  # QEMU says what it lacks, if anything: there is nothing to pack
    from pommel.opencore.build import Options, key  # most starts pack nothing

    options = Options(add_boot_args="-v" if choice.verbose else "", smbios=_smbios(apple))
    path = workspace.home.opencore / key(efi, config, options, root=folder) / NAME
    reason = f"{', '.join(why)}; packed from upstream's {efi.relative_to(folder)}"
    return BootDisk(path, reason, packed=efi, options=options, root=folder)


def provide(workspace: Workspace, chosen: BootDisk, *, report: Report) -> None:
    """Pack the boot disk if it is one that we pack and it is not there."""
    if chosen.packed is None or chosen.path is None or chosen.options is None or chosen.path.exists():
        return
    from pommel.opencore.build import build

    folder = chosen.path.parent
    with locks.hold(folder.with_name(f".{folder.name}.lock"), busy="a boot disk is being packed", wait_s=_WAIT_S):
        if chosen.path.exists():
            return
        sweep_aside(folder)
        with build_aside(folder) as aside:
            config = chosen.packed.parent / "config.plist"
            build(chosen.packed, config, aside / NAME, root=chosen.root, options=chosen.options, report=report)


def _why_packed(
    files: UpstreamFiles, apple: AppleIdentity | None, choice: BootChoice, seen: DiskFacts | None
) -> list[str]:
    if files.boot_disk is None:
        return []
    boots = seen is not None and (seen.loader is not None or seen.kind in ("device", "network"))
    missing = None if boots else needs_build(Path(files.boot_disk))  # a raw one is as good, if it boots
    found = [missing] if missing else []
    found += [f"with this machine's own numbers ({apple.model}, {apple.serial})"] if apple else []
    return found + (["asked for: verbose"] if choice.verbose else [])


def _refuse_other_than_said(files: UpstreamFiles, folder: Path, facts: Facts) -> None:
    """See that what is packed from the upstream's folder takes the place of a disk in that folder only."""
    said = Path(files.boot_disk or "")
    seen = facts.get(str(said))
    if seen is not None and seen.kind == "missing" and not said.is_relative_to(folder.resolve()):
        raise StateError(
            f"the boot script boots from {said}, and there is no such file",
            hint="put it there, or set boot_disk to the one to use",
        )


def _smbios(apple: AppleIdentity | None) -> Smbios:
    from pommel.opencore.options import Smbios

    if apple is None:
        return Smbios()
    return Smbios(
        product_name=apple.model, serial=apple.serial, mlb=apple.mlb, uuid=apple.uuid, rom=bytes.fromhex(apple.rom)
    )
