"""The managed upstream: its checkout at the pinned commit, with the config repo laid over it. Band: app."""

from __future__ import annotations

from pommel.app.workspace import OSX_KVM, Workspace
from pommel.machine.spec import MachineSpec
from pommel.overlay import laying, upstream
from pommel.overlay.laying import Overlay, OverlayState
from pommel.overlay.upstream import UpstreamState
from pommel.progress import Report
from pommel.settings import ConfigFile


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
    """
    if spec.upstream == OSX_KVM:
        lay(workspace, workspace.file_of(spec.name), report=report)


def lay(workspace: Workspace, file: ConfigFile, *, report: Report) -> tuple[UpstreamState, OverlayState]:
    """Clone, check out, verify, and lay the overlay on; return the upstream's state and the overlay's before."""
    workspace.mark()
    checkout = workspace.checkout(file)
    overlay = overlay_of(workspace, file)
    found = upstream.ensure(checkout, workspace.pin(file), report=report)
    return found, laying.lay(checkout, overlay, report=report)
