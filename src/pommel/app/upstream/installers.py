"""Full installers of macOS: list, download, delete and attach them. Band: app."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.progress import Report, ignore
from pommel.recovery import software_catalog
from pommel.recovery.installers import Installers, StoredInstaller
from pommel.recovery.software_catalog import Installer, choose

# The id of the drive by which QEMU attaches an installer.
DRIVE = "PommelInstaller"


@dataclass(frozen=True, slots=True)
class Listed:
    """One installer: Apple's id, its macOS, its size in bytes, the date of publication, and its path on this host."""

    product: str
    name: str
    version: str
    build: str
    size_bytes: int
    posted: str
    disk_path: str | None

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def store_of(workspace: Workspace) -> Installers:
    """The downloaded installers, which all machines share."""
    return Installers(workspace.home.installers)


def listed(*, here_only: bool = False, workspace: Workspace | None = None, report: Report = ignore) -> list[Listed]:
    """The installers that Apple offers and the downloaded ones, the newest first. With `here_only`, only the latter.

    Raises:
        RecoveryError: Apple's server cannot be reached.
    """
    workspace = workspace or Workspace.current()
    store = store_of(workspace)
    here = {each.product: _stored(each) for each in store.list()}
    offered: Sequence[Installer] = ()
    if not here_only:
        offered = asyncio.run(store.offered(origin=workspace.origin, report=report))
    found = {each.product.id: _offered(each) for each in offered} | here
    return sorted(found.values(), key=lambda each: (software_catalog.numbers(each.version), each.posted), reverse=True)


def fetch(
    which: str,
    *,
    model: str | None = None,
    connections: int = 3,
    force: bool = False,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Listed:
    """Download the newest full installer of `which` (name, version or build). With `dry_run`, only return which it is.

    Raises:
        UsageError: there is no such macOS, or no such model.
        RecoveryError: it cannot be downloaded; the finished parts are kept.
    """
    workspace = workspace or Workspace.current()
    store = store_of(workspace)
    software_catalog.check_words(which, model)
    if dry_run:
        if not force and (found := store.find(which)):
            return _stored(found)
        chosen = choose(asyncio.run(store.offered(origin=workspace.origin, report=report)), which, model)
        here = {each.product: _stored(each) for each in store.list()}
        return here.get(chosen.product.id) or _offered(chosen)
    workspace.mark()
    return _stored(
        asyncio.run(
            store.fetch(
                which, model=model, origin=workspace.origin, report=report, connections=connections, force=force
            )
        )
    )


def here(which: str, *, workspace: Workspace | None = None) -> StoredInstaller:
    """The newest downloaded installer of `which`.

    Raises:
        UsageError: there is no such macOS.
        StateError: none is downloaded.
    """
    found = store_of(workspace or Workspace.current()).find(which)
    if found is None:
        raise StateError(
            f"the full installer of macOS {which} is not downloaded yet", hint=f"pommel installer fetch {which}"
        )
    return found


def delete(which: str, *, dry_run: bool = False, workspace: Workspace | None = None) -> Listed:
    """Delete the installer of `which` (name, version, build or product id) from this host.

    Raises:
        UsageError: it matches several downloaded installers, or there is no such macOS.
        StateError: none is downloaded, or qemu_args of a machine use it.
    """
    workspace = workspace or Workspace.current()
    store = store_of(workspace)
    found = [
        each
        for each in store.list()
        if each.product == which
        or (not software_catalog.is_product(which) and software_catalog.means(which, each.version, each.build))
    ]
    if not found:
        raise StateError(
            f"no installer of macOS {which} is downloaded", hint="to list them: pommel installer list --here"
        )
    if len(found) > 1:
        builds = ", ".join(each.build for each in found)
        raise UsageError(f"{which} means several installers", hint=f"give the build of one: {builds}")
    (one,) = found
    for name in workspace.names():
        if any(str(one.folder) in word for word in workspace.spec(name).qemu_args):
            raise StateError(f"qemu_args of {name} name {one.disk}", hint="remove them from pommel.toml first")
    told = _stored(one)
    if not dry_run:
        store.remove(one)
    return told


def attached(found: StoredInstaller) -> tuple[str, ...]:
    """The QEMU arguments that attach the installer as a read-only CD."""
    if "," in str(found.disk):
        raise UsageError(
            f"{found.disk} has a comma in its name, where QEMU would end the name", hint="move POMMEL_HOME"
        )
    drive = f"id={DRIVE},if=none,format=vmdk,media=cdrom,readonly=on,file={found.disk}"
    return ("-drive", drive, "-device", f"usb-storage,drive={DRIVE}")


def _offered(each: Installer) -> Listed:
    product, details = each.product, each.details
    return Listed(product.id, each.name, details.version, details.build, product.size_bytes, product.posted, None)


def _stored(each: StoredInstaller) -> Listed:
    return Listed(each.product, each.name, each.version, each.build, each.size_bytes, each.posted, str(each.disk))
