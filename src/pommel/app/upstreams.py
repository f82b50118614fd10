"""The managed upstream: its checkout at the pinned commit, with the config repo laid over it. Band: app."""

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
    """What the config repo of this pommel.toml has to lay over the checkout; nothing where there is none.

    Raises:
        ConfigError: something in it cannot be used.
    """
    repo = workspace.config_repo(file)
    return laying.read(repo) if repo is not None else Overlay()


def provide(workspace: Workspace, spec: MachineSpec, *, report: Report) -> None:
    """Have the upstream that machine `spec.name` boots from. Only the managed one is ours to get.

    Raises:
        UpstreamError: it cannot be reached or verified, or a patch conflicts.
        StateError: something was edited in it, or it stands on another commit with our overlay on it.
        NotPermitted, BuildError: it cannot be written to, or the disk is full.
    """
    if spec.upstream == OSX_KVM:
        lay(workspace, workspace.file_of(spec.name), report=report)


def must_take(workspace: Workspace, file: ConfigFile) -> Path:
    """See that the checkout of this pommel.toml can be made, or written to; return where it is.

    Raises:
        NotPermitted: it belongs to somebody else, or is read-only.
        BuildError: the disk is full.
    """
    checkout = workspace.checkout(file)
    if not checkout.exists():
        workspace.mark()
    if (wrong := not_ours(checkout)) is not None:
        raise wrong
    return checkout


def not_ours(checkout: Path) -> NotPermitted | None:
    """Why what is in the checkout cannot be written by this user, as after a `sudo pommel`; None: it can."""
    # Folders alone: git puts files in place by renaming them, whoever made those that were there.
    for path in (checkout, *(inside for pattern in _FOLDERS for inside in checkout.glob(pattern))):
        if path.is_dir() and not path.is_symlink() and (why := writable.why_not(path)) is not None:
            return NotPermitted(f"{path} cannot be written: {why}", hint=writable.take_it(checkout))
    return None


def lay(workspace: Workspace, file: ConfigFile, *, report: Report) -> tuple[UpstreamState, OverlayState]:
    """Clone, check out, verify, and lay the overlay on; return the upstream's state and the overlay's before."""
    checkout = must_take(workspace, file)
    overlay = overlay_of(workspace, file)
    found = upstream.ensure(checkout, workspace.pin(file), report=report)
    return found, laying.lay(checkout, overlay, report=report)
