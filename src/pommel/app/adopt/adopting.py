"""`adopt`: make a machine of a Mac that another tool has installed. Band: app.

A machine is adopted completely or not at all. A copy is built aside and renamed into place. A move first makes a
machine with a link to the disk, which works already; then one rename puts the disk in place of the link. So at every
moment the disk is at exactly one of the two places. A killed move leaves a note in the machine's folder, and the same
command again finishes it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pommel import account, json_file, ssh
from pommel.app.adopt import plan as adopt_plan
from pommel.app.adopt.plan import AdoptPlan
from pommel.app.workspace import Workspace
from pommel.errors import BuildError, MachineError, StateError, UsageError
from pommel.machine import copying, disk, leftovers, ports, record, taking
from pommel.machine.exclusive import serialised
from pommel.machine.folder import OWN_BOOT_DISK
from pommel.machine.permission import Work, must_allow
from pommel.paths import MachinePaths, build_aside, sweep_aside
from pommel.progress import Progress, Report, ignore, warn

_PENDING = "adopt.json"  # in the machine's folder: a move that is not finished


def plan(path: Path, *, name: str | None = None, mode: str = "copy", workspace: Workspace | None = None) -> AdoptPlan:
    """What `adopt` would do, without doing it. Raises the errors of `adopt` that are known beforehand."""
    if mode not in adopt_plan.MODES:
        raise UsageError(f"{mode!r} is not a way to adopt a disk", hint=f"one of {', '.join(adopt_plan.MODES)}")
    return adopt_plan.plan(path, name=name, mode=mode, workspace=workspace or Workspace.current())


def adopt(
    path: Path,
    *,
    name: str | None = None,
    mode: str = "copy",
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> record.MachineRecord:
    """Make a machine of the installed one at `path`. `mode` says what is done with its disk: copy, move or in-place.

    An earlier move of `path` that was interrupted is finished.

    Raises:
        StateError: it cannot be adopted, or its disk is in use; the message says why.
        UsageError: something in it cannot be read, or `name` is not valid.
        BuildError: there is too little room, or the copy differs from the disk.
    """
    workspace = workspace or Workspace.current()
    if (left := unfinished(path, workspace)) is not None:
        finish(left, report=report)
        return record.load(left.record)
    chosen = plan(path, name=name, mode=mode, workspace=workspace)
    paths = workspace.paths(chosen.name)
    source = Path(chosen.items[0].source)
    workspace.mark()
    with serialised(paths):
        if os.path.lexists(paths.directory):
            raise StateError(f"there is a machine called {chosen.name} already", hint="choose another: --name OTHER")
        sweep_aside(paths.directory)
        leftovers.sweep_unfinished(paths.directory.parent)
        with taking.kept_still(source):
            _build(workspace, paths, chosen, report)
        if mode == "move":
            finish(paths, report=report)
    return record.load(paths.record)


def unfinished(path: Path, workspace: Workspace) -> MachinePaths | None:
    """The machine of an interrupted move of `path`; None: there is none."""
    wanted = os.path.realpath(account.expand(path))
    for name in workspace.home.names():
        paths = workspace.paths(name)
        if (paths.directory / _PENDING).is_file() and wanted in (_pending(paths)["path"], _pending(paths)["disk"]):
            return paths
    return None


def finish(paths: MachinePaths, *, report: Report = ignore) -> None:
    """Finish the move of a disk into the machine's folder. It can be repeated without harm.

    Raises:
        StateError: the machine runs, or another program writes to the disk.
        BuildError: it cannot be moved; it stays where it is, and the machine uses it there.
    """
    told = _pending(paths)
    source = Path(told["disk"])
    with serialised(paths):
        must_allow(paths, Work("moved", running=True))
        if paths.disk.is_symlink():
            taking.refuse_if_used(source)
            taking.move_image(source, paths.disk, report=report)
        elif source.exists():
            _drop_copied(source, told, report)
        # Only now: until the note is gone, an interrupted move is finished by the next `adopt`.
        (paths.directory / _PENDING).unlink()
        taking.sync_folder(paths.directory)
        report(Progress("move", f"the disk is in {paths.directory}", finished=True))


def _build(workspace: Workspace, paths: MachinePaths, chosen: AdoptPlan, report: Report) -> None:
    with build_aside(paths.directory) as aside:
        for item in chosen.items:
            target = aside / Path(item.target).name
            if item.what == "disk":
                _place_disk(Path(item.source), target, chosen, report)
            else:
                _place_small(Path(item.source), target)
        if chosen.mode == "move":
            _write_pending(aside, chosen)
        (aside / "ssh").mkdir(mode=0o700)
        ssh.make_key(aside / "ssh" / "id_ed25519", f"pommel {chosen.name}")
        ports.allot_port(
            workspace.home,
            chosen.name,
            wanted=None,
            keep=lambda port: record.save(aside / paths.record.name, replace(chosen.made, ssh_port=port)),
            report=report,
        )
    taking.sync_folder(paths.directory.parent)


def _place_disk(source: Path, target: Path, chosen: AdoptPlan, report: Report) -> None:
    if chosen.mode != "copy":
        target.symlink_to(source)
    elif not chosen.flattened:
        taking.copy_image(source, target, report=report)  # byte by byte: snapshots stay
    elif chosen.disk_format == "raw":
        copying.copy_whole(source, target, form="raw", report=report)
    else:
        copying.copy_whole(source, target, report=report)
    if chosen.mode == "copy":
        target.chmod(0o600)


def _place_small(source: Path, target: Path) -> None:
    try:
        if target.name == OWN_BOOT_DISK and disk.info(source).format != "qcow2":
            copying.copy_whole(source, target)
        else:
            shutil.copyfile(source, target)
        target.chmod(0o600)
    except OSError as failure:
        raise BuildError(f"{source} cannot be copied: {failure.strerror}") from failure


def _write_pending(aside: Path, chosen: AdoptPlan) -> None:
    source = Path(chosen.items[0].source)
    seen = source.stat()
    told = {
        "path": os.path.realpath(chosen.source),
        "disk": str(source),
        "inode": [seen.st_dev, seen.st_ino],
        "mtime_ns": seen.st_mtime_ns,
    }
    json_file.write(aside / _PENDING, told)


def _pending(paths: MachinePaths) -> dict[str, Any]:
    told = json_file.read_object(paths.directory / _PENDING)
    if isinstance(told.get("disk"), str) and isinstance(told.get("path"), str):
        return told
    raise MachineError(f"{paths.directory / _PENDING} cannot be read", hint=f"look at {paths.directory}")


def _drop_copied(source: Path, told: dict[str, Any], report: Report) -> None:
    """After a complete copy to another drive, remove the old disk, if it is the same file and unchanged."""
    seen = source.stat()
    if [seen.st_dev, seen.st_ino] == told.get("inode") and seen.st_mtime_ns == told.get("mtime_ns"):
        taking.refuse_if_used(source)
        source.unlink()
    else:
        warn(report, f"{source} is no longer the disk that was moved from there, so it was not changed")
