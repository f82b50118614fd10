"""Share a folder with a machine, or stop sharing it: at once if it runs, and at each start. Band: app.

The list of shares is written first, because the file server reads it at each connection. A killed command may leave a
folder that is shared but not mounted, or not shared any more but still mounted; the same command again finishes it.

With 9p, a new folder needs the next start. A removed one is unmounted at once, but QEMU serves it until it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.app.share import folder as share_folder
from pommel.app.share import mounting, sharing
from pommel.app.share.sharing import RequestedShares, Shares
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.host import samba
from pommel.machine import share_connections, shares_added, state
from pommel.machine.events import note_event
from pommel.machine.exclusive import serialised
from pommel.machine.permission import sleeps
from pommel.machine.shares import NINE_P, SMB, Share, new_share
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths, here
from pommel.progress import Report, ignore, note, warn

_LOCK_WAIT_S = 30.0  # enough for a running start or stop to finish
_UNMOUNT_S = 60.0  # for each command in the guest
_NETWORKS = (None, "user", "upstream")
_OF_MACS = (
    "a Mac mounts no folder by 9p itself: sudo mount_9p {share} there; the Finder copies nothing into it, and it may "
    "keep the Mac from shutting down"
)


@dataclass(frozen=True, slots=True)
class SharePlan:
    """The plan of a `share` or an `unshare`."""

    name: str
    share: str
    host_folder: str
    guest_folder: str
    by: str
    read_only: bool
    would: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan as one JSON object."""
        return {
            "name": self.name, "share": self.share, "host_folder": self.host_folder,
            "guest_folder": self.guest_folder, "by": self.by, "read_only": self.read_only, "would": list(self.would),
        }  # fmt: skip


def share(
    name: str,
    folder: str,
    *,
    called: str | None = None,
    read_only: bool = False,
    by: str = SMB,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Shares | SharePlan:
    """Share `folder` with machine `name`: now if it runs, and at each start. It replaces a share of the same name.

    With `by` "9p", a running machine gets it at its next start.

    Raises:
        UsageError: the name is not possible in the guest, or the settings use it.
        StateError: the machine has not been made, or there is no such folder; or, with 9p, it sleeps.
        NotPermitted: the folder must not be shared.
        MachineError: with 9p: the folder cannot be marked; or the disk is full.
        MissingProgram: Samba is not installed; the hint installs it.
    """
    workspace = workspace or Workspace.current()
    paths, spec = workspace.made(name), workspace.spec(name)
    wanted = _named(folder, called, read_only, by)
    if by == SMB:
        refuse_network(spec)
    real = share_folder.had(workspace, spec, wanted)
    if by == SMB:
        samba.find()
    if by == NINE_P and spec.macos is not None:
        warn(report, _OF_MACS.format(share=wanted.name))
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        there = sharing.requested(workspace, spec)
        same = next((each for each in there.shares if each.key == wanted.key), None)
        _must_be_free(name, wanted, same, there)
        if wanted not in there.shares:
            _must_not_sleep(workspace, name, wanted, same)
        if dry_run:
            at, steps = sharing.folder_in_guest(spec, wanted), _steps(workspace, spec, wanted, same)
            return SharePlan(name, wanted.name, str(real), at, by, read_only, tuple(steps))
        if by == NINE_P and not read_only:
            sharing.mark(str(real))  # first: a folder without the mark must not be shared
        if wanted not in there.shares:
            _keep(paths, wanted, same, real)
        sharing.serve(workspace, spec)
        if same not in (None, wanted):  # open connections still serve the old folder of this name
            share_connections.end(paths)
    _bring(workspace, name, report)
    return sharing.listed(name, workspace=workspace)


def unshare(
    name: str,
    called: str,
    *,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Shares | SharePlan:
    """Stop sharing `called` with machine `name`: new connections of its guest do not get it any more.

    A folder by 9p is unmounted in the guest, which could mount it again until QEMU ends.

    Raises:
        UsageError: it is in the settings.
        StateError: the machine has no such share; or, with 9p, it sleeps.
    """
    workspace = workspace or Workspace.current()
    paths, spec = workspace.made(name), workspace.spec(name)
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        there = sharing.requested(workspace, spec)
        each = next((each for each in there.shares if each.key == called.casefold()), None)
        if each is None:
            known = ", ".join(other.name for other in there.shares) or "none"
            raise StateError(f"{name} has no share {called}", hint=f"it has {known}: pommel share {name}")
        if there.origins[each] == sharing.SETTINGS:
            hint = sharing.give_up(name, sharing.SETTINGS, each)
            raise UsageError(f"share {each.name} is in the settings of {name}", hint=hint)
        _must_not_sleep(workspace, name, each)
        nine = each in sharing.in_qemu(workspace, spec)
        if dry_run:
            at = sharing.folder_in_guest(spec, each)
            ends = f"start {name} without it from the next start on" if nine else "end its guest's connections to it"
            steps = (f"stop sharing {each.name} with {name}", ends, f"unmount {at} there")
            return SharePlan(
                name, each.name, str(workspace.beside(name, each.folder)), at, each.by, each.read_only, steps
            )
        shares_added.save(paths, [other for other in shares_added.load(paths) if other != each])
        sharing.serve(workspace, spec)
        note_event(paths, "unshared", each.name)
    if nine:
        warn(
            report,
            f"QEMU serves {each.name} by 9p until it ends: its guest could mount it again; pommel restart {name}",
        )
    # The guest unmounts first (within _UNMOUNT_S), because its kernel would wait long for a server that is gone.
    try:
        _bring(workspace, name, report, within_s=_UNMOUNT_S)
    finally:
        share_connections.end(paths)
    return sharing.listed(name, workspace=workspace)


def refuse_network(spec: MachineSpec) -> None:
    """Refuse a machine whose network cannot have a file server.

    Raises:
        StateError: it has another network than QEMU's user-mode network.
    """
    if spec.network not in _NETWORKS:
        raise StateError(
            f"shared folders need QEMU's user-mode network, and {spec.name} has network = {spec.network}",
            hint='set network = "user", and restart it; or copy files with pommel scp',
        )


def _must_be_free(name: str, wanted: Share, same: Share | None, there: RequestedShares) -> None:
    """Refuse a name that another folder has in the settings.

    Raises:
        UsageError: another folder has it.
    """
    if same is not None and there.origins[same] == sharing.SETTINGS and same != wanted:
        raise UsageError(
            f"the settings of {name} share {same.folder} as {same.name}",
            hint=f"choose another name: --as {wanted.name}-2; or {sharing.give_up(name, sharing.SETTINGS, same)}",
        )


def _keep(paths: MachinePaths, wanted: Share, same: Share | None, real: Path) -> None:
    """Store a share, in place of another one with its name."""
    shares_added.save(paths, [*(each for each in shares_added.load(paths) if each != same), wanted])
    how = (" by 9p" if wanted.by == NINE_P else "") + (" read-only" if wanted.read_only else "")
    note_event(paths, "shared", f"{real} as {wanted.name}{how}")


def _must_not_sleep(workspace: Workspace, name: str, *concerned: Share | None) -> None:
    """Refuse changes of folders by 9p while the machine sleeps: its saved memory needs the same devices."""
    if any(each is not None and each.by == NINE_P for each in concerned) and sleeps(workspace.paths(name)):
        raise StateError(
            f"{name} sleeps, and would wake up with other devices, because a folder by 9p is a device",
            hint=f"pommel start {name}; then run this command again, and pommel restart {name}",
        )


def _named(folder: str, called: str | None, read_only: bool, by: str) -> Share:
    """The share from a command line. A relative folder is relative to the current folder."""
    written = folder if folder.startswith(("/", "~")) else str(here() / folder)
    try:
        return new_share(written.rstrip("/") or "/", called, read_only=read_only, by=by)
    except ValueError as wanted:
        raise UsageError(f"a share must be {wanted}", hint="to give it another name: --as NAME") from None


def _steps(workspace: Workspace, spec: MachineSpec, wanted: Share, same: Share | None) -> list[str]:
    name = spec.name
    alive = state.observe(workspace.paths(name)).alive
    how = "read-only" if wanted.read_only else "for reading and writing"
    how += ", by 9p" if wanted.by == NINE_P else ""
    steps = [f"store the share {wanted.name} of {name}, {how}"]
    if same not in (None, wanted):
        steps.append(f"end the connections to the old share of that name: {same}")
    if not alive:
        return [*steps, f"mount it at the next start of {name}"]
    if wanted.by == NINE_P and wanted not in sharing.in_qemu(workspace, spec):
        return [*steps, f"nothing more now: QEMU has it from its next start (pommel restart {name})"]
    if wanted.by == NINE_P or sharing.way_of(workspace.paths(name)):
        return [*steps, "mount it in the guest now, over SSH, and at each start"]
    return [*steps, f"nothing more now: {name} was started without a file server (pommel restart {name})"]


def _bring(workspace: Workspace, name: str, report: Report, *, within_s: float | None = None) -> None:
    """Update the mounts in a running guest; note which shares need the next start."""
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        return
    asked, there = sharing.requested(workspace, spec := workspace.spec(name)).shares, sharing.in_qemu(workspace, spec)
    for each in asked:
        if each.by == NINE_P and each not in there:
            note(report, f"{name} has {each.name} by 9p from its next start on: pommel restart {name}")
    if not sharing.way_of(paths) and any(each.by == SMB for each in asked):
        note(report, f"{name} was started without a file server for its guest: pommel restart {name}")
    if sharing.has_way(paths):
        mounting.try_mount(workspace, name, report, within_s=within_s)
