"""Recovery images: list, download and verify them. Band: app."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError, UsageError
from pommel.progress import Report, ignore, note
from pommel.recovery import catalog
from pommel.recovery.catalog import VERSIONS, MacVersion
from pommel.recovery.chunklist import Chunklist
from pommel.recovery.verify import read_chunklist, verify_file

if TYPE_CHECKING:
    from pommel.recovery.store import RecoveryStore, Stored

__all__ = ["MacVersion", "fetch", "here", "listed", "provide", "step", "store_of", "verify"]


def store_of(workspace: Workspace) -> RecoveryStore:
    """The cache of recovery images, shared by all machines."""
    from pommel.recovery.store import RecoveryStore  # imported late: most starts do not need it

    return RecoveryStore(workspace.home.recovery)


def listed(workspace: Workspace | None = None) -> list[tuple[MacVersion, list[Stored]]]:
    """Every known macOS, with its downloaded images."""
    workspace = workspace or Workspace.current()
    here = store_of(workspace).list()
    return [(version, [image for image in here if version.covers(image.version)]) for version in VERSIONS]


def fetch(
    version: str,
    *,
    workspace: Workspace | None = None,
    offline: Path | None = None,
    connections: int = 3,
    force: bool = False,
    report: Report = ignore,
) -> Stored:
    """Get a recovery image of `version` (name, number or board id): from the cache, from Apple, or from a file.

    Raises:
        UsageError: there is no such macOS.
        RecoveryError: it cannot be downloaded or verified; the finished parts are kept.
    """
    workspace = workspace or Workspace.current()
    wanted, store = catalog.find(version), store_of(workspace)
    workspace.mark()
    if offline is not None:
        return store.take(offline, version=wanted, origin=workspace.origin, report=report)
    return asyncio.run(
        store.fetch(wanted, origin=workspace.origin, report=report, connections=connections, force=force)
    )


def here(version: str, *, workspace: Workspace | None = None) -> Stored:
    """The downloaded image of `version`.

    Raises:
        UsageError: there is no such macOS.
        StateError: none is downloaded.
    """
    workspace = workspace or Workspace.current()
    wanted = catalog.find(version)
    image = store_of(workspace).find(wanted)
    if image is None:
        raise StateError(
            f"the recovery image of macOS {wanted.title} is not downloaded yet",
            hint=f"pommel recovery fetch {wanted.name}",
        )
    return image


def provide(workspace: Workspace, macos: str, *, offline: Path | None, report: Report) -> Stored:
    """Get the recovery image for a new machine. Raises as `fetch`."""
    known = store_of(workspace).find(catalog.find(macos))
    image = fetch(macos, workspace=workspace, offline=offline, report=report)
    if known is None:
        note(report, f"recovery image: macOS {image.version}" + ("" if image.chunklist else ", not verified"))
    return image


def step(workspace: Workspace, macos: str, *, made: bool) -> tuple[str, str, bool]:
    """The step of `provide`: action, reason, and whether it is to be done."""
    version = catalog.find(macos)
    here = store_of(workspace).find(version)
    what = f"download the recovery image of macOS {version.title} from Apple"
    return what, f"here: macOS {here.version}" if here else "about 0.8 GB, verified; 3 GB unpacked", not (here or made)


def verify(
    file: Path, *, chunklist: Path | None = None, workspace: Workspace | None = None, report: Report = ignore
) -> str:
    """Check a recovery image against the chunklist beside it, with Apple's key; return the result in words.

    Raises:
        RecoveryError: it differs from what Apple signed.
        UsageError: there is no chunklist to check it with.
    """
    workspace = workspace or Workspace.current()
    beside = chunklist or file.with_suffix(".chunklist")
    if not beside.is_file():
        raise UsageError(f"there is no chunklist at {beside}", hint="pass it with --chunklist FILE")
    key = {"key": workspace.origin.key} if workspace.origin else {}
    signed: Chunklist = read_chunklist(beside, **key)
    verify_file(file, signed, report)
    return f"{len(signed.chunks)} chunks, {signed.total_size} bytes, as Apple signed them"


def image_for(workspace: Workspace, macos: str | None, kept: str | None) -> Stored | None:
    """The image to install a machine from: the one it was made with, or else the cached one of its macOS."""
    if macos is None and kept is None:
        return None
    store = store_of(workspace)
    for image in store.list() if kept else []:
        if image.key == kept:
            return image
    try:
        return store.find(catalog.find(macos)) if macos else None
    except PommelError:
        return None
