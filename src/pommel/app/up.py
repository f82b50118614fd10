"""`up`: from whatever is there to a running machine whose screen lives. Band: app.

Each part is looked at first and done only when it is missing, so that calling it again is safe and quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.app import clip, foresight, machines, making, mesh, needs, power, setup
from pommel.app.consent import Consent
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.machine import state
from pommel.progress import Report, ignore


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that `up` would do, for --dry-run."""

    what: str
    why: tuple[str, ...]
    needed: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` would do, in order, and what to know of it."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()


_AWAITED = {"screen": "its screen", "ssh": "SSH", "desktop": "its desktop, or its installer"}


def plan(
    name: str,
    *,
    workspace: Workspace | None = None,
    flags: Mapping[str, Any] | None = None,
    until: str = "desktop",
) -> Plan:
    """What `up` would do now for machine `name`, without doing any of it.

    Raises:
        PommelError: what `up` would raise, as far as that can be known before it begins.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name, flags)
    paths = workspace.paths(name)
    packages = needs.plan(spec, made=paths.record.exists())
    alive = state.observe(paths).alive
    seen = foresight.look(workspace, spec, flags)
    steps = [
        Step(
            f"install packages: {packages.as_text}" if packages else "install packages",
            packages.reasons if packages else ("all there",),
            packages is not None,
        ),
        *(Step(what, (why,), needed) for what, why, needed in foresight.lay_steps(workspace, spec)),
        *(Step(what, (why,), needed) for what, why, needed in making.steps(workspace, spec, seen.disks)),
        Step(f"start {name}", ("it is running" if alive else "it is stopped",), not alive),
        Step(f"wait until {name} has {_AWAITED[until]}", ("so that the first keys go there",), True),
        Step(f"serve the console of {name} on 127.0.0.1", ("its screen, keyboard and mouse on a page",), True),
    ]
    if not alive and (modules := setup.kernel_step(workspace, spec)) is not None:
        steps.insert(1, Step(*modules))
    return Plan(tuple(steps), seen.warnings)


def steps(name: str, *, workspace: Workspace | None = None, flags: Mapping[str, Any] | None = None) -> list[Step]:
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
    """Make machine `name` if it is not there, start it if it is not running, and wait for its desktop or installer.

    `offline` is a recovery image at hand. `consent` is asked before the host is changed (packages, kernel modules);
    without it, as root it is, else nothing is done. `until` is what is waited for, "screen", "ssh" or "desktop"; what
    does not come in time is a warning, since the machine runs. None: nothing is waited for.

    Raises:
        NotPermitted: packages are missing and may not be installed; the hint is the command to type.
        UpstreamError, RecoveryError, BuildError, MachineError, DeadlineError: making or starting it failed.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name, flags)
    paths = workspace.paths(name)
    foresight.look(workspace, spec, flags)
    needs.provide(spec, made=paths.record.exists(), consent=consent, report=report)
    if not state.observe(paths).alive:
        setup.ready_kernel(workspace, spec, consent=consent, report=report)
    making.make(workspace, spec, offline=offline, report=report)
    if state.observe(paths).alive:
        if spec.clipboard:
            clip.begin_with(workspace, spec, report=report)
        mesh.begin_with(workspace, name, report=report)
    else:
        try:
            power.start(name, workspace=workspace, flags=flags, report=report)
        except StateError:
            if not state.observe(paths).alive:  # else another `up` was quicker, which is as good
                raise
    if until is not None:
        from pommel.app import waiting

        waiting.try_wait(name, until, workspace=workspace, report=report)
    return machines.status(name, workspace=workspace)
