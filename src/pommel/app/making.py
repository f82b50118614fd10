"""Making a machine that is not there yet. Band: app.

Built aside and renamed into place with its record in it: a machine exists whole or not at all.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import replace

from pommel import locks
from pommel.app.commandline import new_record
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import StateError
from pommel.machine import identity, ports, record
from pommel.machine.spec import MachineSpec
from pommel.paths import build_aside, sweep_aside
from pommel.progress import Report
from pommel.settings import format_size
from pommel.trial import base, provision, upstream

BUSY_WAIT_S = 900.0  # a build may be under way; whoever waits gets its result


def steps(workspace: Workspace, spec: MachineSpec) -> list[tuple[str, str, bool]]:
    """What `make` would do: what, why, and whether it is still to do."""
    paths = workspace.paths(spec.name)
    made = paths.record.exists()
    found = []
    if spec.upstream == TRIAL:
        built = base.is_built(workspace.home.trial)
        found.append(("build the trial machine's base image", "from Debian's packages; once", not built and not made))
    found.append(
        (
            f"make {spec.name} with a disk of {format_size(spec.disk_bytes)}",
            str(workspace.paths(spec.name).directory),
            not made,
        )
    )
    return found


def make(workspace: Workspace, spec: MachineSpec, *, report: Report) -> bool:
    """Make machine `spec.name` unless it is there; say whether it was made.

    Raises:
        StateError: its upstream is not one that machines can be made from yet.
        BuildError, NotPermitted: the trial machine's base cannot be built here.
        BusyError: another process has been making it for a quarter of an hour.
    """
    paths = workspace.paths(spec.name)
    if spec.upstream != TRIAL:
        if paths.record.exists():
            return False
        raise StateError(
            f"{spec.name} has the upstream {spec.upstream}, and this version makes only trial machines",
            hint='set upstream = "trial"; `pommel argv` shows the command line of any upstream',
        )
    if paths.record.exists() and workspace.home.upstream(TRIAL).is_dir():
        return False  # its disk is its own: it needs no base any more
    image = base.build_base(workspace.home.trial, report=report)
    upstream.materialise(workspace.home.upstream(TRIAL), image)
    with locks.hold(paths.lock, busy=f"another pommel is at work on {spec.name}", wait_s=BUSY_WAIT_S):
        if paths.record.exists():
            return False
        sweep_aside(paths.directory)
        with build_aside(paths.directory) as aside:
            provision.provision(aside, image, name=spec.name, disk_bytes=spec.disk_bytes, report=report)
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            made = new_record(spec, os.urandom(identity.RANDOM_BYTES), created=now, base=image.directory.name)
            ports.allot_port(
                workspace.home,
                spec.name,
                wanted=spec.ssh_port,
                keep=lambda port: record.save(aside / paths.record.name, replace(made, ssh_port=port)),
                report=report,
            )
    return True
