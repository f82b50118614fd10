"""The managed upstream: its checkout at the pinned commit, with the config repo applied. Band: app."""

from __future__ import annotations

from pathlib import Path

from pommel import writable
from pommel.app.workspace import OSX_KVM, Workspace
from pommel.errors import NotPermitted
from pommel.machine.spec import MachineSpec
from pommel.overlay import laying, upstream
from pommel.overlay.laying import Overlay, OverlayState
from pommel.overlay.upstream import UpstreamState
from pommel.progress import Report
from pommel.settings import ConfigFile

_FOLDERS = ("*", ".git", ".git/*", ".git/objects/*")


def overlay_of(workspace: Workspace, file: ConfigFile) -> Overlay:
    """The patches and files of the config repo of this pommel.toml; none if it is not a config repo.

    Raises:
        ConfigError: something in it cannot be used.
    """
    repo = workspace.config_repo(file)
    return laying.read(repo) if repo is not None else Overlay()


def provide(workspace: Workspace, spec: MachineSpec, *, report: Report) -> None:
    """Get the upstream of machine `spec.name`, if it is the managed one. A user's own folder is not changed.

    Raises:
        UpstreamError: it cannot be reached or verified, or a patch conflicts.
        StateError: there are edits in it, or it is at another commit with our overlay applied.
        NotPermitted, BuildError: it cannot be written to, or the disk is full.
    """
    if spec.upstream == OSX_KVM:
        lay(workspace, workspace.file_of(spec.name), report=report)


def must_take(workspace: Workspace, file: ConfigFile) -> Path:
    """Check that the checkout of this pommel.toml can be made or written to; return its path.

    Raises:
        NotPermitted: it belongs to another user, or is read-only.
        BuildError: the disk is full.
    """
    checkout = workspace.checkout(file)
    if not checkout.exists():
        workspace.mark()
    if (wrong := not_ours(checkout)) is not None:
        raise wrong
    return checkout


def not_ours(checkout: Path) -> NotPermitted | None:
    """Why this user cannot write to the checkout, for example after a `sudo pommel`; None: they can."""
    # Only folders are checked: git renames new files into place, so the owner of an old file does not matter.
    for path in (checkout, *(inside for pattern in _FOLDERS for inside in checkout.glob(pattern))):
        if path.is_dir() and not path.is_symlink() and (why := writable.why_not(path)) is not None:
            return NotPermitted(f"{path} cannot be written: {why}", hint=writable.take_it(checkout))
    return None


def lay(workspace: Workspace, file: ConfigFile, *, report: Report) -> tuple[UpstreamState, OverlayState]:
    """Clone, check out, verify, and apply the overlay; return the states of upstream and overlay before."""
    checkout = must_take(workspace, file)
    overlay = overlay_of(workspace, file)
    found = upstream.ensure(checkout, workspace.pin(file), report=report)
    return found, laying.lay(checkout, overlay, report=report)
