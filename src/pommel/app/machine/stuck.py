"""`doctor --stuck`: find out whether a machine works, idles or hangs. Band: app."""

from __future__ import annotations

import hashlib

from pommel.app.workspace import Workspace
from pommel.errors import MachineError
from pommel.machine import qmp, sampling, stuck
from pommel.machine.glance import picture
from pommel.machine.stuck import StuckVerdict
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore

__all__ = ["StuckVerdict", "look"]
_QMP_S = 10.0


def look(
    name: str,
    *,
    seconds: float = 20.0,
    installing: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> StuckVerdict:
    """Watch the running machine `name` for `seconds`: its vCPUs' instruction addresses, its writes, and its screen.

    Raises:
        StateError: it is not running.
        DeadlineError: its QEMU does not answer.
    """
    paths = (workspace or Workspace.current()).made(name)
    samples = sampling.sample(paths, seconds=seconds, screen=lambda: _picture(paths), report=report)
    return stuck.judge(samples, installing=installing)


def _picture(paths: MachinePaths) -> str | None:
    """A hash of the screen's picture; None: there is none, which is not an error, because other signs remain."""
    try:
        shown = qmp.run(qmp.within(paths.qmp, _QMP_S, lambda monitor: picture(monitor, paths)))
    except MachineError:
        return None
    return hashlib.sha256(shown).hexdigest() if shown is not None else None
