"""The state of the overlay (patches and files), and its effect. Band: app. It only looks, and fetches with git."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pommel.app.argv import commandline
from pommel.app.upstream import origins, upstreams
from pommel.app.workspace import OSX_KVM, Workspace
from pommel.errors import PommelError, StateError
from pommel.machine.explain import ArgumentRow, explain
from pommel.machine.origins import Difference
from pommel.machine.spec import MachineSpec
from pommel.overlay import laying, upstream
from pommel.overlay.laying import OverlayState
from pommel.overlay.patches import PatchState
from pommel.overlay.upstream import UpstreamState


@dataclass(frozen=True, slots=True)
class ArgvChanges:
    """The changes of patches, files and edits in one boot script's arguments for QEMU; or why they are unknown."""

    script: str
    differences: tuple[Difference, ...] = ()
    unknown: str = ""

    def of(self, origin: str) -> list[Difference]:
        """The differences that `origin` ("patches/ram.patch") made."""
        return [each for each in self.differences if each.origin == origin]


@dataclass(frozen=True, slots=True)
class OverlayStanding:
    """The state of the upstream and the overlay. `overlay` is None while there is no checkout."""

    checkout: Path
    repo: Path | None
    url: str
    upstream: UpstreamState
    overlay: OverlayState | None
    argv: tuple[ArgvChanges, ...] = ()

    @property
    def conflicts(self) -> list[PatchState]:
        """The patches that do not apply."""
        return [patch for patch in self.overlay.patches if patch.state.value == "conflict"] if self.overlay else []

    @property
    def as_planned(self) -> bool:
        """Whether the checkout is exactly the pinned commit with the overlay applied."""
        if self.overlay is None or not self.upstream.clean:
            return False
        patched = all(p.state.value == "applied" and not (p.outdated or p.dropped) for p in self.overlay.patches)
        return patched and all(file.state.value == "placed" for file in self.overlay.files)

    def as_dict(self) -> dict[str, Any]:
        """The state as one JSON object."""
        told = self.overlay
        return {
            "checkout": str(self.checkout),
            "config_repo": str(self.repo) if self.repo else None,
            "upstream_url": self.url,
            **asdict(self.upstream),
            "as_planned": self.as_planned,
            "argv_changes": [asdict(changes) for changes in self.argv],
            "patches": [_patch(patch) for patch in told.patches] if told else [],
            "files": [{**asdict(file), "state": file.state.value} for file in told.files] if told else [],
        }


def status(workspace: Workspace | None = None, *, name: str | None = None, fetch: bool = False) -> OverlayStanding:
    """The state of the upstream and the overlay; with `fetch`, the upstream's tip is fetched too.

    With `name`, the pommel.toml of that machine is used; without it, the one of the current folder.

    Raises:
        UpstreamError: the upstream cannot be reached.
        ConfigError: the config repo cannot be used.
    """
    workspace = workspace or Workspace.current()
    file = workspace.file_of(name) if name else workspace.file
    checkout, pin = workspace.checkout(file), workspace.pin(file)
    there = (checkout / ".git").is_dir()
    found = upstream.status(checkout, pin, fetch=fetch and there)
    overlay = upstreams.overlay_of(workspace, file)
    state = laying.status(checkout, overlay) if there else None
    return OverlayStanding(checkout, workspace.config_repo(file), pin.url, found, state)


def with_argv(workspace: Workspace, standing: OverlayStanding) -> OverlayStanding:
    """Add the changes of patches, files and edits in the arguments, for each boot script that pommel.toml uses."""
    if standing.overlay is None:
        return standing
    return replace(standing, argv=tuple(_changes(workspace, spec) for spec in origins.scripts(workspace)))


def _changes(workspace: Workspace, spec: MachineSpec) -> ArgvChanges:
    try:
        followed = commandline.followed(workspace, spec)
    except PommelError as failure:
        return ArgvChanges(spec.boot_script, unknown=failure.message)
    return ArgvChanges(spec.boot_script, followed.traced.differences, "; ".join(followed.notes))


def argv_diff(workspace: Workspace, name: str) -> tuple[commandline.PlannedCommand, list[ArgumentRow]]:
    """The changes of Pommel's rules in the upstream's command line for machine `name`: the rows that differ.

    Raises:
        StateError: there is no checkout yet.
        UpstreamError: the boot script cannot be used as data.
    """
    spec = workspace.spec(name)
    folder = workspace.upstream_folder(spec)
    if spec.upstream == OSX_KVM and not folder.is_dir():
        raise StateError(f"there is no checkout at {folder}", hint="pommel bootstrap --no-setup")
    planned = commandline.command_line(workspace, name)
    return planned, [row for row in explain(planned.overlaid, planned.differences) if row.state != "kept"]


def _patch(patch: PatchState) -> dict[str, Any]:
    return {
        **asdict(patch),
        "state": patch.state.value,
        "three_way": patch.three_way.value if patch.three_way else None,
    }
