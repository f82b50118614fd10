"""Find the errors and warnings of `up` before anything is done. Band: app.

Both `up` and `up --dry-run` use this, so that they always agree, and an error is reported before a download, not after
it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pommel import writable
from pommel.app.argv import commandline, device_checks
from pommel.app.argv.commandline import MachineDisks
from pommel.app.disk import encryption
from pommel.app.host import needs
from pommel.app.machine import making
from pommel.app.network import forwards
from pommel.app.upstream import overlay, upstreams
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import MissingProgram, UpstreamError
from pommel.machine import permission, state
from pommel.machine.folder import refuse_lost
from pommel.machine.spec import MachineSpec
from pommel.overlay import laying, patches


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The warnings and the disks of a machine before its start.

    Empty for a running machine, or if parts are missing.
    """

    warnings: tuple[str, ...] = ()
    disks: MachineDisks | None = None


def look(workspace: Workspace, spec: MachineSpec, flags: Mapping[str, Any] | None) -> Foreseen:
    """Check that machine `spec.name` can be made and started; return its warnings and disks.

    If packages or the upstream's checkout are missing, `up` gets them first; so the checks that need them are left out.
    The boot script is run once.

    Raises:
        PommelError: the error that `up` would raise now.
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
        if _to_lay(workspace, spec):  # patches and files may change the boot script, so it is read after them
            return Foreseen()
    if spec.upstream == TRIAL and not made:
        return Foreseen()
    if needs.plan(spec, made=made) is not None:
        if not made:  # without QEMU a script may behave differently, but the disk that it names stays the same
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
    """The patches and files that `up` would apply to the checkout: action, state, and whether it is to be done."""
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
    """Whether patches or files must be applied to the checkout first.

    Raises:
        UpstreamError, StateError: a patch conflicts with the upstream, or with an edit in the checkout.
    """
    wanted = upstreams.overlay_of(workspace, workspace.file_of(spec.name))
    state_now = laying.status(workspace.upstream_folder(spec), wanted)
    # Outdated and dropped patches are removed first, which may end a conflict: so it is not refused here.
    if not any(each.outdated or each.dropped for each in state_now.patches):
        patches.refuse_conflicts(workspace.upstream_folder(spec), state_now.patches)
    return any(needed for _, _, needed in lay_steps(workspace, spec))
