"""Sharing a folder with a machine, and taking it back: at once if it runs, and at each start. Band: app.

What is kept comes first here: it is what the guest's connections are served by. A killed command leaves a folder that
is shared and not yet mounted, or one that is taken back on this side and not yet in the guest; the same again ends it.
By 9p a folder comes with the next start. One that is taken back is unmounted at once, and QEMU has it until it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.app import share_folder, share_mounting, sharing
from pommel.app.sharing import Asked, Shares
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

_LOCK_WAIT_S = 30.0  # for a start or a stop to finish
_UNMOUNT_S = 60.0  # each of what a guest is asked
_NETWORKS = (None, "user", "upstream")
_OF_MACS = (
    "a Mac mounts no folder by 9p itself: sudo mount_9p {share} there; the Finder copies nothing into it, and it may "
    "keep the Mac from shutting down"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a `share` or an `unshare` would do."""

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
) -> Shares | Plan:
    """Share `folder` with machine `name`, now if it runs and at each start; under a name it has, in place of that one.

    By "9p" a machine that runs gets it with its next start.

    Raises:
        UsageError: it has no name that the guest could see, or the settings have that name.
        StateError: the machine has not been made, or there is no such folder; or, by 9p, it sleeps.
        NotPermitted: the folder is not to be shared.
        MachineError: by 9p, the folder takes no mark; or the disk is full.
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
        there = sharing.asked(workspace, spec)
        same = next((each for each in there.shares if each.key == wanted.key), None)
        _must_be_free(name, wanted, same, there)
        if wanted not in there.shares:
            _must_not_sleep(workspace, name, wanted, same)
        if dry_run:
            at = sharing.folder_in_guest(spec, wanted)
            return Plan(name, wanted.name, str(real), at, by, read_only, tuple(_steps(workspace, spec, wanted, same)))
        if by == NINE_P and not read_only:
            sharing.mark(str(real))  # before anything is kept: without the mark it is not shared
        if wanted not in there.shares:
            _keep(paths, wanted, same, real)
        sharing.serve(workspace, spec)
        if same not in (None, wanted):  # what was served under the name so far is served no more
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
) -> Shares | Plan:
    """Take back what machine `name` has as `called`: no connection of its guest gets it from now on.

    What a running QEMU serves by 9p is unmounted in the guest, which could mount it again until QEMU ends.

    Raises:
        UsageError: it stands in the settings.
        StateError: the machine has none such; or, by 9p, it sleeps.
    """
    workspace = workspace or Workspace.current()
    paths, spec = workspace.made(name), workspace.spec(name)
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        there = sharing.asked(workspace, spec)
        each = next((each for each in there.shares if each.key == called.casefold()), None)
        if each is None:
            known = ", ".join(other.name for other in there.shares) or "none"
            raise StateError(f"{name} has no share {called}", hint=f"it has {known}: pommel share {name}")
        if there.origins[each] == sharing.SETTINGS:
            hint = sharing.give_up(name, sharing.SETTINGS, each)
            raise UsageError(f"share {each.name} stands in the settings of {name}", hint=hint)
        _must_not_sleep(workspace, name, each)
        nine = each in sharing.in_qemu(workspace, spec)
        if dry_run:
            at = sharing.folder_in_guest(spec, each)
            ends = f"have {name} without it from its next start on" if nine else "end its guest's connections to it"
            steps = (f"take {each.name} back from {name}", ends, f"unmount {at} there")
            return Plan(name, each.name, str(workspace.beside(name, each.folder)), at, each.by, each.read_only, steps)
        shares_added.save(paths, [other for other in shares_added.load(paths) if other != each])
        sharing.serve(workspace, spec)
        note_event(paths, "unshared", each.name)
    if nine:
        warn(
            report,
            f"QEMU serves {each.name} by 9p for as long as it runs: its guest could mount it again; "
            f"pommel restart {name}",
        )
    try:  # the guest's own end first, since without a server its kernel waits long; but not for a guest that dawdles
        _bring(workspace, name, report, within_s=_UNMOUNT_S)
    finally:
        share_connections.end(paths)
    return sharing.listed(name, workspace=workspace)


def refuse_network(spec: MachineSpec) -> None:
    """See that the machine's network can have a file server.

    Raises:
        StateError: it cannot.
    """
    if spec.network not in _NETWORKS:
        raise StateError(
            f"sharing folders takes QEMU's own user-mode network, and {spec.name} has network = {spec.network}",
            hint='set network = "user", and restart it; or copy by pommel scp',
        )


def _must_be_free(name: str, wanted: Share, same: Share | None, there: Asked) -> None:
    """See that no other folder has that name by the settings.

    Raises:
        UsageError: one has.
    """
    if same is not None and there.origins[same] == sharing.SETTINGS and same != wanted:
        raise UsageError(
            f"the settings of {name} share {same.folder} as {same.name}",
            hint=f"take another name: --as {wanted.name}-2; or {sharing.give_up(name, sharing.SETTINGS, same)}",
        )


def _keep(paths: MachinePaths, wanted: Share, same: Share | None, real: Path) -> None:
    """Keep a share, in place of what had its name."""
    shares_added.save(paths, [*(each for each in shares_added.load(paths) if each != same), wanted])
    how = (" by 9p" if wanted.by == NINE_P else "") + (" read-only" if wanted.read_only else "")
    note_event(paths, "shared", f"{real} as {wanted.name}{how}")


def _must_not_sleep(workspace: Workspace, name: str, *concerned: Share | None) -> None:
    """See that a folder by 9p does not come or go while the machine's memory on disk knows its devices."""
    if any(each is not None and each.by == NINE_P for each in concerned) and sleeps(workspace.paths(name)):
        raise StateError(
            f"{name} sleeps, and would wake up with other devices than it had: a folder by 9p is one",
            hint=f"pommel start {name}; then the same again, and pommel restart {name}",
        )


def _named(folder: str, called: str | None, read_only: bool, by: str) -> Share:
    """The share that was asked for on a command line, whose folder is relative to where that was typed."""
    written = folder if folder.startswith(("/", "~")) else str(here() / folder)
    try:
        return new_share(written.rstrip("/") or "/", called, read_only=read_only, by=by)
    except ValueError as wanted:
        raise UsageError(f"a share must be {wanted}", hint="--as NAME gives it another name") from None


def _steps(workspace: Workspace, spec: MachineSpec, wanted: Share, same: Share | None) -> list[str]:
    name = spec.name
    alive = state.observe(workspace.paths(name)).alive
    how = "for reading only" if wanted.read_only else "for reading and writing"
    how += ", by 9p" if wanted.by == NINE_P else ""
    steps = [f"keep that {name} has it as {wanted.name}, {how}"]
    if same not in (None, wanted):
        steps.append(f"end connections to what it has under that name so far: {same}")
    if not alive:
        return [*steps, f"mount it when {name} is started next"]
    if wanted.by == NINE_P and wanted not in sharing.in_qemu(workspace, spec):
        return [*steps, f"nothing more now: QEMU takes it with its next start (pommel restart {name})"]
    if wanted.by == NINE_P or sharing.way_of(workspace.paths(name)):
        return [*steps, "have its guest mount it now, over SSH, and at each start of its own"]
    return [*steps, f"nothing more now: {name} was started without a file server (pommel restart {name})"]


def _bring(workspace: Workspace, name: str, report: Report, *, within_s: float | None = None) -> None:
    """Have a running guest come to what is shared now; of one that cannot yet, say when it will."""
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        return
    asked, there = sharing.asked(workspace, spec := workspace.spec(name)).shares, sharing.in_qemu(workspace, spec)
    for each in asked:
        if each.by == NINE_P and each not in there:
            note(report, f"{name} has {each.name} by 9p from its next start on: pommel restart {name}")
    if not sharing.way_of(paths) and any(each.by == SMB for each in asked):
        note(report, f"{name} was started without a file server for its guest: pommel restart {name}")
    if sharing.has_way(paths):
        share_mounting.try_mount(workspace, name, report, within_s=within_s)
