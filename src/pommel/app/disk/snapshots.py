"""Snapshots of machines by name. Band: app."""

from __future__ import annotations

from pommel.app.disk import encryption
from pommel.app.guest import shell as guest
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.machine import snapshots, state
from pommel.machine.events import Word, note_event
from pommel.machine.permission import LOADED, working_on
from pommel.machine.snapshots import Snapshot
from pommel.progress import Report, ignore, note

__all__ = ["Snapshot", "delete", "list_snapshots", "load", "save"]


def save(
    name: str,
    tag: str,
    *,
    live: bool | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Snapshot:
    """Save machine `name` as `tag`: disks and NVRAM, and the RAM if the machine runs and RAM can be saved.

    `live`: True requires the RAM, False leaves it out. The snapshot's `note` says what was left out, and why.

    Raises:
        UsageError, StateError: there is no such machine; the tag exists or is not valid.
        BuildError, MachineError: there is too little room, or QEMU refuses.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name):
        saved = snapshots.save(paths, tag, live=live, report=report)
    note_event(paths, Word.SNAPSHOT_SAVED, tag)
    if saved.note:
        note(report, saved.note)
    return saved


def load(
    name: str, tag: str, *, ram: bool | None = None, workspace: Workspace | None = None, report: Report = ignore
) -> Snapshot:
    """Put machine `name` back to `tag`, completely or not at all. With RAM it continues from there, started if needed.

    `ram=False` loads only the disks, for a stopped machine.

    Raises:
        StateError: there is no such snapshot; it has no RAM and the machine runs; it sleeps; linked clones depend on
            the disks.
        MachineError: QEMU cannot load it; the machine is as it was before.
    """
    from pommel.app.guest import clock_rest
    from pommel.app.machine.power import START_WAIT_S, start_from

    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name), working_on(paths, LOADED, wait_s=START_WAIT_S, report=report):
        found = next((each for each in snapshots.list_snapshots(paths) if each.tag == tag), None)
        if found is None:
            raise StateError(f"{name} has no snapshot {tag}", hint=f"pommel snapshot list {name}")
        guest.end_shared(workspace, name)  # the loaded guest does not know this connection, so our end would hang
        if found.ram and ram is not False and not state.observe(paths).alive:
            start_from(workspace, name, tag, report=report)
        else:
            found = snapshots.load(paths, tag, ram=ram, report=report).snapshot
            if found.ram and state.observe(paths).alive:
                clock_rest.begin(workspace, name, clock_rest.since_s(found.created))
    note_event(paths, Word.SNAPSHOT_LOADED, tag)
    return found


def list_snapshots(name: str, *, workspace: Workspace | None = None) -> list[Snapshot]:
    """The snapshots of machine `name`, oldest first.

    Raises:
        StateError: there is no such machine.
    """
    return snapshots.list_snapshots((workspace or Workspace.current()).made(name))


def delete(name: str, tag: str, *, workspace: Workspace | None = None, report: Report = ignore) -> None:
    """Delete snapshot `tag` of machine `name`, which may run.

    Raises:
        StateError: there is no such machine or snapshot.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    with encryption.unlocked(workspace, name):
        snapshots.delete(paths, tag, report=report)
