"""The smbd processes of a machine's guest, one for each connection: lists and ends them. Band: shell.

They are found by a variable that `share_end` puts into their environment, so that exactly these are found.
"""

from __future__ import annotations

import os
from pathlib import Path

from pommel import inheritors
from pommel.machine.share_end import MARK
from pommel.machine.shares_added import LIVE
from pommel.paths import MachinePaths

_END_S = 5.0


def pids(paths: MachinePaths) -> list[int]:
    """The running processes for connections of the guest of machine `paths.name`."""
    return inheritors.pids(_marked(paths))


def sandboxes(paths: MachinePaths) -> list[int]:
    """For each open connection, its one process outside of the sandbox."""
    here = _link(Path("/proc/self/ns/pid"))
    return [pid for pid in pids(paths) if _link(Path(f"/proc/{pid}/ns/pid")) == here]


def end(paths: MachinePaths) -> int:
    """End them all, and return their number. The guest connects again for the shares that it still has."""
    return inheritors.end(_marked(paths), _END_S)


def _marked(paths: MachinePaths) -> inheritors.Wanted:
    mark = os.fsencode(f"{MARK}={paths.directory / LIVE}")
    return lambda environ: mark in environ.split(b"\0")


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
