"""Sharing a folder with a machine, and taking it back: at once if it runs, and at each start. Band: app.

What is kept comes first here: it is what the guest's connections are served by. A killed command leaves a folder that
is shared and not yet mounted, or one that is taken back on this side and not yet in the guest; the same again ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pommel.app import share_folder, share_mounting, sharing
from pommel.app.sharing import Shares
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.host import samba
from pommel.machine import share_connections, shares_added, state
from pommel.machine.events import note_event
from pommel.machine.exclusive import serialised
from pommel.machine.shares import Share, new_share
from pommel.machine.spec import MachineSpec
from pommel.paths import here
from pommel.progress import Report, ignore, note

_LOCK_WAIT_S = 30.0  # for a start or a stop to finish
_UNMOUNT_S = 60.0  # each of what a guest is asked
_NETWORKS = (None, "user", "upstream")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a `share` or an `unshare` would do."""

    name: str
    share: str
    host_folder: str
    guest_folder: str
    read_only: bool
    would: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan as one JSON object."""
        return {
            "name": self.name, "share": self.share, "host_folder": self.host_folder,
            "guest_folder": self.guest_folder, "read_only": self.read_only, "would": list(self.would),
        }  # fmt: skip


def share(
    name: str,
    folder: str,
    *,
    called: str | None = None,
    read_only: bool = False,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Shares | Plan:
    """Share `folder` with machine `name`, now if it runs and at each start; under a name it has, in place of that one.

    Raises:
        UsageError: it has no name that the guest could see, or the settings have that name.
        StateError: the machine has not been made, or there is no such folder.
        NotPermitted: the folder is not to be shared.
        MissingProgram: Samba is not installed; the hint installs it.
    """
    workspace = workspace or Workspace.current()
    paths, spec = workspace.made(name), workspace.spec(name)
    refuse_network(spec)
    wanted = _named(folder, called, read_only)
    real = share_folder.checked(workspace, spec, wanted.folder, read_only=read_only)
    if spec.network in _NETWORKS:
        samba.find()
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        there = sharing.asked(workspace, spec)
        same = next((each for each in there.shares if each.key == wanted.key), None)
        if same is not None and there.origins[same] == sharing.SETTINGS and same != wanted:
            raise UsageError(
                f"the settings of {name} share {same.folder} as {same.name}",
                hint=f"take another name: --as {wanted.name}-2; or {sharing.give_up(name, sharing.SETTINGS, same)}",
            )
        if dry_run:
            at = f"{sharing.folder_in_guest(spec)}/{wanted.name}"
            return Plan(name, wanted.name, str(real), at, read_only, tuple(_steps(workspace, name, wanted, same)))
        kept = shares_added.load(paths)
        if wanted not in there.shares:
            shares_added.save(paths, [*(each for each in kept if each != same), wanted])
            note_event(paths, "shared", f"{real} as {wanted.name}" + (" read-only" if read_only else ""))
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

    Raises:
        UsageError: it stands in the settings.
        StateError: the machine has none such.
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
        if dry_run:
            at = f"{sharing.folder_in_guest(spec)}/{each.name}"
            steps = (f"take {each.name} back from {name}", "end its guest's connections to it", f"unmount {at} there")
            return Plan(name, each.name, str(workspace.beside(name, each.folder)), at, each.read_only, steps)
        shares_added.save(paths, [other for other in shares_added.load(paths) if other != each])
        sharing.serve(workspace, spec)
        note_event(paths, "unshared", each.name)
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


def _named(folder: str, called: str | None, read_only: bool) -> Share:
    """The share that was asked for on a command line, whose folder is relative to where that was typed."""
    written = folder if folder.startswith(("/", "~")) else str(here() / folder)
    try:
        return new_share(written.rstrip("/") or "/", called, read_only=read_only)
    except ValueError as wanted:
        raise UsageError(f"a share must be {wanted}", hint="--as NAME gives it another name") from None


def _steps(workspace: Workspace, name: str, wanted: Share, same: Share | None) -> list[str]:
    alive = state.observe(workspace.paths(name)).alive
    how = "for reading only" if wanted.read_only else "for reading and writing"
    steps = [f"keep that {name} has it as {wanted.name}, {how}"]
    if same not in (None, wanted):
        steps.append(f"end connections to what it has under that name so far: {same}")
    if not alive:
        return [*steps, f"mount it when {name} is started next"]
    if sharing.way_of(workspace.paths(name)):
        return [*steps, "have its guest mount it now, over SSH, and at each start of its own"]
    return [*steps, f"nothing more now: {name} was started without a file server (pommel restart {name})"]


def _bring(workspace: Workspace, name: str, report: Report, *, within_s: float | None = None) -> None:
    """Have a running guest come to what is shared now; of one that cannot yet, say when it will."""
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        return
    if not sharing.way_of(paths):
        note(report, f"{name} was started without a file server for its guest: pommel restart {name}")
        return
    share_mounting.try_mount(workspace, name, report, within_s=within_s)
