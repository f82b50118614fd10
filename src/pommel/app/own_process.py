"""Pommel's own processes that continue after the command that started them, such as consoles. Band: app.

Each of them holds a lock while it lives (`locks.hold`), and the lock names its process. A pid in a file is not used:
after a crash it may belong to another process.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from pommel.app.workspace import Workspace
from pommel.errors import PommelError
from pommel.machine.pinned import pin_holder
from pommel.process import Detached, spawn_detached, this_python

LOG_MAX_BYTES = 256 << 10


def spawn(workspace: Workspace, *words: str, log: Path, cwd: Path | None = None) -> Detached:
    """Start `pommel WORDS` for this home, in `cwd` or the workspace's folder. Its output is appended to `log`.

    A log that is larger than 256 KiB is deleted first. The caller must wait for the process or release it
    (`Detached.release`).

    Raises:
        OSError: the log cannot be written.
    """
    log_end(log)
    env = {**workspace.env, "POMMEL_HOME": str(workspace.home.root)}
    return spawn_detached(this_python("-m", "pommel", *words), log, env=env, cwd=cwd or workspace.cwd)


def log_end(log: Path) -> int:
    """The offset in `log`, in bytes, where a process that is started now writes first. A too large log is deleted."""
    size = log.stat().st_size if log.exists() else 0
    if size <= LOG_MAX_BYTES:
        return size
    log.unlink(missing_ok=True)
    return 0


def end(lock: Path, *, within_s: float, ask: Callable[[], object] | None = None) -> bool:
    """End the process that holds `lock`; return whether there was one.

    `ask` asks it to end. Without `ask`, or if `ask` raises a PommelError, it gets SIGTERM. After `within_s` seconds it
    is killed.

    Raises:
        NotPermitted: the process belongs to another container or another user.
    """
    with pin_holder(lock) as process:
        if process is None:
            return False
        if not _requested_end(ask):
            process.send(signal.SIGTERM)
        if not process.ended(within_s):
            process.send(signal.SIGKILL)
            process.ended(within_s)
    return True


def _requested_end(ask: Callable[[], object] | None) -> bool:
    if ask is None:
        return False
    try:
        ask()
    except PommelError:  # it does not answer: it is just starting, just ending, or hangs
        return False
    return True
