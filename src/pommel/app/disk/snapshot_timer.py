"""The systemd user timer for automatic snapshots: one for all machines of a home. Band: app.

It starts `pommel snapshot due` each hour, which ends at once if nothing is due. Without systemd, cron can do the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pommel import account
from pommel.app.disk import snapshot_due
from pommel.app.host import carried, service
from pommel.app.host import checks as host_checks
from pommel.app.host.service import Installed
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, StateError
from pommel.machine import timer_notes
from pommel.machine.spec import MachineSpec
from pommel.machine.units import (
    SNAPSHOTS_TIMER,
    SNAPSHOTS_UNIT,
    DueService,
    snapshots_timer_text,
    snapshots_unit_text,
)
from pommel.progress import Report, ignore, note

_INSTALL = "pommel snapshot timer install"
_LINGER = Path("/var/lib/systemd/linger")
Level = Literal["ok", "warn", "fail"]


def texts(workspace: Workspace) -> dict[Path, str]:
    """The text of each unit file by its path: first the service, then the timer.

    Raises:
        UsageError: systemd cannot start this Pommel from where it is.
    """
    environment = carried.to_unit(workspace)
    environment["POMMEL_HOME"] = str(workspace.home.root)  # shows which home the timer is for
    if workspace.file.path is not None:  # machines that were made with another pommel.toml go on using that one
        environment.setdefault("POMMEL_CONFIG", str(workspace.file.path.absolute()))
    due = DueService((*host_checks.own_command(), "snapshot", "due"), environment)
    folder = service.unit_folder(workspace)
    return {folder / SNAPSHOTS_UNIT: snapshots_unit_text(due), folder / SNAPSHOTS_TIMER: snapshots_timer_text()}


def install(*, enable: bool = True, workspace: Workspace | None = None, report: Report = ignore) -> Installed:
    """Write both units, and make systemd load them and start the timer.

    Raises:
        StateError: a unit of that name is not ours.
    """
    workspace = workspace or Workspace.current()
    (unit, unit_text), (timer, timer_text) = texts(workspace).items()
    service.place(unit, unit_text, False, report)
    made = service.place(timer, timer_text, False, report)
    if not enable:
        return made
    enabled = service.systemctl(["enable", "--now", SNAPSHOTS_TIMER], report)
    if enabled and not lingers():
        note(
            report,
            "it runs while you are logged in, and catches up when you log in. To run it always: loginctl enable-linger",
        )
    return Installed(made.path, made.text, enabled)


def remove(*, workspace: Workspace | None = None, report: Report = ignore) -> Path:
    """Stop and delete both units.

    Raises:
        StateError: there are none, or Pommel did not write them.
    """
    workspace = workspace or Workspace.current()
    folder = service.unit_folder(workspace)
    lacking = StateError("there is no timer for snapshots", hint=_INSTALL)
    gone = service.take_away(folder / SNAPSHOTS_TIMER, ["disable", "--now"], lacking, report)
    if (unit := folder / SNAPSHOTS_UNIT).exists():
        service.take_away(unit, ["stop"], lacking, report)
    return gone


def standing(workspace: Workspace) -> tuple[Path, str]:
    """The timer's file, and its state from systemd, or the reason why it does not work for this home."""
    path = service.unit_folder(workspace) / SNAPSHOTS_TIMER
    if not is_installed(workspace):
        return path, whose(workspace) or "not installed"
    return path, service.active(SNAPSHOTS_TIMER)


def is_installed(workspace: Workspace) -> bool:
    """Whether both units exist and are for this home."""
    return all(path.is_file() for path in _paths(workspace)) and _is_this_homes(workspace)


def whose(workspace: Workspace) -> str | None:
    """A sentence if the installed timer is for another home. None: it is not, or there is none."""
    if all(path.is_file() for path in _paths(workspace)) and not _is_this_homes(workspace):
        return f"{service.unit_folder(workspace) / SNAPSHOTS_UNIT} is for another POMMEL_HOME"
    return None


def checks(workspace: Workspace, spec: MachineSpec) -> Iterator[tuple[str, Level, str, str | None]]:
    """For the doctor: the timer of a machine with automatic snapshots, and its last failure."""
    if (wanted := snapshot_due.schedule_of(workspace, spec.name)) is None:
        return
    text = f"each {wanted.every}, {wanted.keep} are kept"
    if (wrong := whose(workspace)) is not None:
        yield "snapshots", "fail", wrong, _INSTALL
    elif not is_installed(workspace):
        cron = f"with cron: 0 * * * * {' '.join(host_checks.own_command())} snapshot due"
        yield "snapshots", "warn", f"{text}; but there is no systemd timer", f"{_INSTALL}; or {cron}"
    else:
        try:
            runs = service.active(SNAPSHOTS_TIMER)
        except DeadlineError as late:
            runs = f"unknown: {late.message}"
        mend = f"systemctl --user enable --now {SNAPSHOTS_TIMER}"
        yield "snapshots", "ok" if runs == "active" else "warn", f"{text}; the timer is {runs}", mend
    paths = workspace.paths(spec.name)
    if paths.record.exists() and (failed := timer_notes.load(paths).failed):
        yield "snapshots", "fail", f"the last one failed: {failed}", f"pommel snapshot due {spec.name}"


def lingers() -> bool:
    """Whether this user's systemd also runs without a login."""
    return (_LINGER / account.spelled(os.geteuid())).exists()


def _paths(workspace: Workspace) -> list[Path]:
    folder = service.unit_folder(workspace)
    return [folder / SNAPSHOTS_UNIT, folder / SNAPSHOTS_TIMER]


def _is_this_homes(workspace: Workspace) -> bool:
    return service.is_for_home(workspace, _paths(workspace)[0].read_text(errors="replace"))
