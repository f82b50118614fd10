"""What `up` would refuse and warn of, found out before anything is done. Band: app.

`up` and `up --dry-run` both ask here, so that they never disagree, and a fault is told before a download and not after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pommel import writable
from pommel.app import commandline, making, needs, network_checks, overlay, upstreams
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.machine import permission, state
from pommel.machine.spec import MachineSpec
from pommel.overlay import laying, patches


def look(workspace: Workspace, spec: MachineSpec, flags: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Say what to know before machine `spec.name` starts; nothing for one that runs.

    What is not there yet (packages, the upstream's checkout) is not looked into: it is got first.

    Raises:
        PommelError: whatever `up` would raise for the machine as it is now.
    """
    paths = workspace.paths(spec.name)
    if state.observe(paths).alive:
        return ()
    writable.must_take(workspace.home.root)
    if paths.record.exists():
        permission.must_allow(paths, permission.STARTED)
    lacks = needs.plan(spec, made=paths.record.exists()) is not None
    if spec.upstream == OSX_KVM:
        if not (workspace.upstream_folder(spec) / ".git").is_dir():
            making.refuse(workspace, spec)
            return ()
        if _to_lay(workspace, spec):  # what it boots is known once patches and files are on it
            return ()
    if lacks or (spec.upstream == TRIAL and not paths.record.exists()):
        return ()
    if not paths.record.exists():
        making.refuse(workspace, spec)
    planned = commandline.command_line(workspace, spec.name, flags, starting=True)
    network_checks.refuse(planned.overlaid.command_line)
    return planned.warnings


def lay_steps(workspace: Workspace, spec: MachineSpec) -> list[tuple[str, str, bool]]:
    """The patches and files that `up` would lay over the upstream's checkout: what, in which state, whether to do."""
    if spec.upstream != OSX_KVM or not (workspace.upstream_folder(spec) / ".git").is_dir():
        return []
    standing = overlay.status(workspace, name=spec.name)
    found = []
    if not standing.upstream.at_pin:
        found.append((f"check out {standing.upstream.pinned[:12]}", f"{standing.upstream.commit} is checked out", True))
    for patch in standing.overlay.patches if standing.overlay else ():
        to_do = patch.state is not patches.State.APPLIED or patch.outdated or patch.dropped
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
