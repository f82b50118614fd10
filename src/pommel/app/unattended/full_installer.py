"""Install macOS from Apple's full installer, so that nothing is downloaded during the installation. Band: app.

The machine gets the installer as a CD; the scripts get the size of its parts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pommel.app.upstream import installers
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.recovery import catalog, cd
from pommel.recovery.installers import LABEL
from pommel.settings import format_size
from pommel.unattended.scripts import InstallTarget, Package

if TYPE_CHECKING:
    from pommel.recovery.installers import StoredInstaller

# During the installation, the target has the package twice, in addition to the installed files. The smallest disk that
# is reported to work is 40 GB for a package of 12 GB: 2 × 12 + 16.
_BESIDE_BYTES = 16 * 10**9


def of(workspace: Workspace, name: str) -> StoredInstaller:
    """The newest downloaded full installer of machine `name`'s macOS. Recovery and installer must be the same macOS.

    Raises:
        StateError: the machine's macOS is unknown, or its installer is not downloaded.
    """
    macos = workspace.spec(name).macos
    if macos is None:
        raise StateError(f"{name} has no setting macos, so it is unknown which installer it needs", hint="set it")
    return installers.here(catalog.find(macos).name, workspace=workspace)


def target_with(target: InstallTarget, found: StoredInstaller) -> InstallTarget:
    """The target with this installer.

    Raises:
        StateError: the target's disk is too small for it.
    """
    needed = 2 * found.size_bytes + _BESIDE_BYTES
    if target.size_bytes < needed:
        raise StateError(
            f"the disk has {format_size(target.size_bytes)}, and an installation from the full installer needs "
            f"{format_size(needed)}, because it stores the package twice",
            hint="take a larger disk, or leave out --full-installer",
        )
    return replace(target, package=Package(LABEL, cd.pieces(found.size_bytes), found.size_bytes))
