"""A pool's process whose machines are QEMUs with next to nothing in them. `python pooled.py ROOT`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machine.bare import argv
from pommel.app.throwaway import pool_process
from pommel.app.workspace import Workspace
from pommel.machine import lifecycle
from pommel.machine.lifecycle import Ends
from pommel.paths import Home, MachinePaths
from pommel.progress import Report, ignore


def workspace_at(root: Path) -> Workspace:
    home = Home(root / "h", root / "r", root / "c")
    return Workspace(home, root, {"HOME": str(root), "XDG_DATA_HOME": str(root), "POMMEL_HOME": str(home.root)})


def start(
    workspace: Workspace,
    paths: MachinePaths,
    base: MachinePaths,
    flags: Mapping[str, Any] | None,
    *,
    ends: Ends,
    report: Report,
) -> bool:
    lifecycle.start(paths, argv(paths), ends=ends)
    return False


if __name__ == "__main__":
    os.environ["TMPDIR"] = sys.argv[1]
    pool_process.serve(workspace_at(Path(sys.argv[1])), start=start, report=ignore)
