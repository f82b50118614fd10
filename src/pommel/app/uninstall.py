"""Removing everything that Pommel has made. Band: app.

Only what Pommel made, by name: POMMEL_HOME may be a folder that holds other things too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from pommel.app import clip, console, helpers, host_checks, machines, mesh, setup, starting
from pommel.app.workspace import Workspace
from pommel.host import commands, desktop, modules
from pommel.progress import Report, ignore, note


def plan(workspace: Workspace) -> list[tuple[Path, int]]:
    """What would go, with its real size on disk in bytes."""
    return [(path, _size(path)) for path in _ours(workspace) if path.is_dir()]


def uninstall(workspace: Workspace, *, report: Report = ignore) -> None:
    """Stop every machine and console, then remove what Pommel keeps, and its folders if nothing else is in them.

    Raises:
        StateError: a machine is being worked on by another Pommel.
    """
    for name in machines.running(workspace=workspace):
        how = starting.stop(name, workspace=workspace, report=report)
        note(report, f"{name} has stopped ({how})")
    for name in workspace.home.names():
        console.stop(workspace, name)
    for guest in clip.running(workspace):
        clip.stop(guest)
    mesh.end(workspace)
    for path, _ in plan(workspace):
        if path.is_symlink():  # somebody put it elsewhere by hand: the link is what we know of
            note(report, f"{path} was a link: {path.resolve()} stays")
            path.unlink()
        else:
            shutil.rmtree(path)
    for kept in desktop.remove_all(host_checks.data_home(workspace.env)).kept:
        note(report, f"{kept} was edited since Pommel wrote it, and stays")
    for helper in helpers.found(workspace):
        commands.remove(helper)
    modules.restore(run_as_root=None if os.geteuid() == 0 else setup.sudo, report=report)
    (workspace.home.root / "ports.lock").unlink(missing_ok=True)
    for folder in (workspace.home.runtime, workspace.home.runtime.parent, workspace.home.root):
        with contextlib.suppress(OSError):  # not empty: somebody else's things; or never made
            folder.rmdir()


def _ours(workspace: Workspace) -> list[Path]:
    home = workspace.home
    # Where there is no runtime directory for this user, the sockets are in HOME/run, which goes as a whole.
    names = [*home.names(), home.clip("").runtime.name]
    sockets = [] if home.runtime == home.root / "run" else [home.runtime / name for name in names]
    kept = [
        home.machines,
        home.trial,
        home.root / "upstream",
        home.recovery,
        home.opencore,
        home.clips,
        home.mesh.directory,
    ]
    return [*kept, home.root / "run", *sockets, home.cache]


def _size(root: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in root.rglob("*") if not path.is_symlink())
