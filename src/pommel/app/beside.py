"""What begins beside a machine that has just started: displays, clipboard, shared folders, MeshCentral. Band: app.

Each is imported where it is wanted: that is felt at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pommel.app.workspace import Workspace
from pommel.machine import shares_added
from pommel.paths import MachinePaths
from pommel.progress import Report

if TYPE_CHECKING:
    from pommel.app.commandline import Planned


def begin(workspace: Workspace, paths: MachinePaths, planned: Planned, *, report: Report) -> None:
    """Begin what the machine's settings want."""
    if planned.spec.displays > 1:
        from pommel.app import displays

        displays.turn_on(paths, planned, report=report)
    if planned.spec.clipboard:
        from pommel.app import clip

        clip.begin_with(workspace, planned.spec, report=report)
    if planned.spec.shares or paths.directory.joinpath(shares_added.FILE).exists():
        from pommel.app import share_mounting

        share_mounting.begin_with(workspace, planned.spec, report=report)
    if paths.mesh.is_dir():
        from pommel.app import mesh

        mesh.begin_with(workspace, paths.name, report=report)
