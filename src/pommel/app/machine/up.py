"""`up`: do all missing steps to a running machine that shows its screen. Band: app.

Each step is checked first and done only if it is needed, so that a second call is safe and quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.app.clip import sync as clip
from pommel.app.consent import Consent
from pommel.app.host import needs, setup
from pommel.app.machine import foresight, machines, making, power
from pommel.app.mesh import membership as mesh
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.machine import state
from pommel.machine.spec import MachineSpec
from pommel.progress import Report, ignore


@dataclass(frozen=True, slots=True)
class UpStep:
    """One step of `up`, for --dry-run."""

    what: str
    why: tuple[str, ...]
    needed: bool


@dataclass(frozen=True, slots=True)
class UpPlan:
    """The steps of `up` in order, and warnings."""

    steps: tuple[UpStep, ...]
    warnings: tuple[str, ...] = ()


_AWAITED = {"screen": "its screen", "ssh": "SSH", "desktop": "its desktop, or its installer"}


def plan(
    name: str,
    *,
    workspace: Workspace | None = None,
    flags: Mapping[str, Any] | None = None,
    until: str = "desktop",
) -> UpPlan:
    """What `up` would do now for machine `name`, without doing it.

    Raises:
        PommelError: the errors of `up` that are known beforehand.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name, flags)
    paths = workspace.paths(name)
    packages = needs.plan(spec, made=paths.record.exists())
    alive = state.observe(paths).alive
    seen = foresight.look(workspace, spec, flags)
    steps = [
        UpStep(
            f"install packages: {packages.as_text}" if packages else "install packages",
            packages.reasons if packages else ("all there",),
            packages is not None,
        ),
        *(UpStep(what, (why,), needed) for what, why, needed in foresight.lay_steps(workspace, spec)),
        *(UpStep(what, (why,), needed) for what, why, needed in making.steps(workspace, spec, seen.disks)),
        UpStep(f"start {name}", ("it is running" if alive else "it is stopped",), not alive),
        UpStep(f"wait until {name} has {_AWAITED[until]}", ("so that the first keys go there",), True),
        UpStep(f"serve the console of {name} on 127.0.0.1", ("its screen, keyboard and mouse on a page",), True),
    ]
    if not alive and (modules := setup.kernel_step(workspace, spec)) is not None:
        steps.insert(1, UpStep(*modules))
    return UpPlan(tuple(steps), seen.warnings)


def steps(name: str, *, workspace: Workspace | None = None, flags: Mapping[str, Any] | None = None) -> list[UpStep]:
    """The steps of `plan`."""
    return list(plan(name, workspace=workspace, flags=flags).steps)


def up(
    name: str,
    *,
    workspace: Workspace | None = None,
    flags: Mapping[str, Any] | None = None,
    offline: Path | None = None,
    consent: Consent | None = None,
    until: str | None = "desktop",
    report: Report = ignore,
) -> machines.Status:
    """Make machine `name` if it does not exist, start it if it is not running, and wait for its desktop or installer.

    `offline` is a local recovery image. `consent` is asked before the host is changed (packages, kernel modules).
    Without `consent`, root changes it, and other users get an error. `until` is the goal of the wait: "screen", "ssh"
    or "desktop"; None: no wait. If the goal is not reached in time, that is a warning, because the machine runs.

    Raises:
        NotPermitted: packages are missing and may not be installed; the hint is the command to type.
        UpstreamError, RecoveryError, BuildError, MachineError, DeadlineError: it could not be made or started.
    """
    workspace = workspace or Workspace.current()
    spec = ready(name, workspace=workspace, flags=flags, offline=offline, consent=consent, report=report)
    paths = workspace.paths(name)
    if state.observe(paths).alive:
        if spec.clipboard:
            clip.begin_with(workspace, spec, report=report)
        mesh.begin_with(workspace, name, report=report)
    else:
        try:
            power.start(name, workspace=workspace, flags=flags, report=report)
        except StateError:
            if not state.observe(paths).alive:  # if it runs, another `up` started it: no error
                raise
    if until is not None:
        from pommel.app.machine import waiting

        waiting.try_wait(name, until, workspace=workspace, report=report)
    return machines.status(name, workspace=workspace)


def ready(
    name: str,
    *,
    workspace: Workspace,
    flags: Mapping[str, Any] | None = None,
    offline: Path | None = None,
    consent: Consent | None = None,
    blank: bool = False,
    report: Report = ignore,
) -> MachineSpec:
    """Make machine `name` if it does not exist, and install what the host needs to start it. Raises as `up`.

    A `blank` trial machine has an empty disk for an installation.
    """
    spec = workspace.spec(name, flags)
    paths = workspace.paths(name)
    foresight.look(workspace, spec, flags)
    needs.provide(spec, made=paths.record.exists(), consent=consent, report=report)
    if not state.observe(paths).alive:
        setup.ready_kernel(workspace, spec, consent=consent, report=report)
    making.make(workspace, spec, offline=offline, blank=blank, report=report)
    return spec
