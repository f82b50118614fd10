"""Which boot disk a machine starts from: one asked for, upstream's, or one packed from its OpenCore/EFI. Band: app."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pommel import locks
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.machine.spec import MachineSpec
from pommel.machine.upstream_files import UpstreamFiles
from pommel.opencore.build import build, key, needs_build
from pommel.paths import build_aside, sweep_aside
from pommel.progress import Report

NAME = "OpenCore.qcow2"
_WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class BootDisk:
    """The boot disk; `path` is None when it is the upstream's own. `packed` says from which folder we pack it."""

    path: Path | None = None
    reason: str = ""
    packed: Path | None = None


def choose(workspace: Workspace, spec: MachineSpec, folder: Path, files: UpstreamFiles) -> BootDisk:
    """Say which boot disk machine `spec.name` starts from; changes nothing.

    Raises:
        StateError: the one that is asked for is not there.
        UpstreamError: upstream's own is missing, and its OpenCore folder cannot be packed.
    """
    if spec.boot_disk is not None:
        path = workspace.beside(spec.name, spec.boot_disk)
        if not path.is_file():
            raise StateError(f"boot_disk is {path}, and there is no such file", hint=f"pommel opencore build -o {path}")
        return BootDisk(path, "asked for: boot_disk")
    if files.boot_disk is None or (why := needs_build(Path(files.boot_disk))) is None:
        return BootDisk()
    efi, config = folder / "OpenCore" / "EFI", folder / "OpenCore" / "config.plist"
    if not efi.is_dir():
        return BootDisk()  # QEMU says what it lacks: there is nothing to pack either
    path = workspace.home.opencore / key(efi, config) / NAME
    return BootDisk(path, f"{why}; packed from upstream's {efi.relative_to(folder)}", efi)


def provide(workspace: Workspace, chosen: BootDisk, *, report: Report) -> None:
    """Pack the boot disk if it is one that we pack and it is not there."""
    if chosen.packed is None or chosen.path is None or chosen.path.exists():
        return
    folder = chosen.path.parent
    with locks.hold(folder.with_name(f".{folder.name}.lock"), busy="a boot disk is being packed", wait_s=_WAIT_S):
        if chosen.path.exists():
            return
        sweep_aside(folder)
        with build_aside(folder) as aside:
            build(chosen.packed, chosen.packed.parent / "config.plist", aside / NAME, report=report)
