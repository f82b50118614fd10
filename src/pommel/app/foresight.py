"""What `up` would refuse and warn of, found out before anything is done. Band: app.

`up` and `up --dry-run` both ask here, so that they never disagree, and a fault is told before a download and not after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pommel import writable
from pommel.app import commandline, device_checks, encryption, forwards, making, needs, overlay, upstreams
from pommel.app.commandline import Disks
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import MissingProgram, UpstreamError
from pommel.machine import permission, state
from pommel.machine.folder import refuse_lost
from pommel.machine.spec import MachineSpec
from pommel.overlay import laying, patches


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What to know before a machine starts, and its disks; nothing of one that runs, or lacks what it needs."""

    warnings: tuple[str, ...] = ()
    disks: Disks | None = None


def look(workspace: Workspace, spec: MachineSpec, flags: Mapping[str, Any] | None) -> Foreseen:
    """See that machine `spec.name` can be made and started, and say what to know of it.

    What is not there yet (packages, the upstream's checkout) is got first, so what depends on it is not looked into.
    The boot script is run once.

    Raises:
        PommelError: whatever `up` would raise for the machine as it is now.
    """
    paths = workspace.paths(spec.name)
    refuse_lost(spec.name, paths.directory)
    if state.observe(paths).alive:
        return Foreseen()
    writable.must_take(workspace.home.root)
    made = paths.record.exists()
    if made:
        permission.must_allow(paths, permission.STARTED)
    else:
        encryption.refuse_new(workspace, spec)
    if spec.upstream == OSX_KVM:
        if not (workspace.upstream_folder(spec) / ".git").is_dir():
            making.refuse(workspace, spec)
            return Foreseen()
        if _to_lay(workspace, spec):  # what it boots is known once patches and files are on it
            return Foreseen()
    if spec.upstream == TRIAL and not made:
        return Foreseen()
    if needs.plan(spec, made=made) is not None:
        if not made:  # what a script says while QEMU is missing may be otherwise afterwards; its disk is not
            with contextlib.suppress(UpstreamError, MissingProgram):
                making.refuse(workspace, spec)
        return Foreseen()
    planned = commandline.command_line(workspace, spec.name, flags, starting=True)
    if not made:
        making.refuse(workspace, spec, planned.disks)
    device_checks.refuse(planned.overlaid.command_line, planned.qemu, workspace.home.cache)
    forwards.refuse(workspace, spec, planned, allotted=planned.ssh_port)
    return Foreseen(planned.warnings, planned.disks)


def lay_steps(workspace: Workspace, spec: MachineSpec) -> list[tuple[str, str, bool]]:
    """The patches and files that `up` would lay over the upstream's checkout: what, in which state, whether to do."""
    if spec.upstream != OSX_KVM or not (workspace.upstream_folder(spec) / ".git").is_dir():
        return []
    standing = overlay.status(workspace, name=spec.name)
    found = []
    if not standing.upstream.at_pin:
        found.append((f"check out {standing.upstream.pinned[:12]}", f"{standing.upstream.commit} is checked out", True))
    for patch in standing.overlay.patches if standing.overlay else ():
        to_do = patch.state is not patches.PatchStanding.APPLIED or patch.outdated or patch.dropped
        found.append((f"apply patches/{patch.name}", patch.state.value, to_do))
    for file in standing.overlay.files if standing.overlay else ():
        found.append((f"place files/{file.name}", file.state.value, file.state.value != "placed"))
    return found


def _to_lay(workspace: Workspace, spec: MachineSpec) -> bool:
    """Whether something is to be laid over the checkout first.

    Raises:
        UpstreamError, StateError: a patch conflicts with the upstream, or with an edit in the checkout.
    """
    wanted = upstreams.overlay_of(workspace, workspace.file_of(spec.name))
    state_now = laying.status(workspace.upstream_folder(spec), wanted)
    if not any(each.outdated or each.dropped for each in state_now.patches):  # else these come off first
        patches.refuse_conflicts(workspace.upstream_folder(spec), state_now.patches)
    return any(needed for _, _, needed in lay_steps(workspace, spec))
