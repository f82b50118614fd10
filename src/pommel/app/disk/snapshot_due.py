"""Automatic snapshots: save the machines that are due now, and delete the oldest of too many. Band: app.

A timer calls `due` as often as it likes: systemd's (`snapshot_timer`) or cron's. Whether a snapshot is due follows from
the schedule and the last snapshot, so the next run makes up for a missed one. A new snapshot is saved before an old one
is deleted. A machine that has not changed is not saved again: otherwise a week without use would replace all older
states by copies of the same one.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pommel.app.disk import encryption
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, UsageError
from pommel.machine import schedule, state, timer_notes
from pommel.machine.events import Word, note_event
from pommel.machine.own_disks import all_disks
from pommel.machine.permission import SAVED, working_on
from pommel.machine.runstate import MachineState
from pommel.machine.schedule import Schedule
from pommel.machine.snapshot_record import TIMED_NOTE
from pommel.machine.snapshots import delete, list_snapshots, save_as
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, warn

_ASK_S = 2.0
_SET_IT = 'add to pommel.toml: snapshots = {{ every = "1d", keep = 7 }}   (in [machine.{name}])'


class DueOutcome(StrEnum):
    """The result for one machine."""

    SAVED = "saved"
    WOULD_SAVE = "due"  # of a dry run
    UNCHANGED = "unchanged"
    NOT_DUE = "not due"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DueSnapshot:
    """What was done, or would be done, for one machine: the new snapshot, the deleted ones, and the reason if none."""

    name: str
    outcome: DueOutcome
    tag: str = ""
    deleted: tuple[str, ...] = ()
    why: str = ""
    next: str = ""  # ISO 8601

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def schedule_of(workspace: Workspace, name: str) -> Schedule | None:
    """How often machine `name` is saved automatically; None: never."""
    said = workspace.spec(name).snapshots
    return Schedule.of(said) if said is not None else None


def due(
    name: str | None = None,
    *,
    dry_run: bool = False,
    now: datetime.datetime | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Iterator[DueSnapshot]:
    """Save machine `name`, or all with a schedule, if they are due; delete the snapshots beyond `keep`.

    A failure is reported and recorded, and the next machine follows. `now` has a time zone.

    Raises:
        UsageError: there is no such machine, or it has no schedule.
    """
    workspace = workspace or Workspace.current()
    if name is not None and schedule_of(workspace, name) is None:
        raise UsageError(f"{name} has no automatic snapshots", hint=_SET_IT.format(name=name))
    now = now or datetime.datetime.now(datetime.UTC)
    for each in [name] if name is not None else workspace.names():
        paths = workspace.paths(each)
        try:
            wanted = schedule_of(workspace, each)
            if wanted is None:
                continue
            if not paths.record.exists():
                yield DueSnapshot(each, DueOutcome.ABSENT, why="it has not been created yet")
                continue
            with encryption.unlocked(workspace, each):
                done = _one(paths, wanted, now, dry_run, report)
            yield done
        except PommelError as failure:
            warn(report, f"{each} was not saved: {failure.message}")
            if not dry_run and paths.record.exists():
                _note_failure(paths, failure.message)
            yield DueSnapshot(
                each, DueOutcome.FAILED, why=failure.message + (f" ({failure.hint})" if failure.hint else "")
            )


def prune(
    name: str,
    *,
    keep: int | None = None,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> list[str]:
    """Delete the oldest automatic snapshots of machine `name` until `keep` are left; return the deleted tags.

    Without `keep`, the machine's setting is used. Snapshots that the user made are never deleted.

    Raises:
        UsageError: there is neither `keep` nor a setting; StateError: there is no such machine.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    wanted = schedule_of(workspace, name)
    if keep is None and wanted is None:
        raise UsageError(
            f"the number of snapshots of {name} to keep is not set",
            hint=f"pommel snapshot prune {name} --keep 7; or {_SET_IT}",
        )
    with encryption.unlocked(workspace, name):
        return _prune(paths, wanted.keep if keep is None and wanted else keep or 1, dry_run, report)


def schedule_as_dict(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """The schedule of machine `name` for `info`: last, next, number kept, the last failure.

    None: it has no schedule.
    """
    from pommel.app.disk import snapshot_timer

    wanted = schedule_of(workspace, name)
    if wanted is None:
        return None
    made = schedule.timed(list_snapshots(workspace.paths(name)))
    notes = timer_notes.load(workspace.paths(name))
    return {
        "every": wanted.every,
        "keep": wanted.keep,
        "kept": len(made),
        "last": made[-1].created if made else None,
        "next": _instant(wanted.next(_wall(datetime.datetime.now(datetime.UTC)))).isoformat(),
        "failure": notes.failed or None,
        "timer": snapshot_timer.is_installed(workspace),
    }


def _one(paths: MachinePaths, wanted: Schedule, now: datetime.datetime, dry_run: bool, report: Report) -> DueSnapshot:
    wall = _wall(now)
    slot, following = _instant(wanted.slot(wall)), _instant(wanted.next(wall)).isoformat()
    made, notes = schedule.timed(list_snapshots(paths)), timer_notes.load(paths)
    walls = (schedule.made_at(each.tag) for each in made)
    looks = [*(_instant(each) for each in walls if each is not None), notes.looked_at]
    if any(at is not None and slot <= at <= now for at in looks):  # a later time comes from a wrong clock: ignore it
        deleted = tuple(_prune(paths, wanted.keep, dry_run, report))
        return DueSnapshot(paths.name, DueOutcome.NOT_DUE, deleted=deleted, next=following)
    if dry_run:
        if made and _is_as_left(paths, notes):
            return DueSnapshot(paths.name, DueOutcome.UNCHANGED, next=following)
        doomed = made[: max(0, len(made) + 1 - wanted.keep)]
        tags = tuple(each.tag for each in doomed)
        return DueSnapshot(paths.name, DueOutcome.WOULD_SAVE, schedule.tag_at(wall), tags, next=following)
    with working_on(paths, SAVED, report=report):
        looked = now.isoformat(timespec="milliseconds")
        if made and _is_as_left(paths, notes):
            timer_notes.save(paths, looked=looked, failed="")
            return DueSnapshot(paths.name, DueOutcome.UNCHANGED, next=following)
        # Asked before and after: if the guest ran at either time, the disks may have changed during the snapshot, and
        # their stamps would hide that change from the next run.
        stood, tag = _stands(paths), schedule.tag_at(wall)
        saved = save_as(paths, tag, live=None if wanted.memory else False, note=TIMED_NOTE, report=report)
        note_event(paths, Word.SNAPSHOT_SAVED, tag)
        deleted = tuple(_prune(paths, wanted.keep, dry_run, report))
        left = timer_notes.stamps(_files(paths)) if stood and _stands(paths) else None
        timer_notes.save(paths, looked=looked, files=left, failed="")
    why = saved.note.removeprefix(TIMED_NOTE).removeprefix("; ")
    return DueSnapshot(paths.name, DueOutcome.SAVED, tag, deleted, why, following)


def _prune(paths: MachinePaths, keep: int, dry_run: bool, report: Report) -> list[str]:
    doomed = [each.tag for each in schedule.surplus(list_snapshots(paths), keep)]
    for tag in [] if dry_run else doomed:
        delete(paths, tag, report=report)
    return doomed


def _is_as_left(paths: MachinePaths, notes: timer_notes.Notes) -> bool:
    """Whether the disks have not changed since the last run, because the guest has not run."""
    return notes.files is not None and _stands(paths) and timer_notes.stamps(_files(paths)) == notes.files


def _stands(paths: MachinePaths) -> bool:
    """Whether its guest cannot write now: the machine does not run, or its vCPUs are paused."""
    seen = state.observe(paths, ask_s=_ASK_S)
    return not seen.alive or seen.state is MachineState.PAUSED


def _files(paths: MachinePaths) -> list[Any]:
    return [*all_disks(paths), *([paths.nvram] if paths.nvram.exists() else [])]


def _note_failure(paths: MachinePaths, why: str) -> None:
    if timer_notes.load(paths).failed != why:  # the timer tries each hour: the same line each time would fill the log
        note_event(paths, Word.SNAPSHOT_FAILED, why)
    timer_notes.save(paths, failed=why)


def _wall(instant: datetime.datetime) -> datetime.datetime:
    """The local time of this host, without a time zone: schedules are in local time."""
    return instant.astimezone().replace(tzinfo=None)


def _instant(wall: datetime.datetime) -> datetime.datetime:
    return wall.astimezone()
