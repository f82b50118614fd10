"""Remove everything that Pommel has made, and nothing else. Band: app.

POMMEL_HOME may be a folder that also contains other files, and other homes may share the cache. `ours` decides which
files are Pommel's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from pommel import marks
from pommel.app.clip import sync as clip
from pommel.app.console import page as console
from pommel.app.disk import snapshot_timer
from pommel.app.host import checks, launchers, ours, service, setup
from pommel.app.machine import machines, power
from pommel.app.mesh import membership as mesh
from pommel.app.usb import plugging as usb_plugging
from pommel.app.workspace import Workspace
from pommel.host import commands, desktop, modules
from pommel.process import run
from pommel.progress import Report, ignore, note


def plan(workspace: Workspace) -> list[tuple[Path, int]]:
    """The paths to remove, with their sizes on the disk in bytes."""
    home = workspace.home
    return [(path, _size(path)) for path in (*ours.in_home(home), *ours.sockets_of(home), *ours.in_cache(home))]


def uninstall(workspace: Workspace, *, report: Report = ignore) -> None:
    """Stop every machine and console, then remove Pommel's files, and its folders if they are empty.

    Raises:
        StateError: another command works on a machine.
        MachineError: one runs, and its guest cannot be asked to shut down; nothing is removed.
    """
    for name in machines.running(workspace=workspace):
        how = power.stop(name, workspace=workspace, report=report)
        note(report, f"{name} has stopped ({how})")
    for name in workspace.home.names():
        console.stop(workspace, name)
    for guest in clip.running(workspace):
        clip.stop(guest)
    mesh.end(workspace)
    if snapshot_timer.is_installed(workspace):
        snapshot_timer.remove(workspace=workspace, report=report)
    service.remove_all(workspace, report=report)
    _remove(workspace, report)
    for kept in desktop.remove_all(checks.data_home(workspace.env)).kept:
        note(report, f"{kept} was edited after Pommel wrote it, so it is not removed")
    for launcher in launchers.found(workspace):
        commands.remove(launcher)
    modules.restore(run_as_root=None if os.geteuid() == 0 else setup.sudo, report=report)
    usb_plugging.withdraw(run_as_root=run if os.geteuid() == 0 else setup.sudo, report=report)
    marks.marker(workspace.home.root).unlink(missing_ok=True)
    for folder in ours.parents(workspace.home):
        with contextlib.suppress(OSError):  # it contains other files, or never existed
            folder.rmdir()


def _remove(workspace: Workspace, report: Report) -> None:
    for path, _ in plan(workspace):
        if path.is_symlink():  # the user moved the folder and made a link: only the link is surely Pommel's
            note(report, f"{path} was a link: {path.resolve()} stays")
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if others := marks.other_homes(workspace.home):
        marks.user(workspace.home).unlink(missing_ok=True)
        note(report, f"{workspace.home.cache} is not removed: {', '.join(map(str, others))} uses it")


def _size(root: Path) -> int:
    """The used space on the disk in bytes; links are not followed."""
    each = (path.lstat() for path in (root, *root.rglob("*")))
    return sum(found.st_blocks * 512 for found in each if not stat.S_ISLNK(found.st_mode))
