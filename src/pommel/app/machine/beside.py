"""Start what accompanies a running machine: displays, clipboard, shared folders, MeshCentral. Band: app.

Each module is imported only if it is needed, because imports add noticeable time to every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pommel.app.workspace import Workspace
from pommel.machine import shares_added
from pommel.paths import MachinePaths
from pommel.progress import Report

if TYPE_CHECKING:
    from pommel.app.argv.commandline import PlannedCommand


def begin(workspace: Workspace, paths: MachinePaths, planned: PlannedCommand, *, report: Report) -> None:
    """Start what the machine's settings want."""
    if planned.spec.displays > 1:
        from pommel.app.machine import displays

        displays.turn_on(paths, planned, report=report)
    if planned.spec.clipboard:
        from pommel.app.clip import sync as clip

        clip.begin_with(workspace, planned.spec, report=report)
    if planned.spec.shares or paths.directory.joinpath(shares_added.FILE).exists():
        from pommel.app.share import mounting as share_mounting

        share_mounting.begin_with(workspace, planned.spec, report=report)
    if paths.mesh.is_dir():
        from pommel.app.mesh import membership as mesh

        mesh.begin_with(workspace, paths.name, report=report)
