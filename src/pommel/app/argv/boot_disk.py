"""Choose the boot disk: from the settings, the machine's own, upstream's, or one built from upstream's. Band: app."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pommel import locks
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.machine.cloning import backing_of
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
_CHAIN_MAX = 16
_SHOWN = {"recovery": "Recovery", "macos": "macOS"}
_SHOWS_AFTER_S = 3  # the picker's wait for a key if it has only one entry: time enough to see it


@dataclass(frozen=True, slots=True)
class BootDisk:
    """The boot disk; `path` None means the upstream's own.

    Pommel builds it from the folder `packed`, or from the image `reworked` of format `reworked_format`, if one is set.
    """

    path: Path | None = None
    reason: str = ""
    format: str = "qcow2"
    packed: Path | None = None
    reworked: Path | None = None
    reworked_format: str = "qcow2"
    options: Options | None = None
    root: Path | None = None  # the upstream's folder: links in `packed` may point to files in it, and nowhere else


@dataclass(frozen=True, slots=True)
class BootDiskChanges:
    """The changes of the machine's boot disk to the one that it is made from."""

    apple: AppleIdentity | None = None
    hide_hypervisor: bool = False
    verbose: bool = False
    resolution: str | None = None  # only for an OpenCore disk: with others, the firmware alone gets the resolution
    shows: str | None = None  # "recovery" or "macos": the only entry that it starts

    def why(self) -> list[str]:
        """The reasons for the changes, one phrase each."""
        found = [f"with this machine's own numbers ({self.apple.model}, {self.apple.serial})"] if self.apple else []
        found += ["asked for: apple_services"] if self.hide_hypervisor else []
        found += ["asked for: verbose"] if self.verbose else []
        found += [f"asked for: to start only {_SHOWN[self.shows]}"] if self.shows else []
        return found + ([f"asked for: resolution {self.resolution}"] if self.resolution else [])


def choose(
    workspace: Workspace,
    spec: MachineSpec,
    folder: Path,
    files: UpstreamFiles,
    changed: BootDiskChanges | None = None,
    *,
    facts: Facts | None = None,
) -> BootDisk:
    """Choose the boot disk of machine `spec.name`. Nothing is changed. `facts` are about the upstream's drives.

    Raises:
        StateError: the disk in the settings does not exist; or the settings need a changed boot disk, and none can be
            built.
        UpstreamError: upstream's own is missing, and its OpenCore folder cannot be packed.
    """
    changed = changed or BootDiskChanges()
    if spec.boot_disk is not None:
        path = workspace.beside(spec.name, spec.boot_disk)
        if not path.is_file():
            raise StateError(f"boot_disk is {path}, but there is no such file", hint=f"pommel opencore build -o {path}")
        return _like(workspace, path, facts_of(str(path)), "asked for: boot_disk", changed)
    if (own := workspace.paths(spec.name).directory / OWN_BOOT_DISK).is_file():
        # No new numbers: `identities` writes them to this disk whenever the record changes.
        reason, others = "the machine's own boot disk, from when it was adopted", replace(changed, apple=None)
        return _like(workspace, own, facts_of(str(own)), reason, others)
    if files.boot_disk is None:
        _refuse_change(changed, "its boot script uses no boot disk that Pommel knows")
        return BootDisk()
    seen = (facts or {}).get(files.boot_disk)
    boots = seen is not None and (seen.loader is not None or seen.kind in ("device", "network"))
    # A raw disk or a device counts too, if it has a boot loader.
    missing = None if boots else needs_build(Path(files.boot_disk))
    if missing is None:
        if not changed.why():
            return BootDisk()
        seen = seen or facts_of(files.boot_disk)
        if not _fitting(changed, seen).why():
            return BootDisk()
        if seen.kind in ("device", "network"):
            _refuse_change(changed, f"it starts from {files.boot_disk}, which is not a file that Pommel can copy")
        return _like(workspace, Path(files.boot_disk), seen, "", changed)
    _refuse_other_than_said(files, folder, facts or {})
    return _packed(workspace, folder, missing, changed)


def _like(workspace: Workspace, image: Path, seen: DiskFacts, reason: str, changed: BootDiskChanges) -> BootDisk:
    """The disk `image` itself, or one that is made from it with the changes."""
    kind, changed = seen.format or "qcow2", _fitting(changed, seen)
    if not (why := changed.why()):
        return BootDisk(image, reason, kind)
    from pommel.opencore import rework  # imported late: most starts do not build a boot disk

    options = _options(changed)
    path = workspace.home.opencore / rework.key(_chain(image), options) / NAME
    said = ", ".join(filter(None, (reason, *why)))
    return BootDisk(path, f"{said}; made from {image.name}", options=options, reworked=image, reworked_format=kind)


def _fitting(changed: BootDiskChanges, seen: DiskFacts) -> BootDiskChanges:
    """The changes that this boot disk can take: only OpenCore's configuration has a resolution."""
    return changed if (seen.loader, seen.kind) == ("OpenCore", "file") else replace(changed, resolution=None)


def _packed(workspace: Workspace, folder: Path, missing: str, changed: BootDiskChanges) -> BootDisk:
    efi, config = folder / "OpenCore" / "EFI", folder / "OpenCore" / "config.plist"
    if not efi.is_dir():
        _refuse_change(changed, f"{missing}, and there is no {efi} to build one from")
        return BootDisk()  # nothing can be packed; if a file is missing, QEMU's own error says which
    from pommel.opencore.build import key

    options = _options(changed)
    path = workspace.home.opencore / key(efi, config, options, root=folder) / NAME
    reason = f"{', '.join((missing, *changed.why()))}; packed from upstream's {efi.relative_to(folder)}"
    return BootDisk(path, reason, packed=efi, options=options, root=folder)


def _refuse_change(changed: BootDiskChanges, because: str) -> None:
    if why := replace(changed, resolution=None).why():
        raise StateError(
            f"this machine needs its own boot disk ({', '.join(why)}), but none can be built: {because}",
            hint="set boot_disk to an image of OpenCore's boot disk",
        )


def _options(changed: BootDiskChanges) -> Options:
    from pommel.opencore.options import Options

    return Options(
        add_boot_args="-v" if changed.verbose else "",
        hide_hypervisor=changed.hide_hypervisor,
        shows=changed.shows,
        timeout_s=_SHOWS_AFTER_S if changed.shows else None,
        resolution=f"{changed.resolution}@32" if changed.resolution else None,
        smbios=smbios_of(changed.apple),
    )


def _chain(image: Path) -> list[Path]:
    """An image and its backing files."""
    found = [image]
    while len(found) < _CHAIN_MAX and (under := backing_of(found[-1])) is not None:
        found.append(under)
    return found


def provide(workspace: Workspace, chosen: BootDisk, *, report: Report) -> None:
    """Build the boot disk, if Pommel builds it and it does not exist yet.

    Raises:
        StateError, UpstreamError, BuildError, MissingProgram: it cannot be built.
    """
    source = chosen.packed or chosen.reworked
    if source is None or chosen.path is None or chosen.options is None or chosen.path.exists():
        return
    folder = chosen.path.parent
    with locks.hold(folder.with_name(f".{folder.name}.lock"), busy="building a boot disk", wait_s=_WAIT_S):
        if chosen.path.exists():  # another process built it while this one waited for the lock
            return
        sweep_aside(folder)
        with build_aside(folder) as aside:
            _make(chosen, source, aside / NAME, chosen.options, report)


def _make(chosen: BootDisk, source: Path, target: Path, options: Options, report: Report) -> None:
    if chosen.packed is None:
        from pommel.opencore.rework import rework

        rework(source, target, options=options, image_format=chosen.reworked_format, report=report)
    else:
        from pommel.opencore.build import build

        build(source, source.parent / "config.plist", target, root=chosen.root, options=options, report=report)


def _refuse_other_than_said(files: UpstreamFiles, folder: Path, facts: Facts) -> None:
    """Refuse to replace a missing boot disk outside the upstream's folder: the user meant that file.

    Raises:
        StateError: the boot script names such a file.
    """
    said = Path(files.boot_disk or "")
    seen = facts.get(str(said))
    if seen is not None and seen.kind == "missing" and not said.is_relative_to(folder.resolve()):
        raise StateError(
            f"the boot script boots from {said}, but there is no such file",
            hint="put the file there, or set boot_disk to the boot disk to use",
        )


def smbios_of(apple: AppleIdentity | None) -> Smbios:
    """The numbers as OpenCore's options."""
    from pommel.opencore.options import Smbios

    if apple is None:
        return Smbios()
    return Smbios(
        product_name=apple.model, serial=apple.serial, mlb=apple.mlb, uuid=apple.uuid, rom=bytes.fromhex(apple.rom)
    )
