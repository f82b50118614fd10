"""`up`: from whatever is there to a running machine whose screen lives. Band: app.

Each part is looked at first and done only when it is missing, so that calling it again is safe and quick.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.app import clip, foresight, machines, making, mesh, needs, setup, starting
from pommel.app.consent import Consent
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, MachineError, StateError
from pommel.machine import logs, state
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

SCREEN_TIMEOUT_S = 120.0
SSH_TIMEOUT_S = 300.0


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


def plan(name: str, *, workspace: Workspace | None = None, flags: Mapping[str, Any] | None = None) -> Plan:
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
    report: Report = ignore,
) -> machines.Status:
    """Make machine `name` if it is not there, start it if it is not running, and wait until its screen lives.

    `offline` is a recovery image at hand. `consent` is asked before the host is changed (packages, kernel modules);
    without it, as root it is, else nothing is done.

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
            starting.start(name, workspace=workspace, flags=flags, report=report)
        except StateError:
            if not state.observe(paths).alive:  # else another `up` was quicker, which is as good
                raise
    wait_screen(paths, report=report)
    return machines.status(name, workspace=workspace)


def wait_screen(paths: MachinePaths, *, timeout_s: float = SCREEN_TIMEOUT_S, report: Report = ignore) -> None:
    """Wait until machine `paths.name`'s screen shows more than one colour.

    Raises:
        MachineError: QEMU died meanwhile.
        DeadlineError: it stayed blank.
    """
    step = "waiting for the screen"
    report(Progress(step))
    try:
        asyncio.run(_await_screen(paths, timeout_s, lambda waited: report(Progress(step, done=waited, unit="s"))))
    except (MachineError, StateError) as failure:
        if state.observe(paths).alive:
            raise
        raise MachineError(f"{paths.name} ended while it booted:\n{logs.tail(paths, 10)}") from failure
    report(Progress(step, finished=True))


async def _await_screen(paths: MachinePaths, timeout_s: float, tick: Callable[[float], None]) -> None:
    from pommel.screen.endpoint import Endpoint
    from pommel.screen.sources.vnc import connect_vnc

    async def show_time() -> None:
        began = time.monotonic()
        while True:
            tick(time.monotonic() - began)
            await asyncio.sleep(0.25)

    connection = await connect_vnc(paths.vnc)
    endpoint = Endpoint(connection.source, connection.sink)
    others = [asyncio.ensure_future(endpoint.run()), asyncio.ensure_future(show_time())]
    try:
        await endpoint.wait_live(timeout_s)
    finally:
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await connection.close()


def wait_ssh(
    name: str, *, workspace: Workspace | None = None, timeout_s: float = SSH_TIMEOUT_S, report: Report = ignore
) -> None:
    """Wait until the guest of machine `name` answers SSH.

    Raises:
        DeadlineError: it did not in time.
        StateError: the machine is not running.
    """
    from pommel.app.guest import ssh_answers

    workspace = workspace or Workspace.current()
    step, began = "waiting for SSH", time.monotonic()
    while (waited := time.monotonic() - began) < timeout_s:
        report(Progress(step, done=waited, unit="s"))
        if ssh_answers(workspace, name):
            report(Progress(step, finished=True))
            return
        time.sleep(0.5)
    raise DeadlineError(f"{name} did not answer SSH in {timeout_s:g} s", hint=f"look at it: pommel console {name}")
