"""Processes of Pommel's own that go on after the command which starts them, such as consoles. Band: app.

Each of them holds a lock for as long as it lives (`locks.hold`) and is known by that; nobody trusts a pid in a file.
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
    """Start `pommel WORDS` for this home, in `cwd` or the workspace's folder; what it writes is appended to `log`.

    A log that has become larger than 256 KiB begins anew. Whoever called waits for the process or lets it go
    (`Detached.release`).

    Raises:
        OSError: the log cannot be written.
    """
    log_end(log)
    env = {**workspace.env, "POMMEL_HOME": str(workspace.home.root)}
    return spawn_detached(this_python("-m", "pommel", *words), log, env=env, cwd=cwd or workspace.cwd)


def log_end(log: Path) -> int:
    """Where in `log`, in bytes, a process that is started now will begin to write; one too large begins anew."""
    size = log.stat().st_size if log.exists() else 0
    if size <= LOG_MAX_BYTES:
        return size
    log.unlink(missing_ok=True)
    return 0


def end(lock: Path, *, within_s: float, ask: Callable[[], object] | None = None) -> bool:
    """End the process that holds `lock`; whether there was one.

    It is asked by `ask`, or by SIGTERM where that raises a PommelError or there is none; after `within_s` seconds it is
    killed.

    Raises:
        NotPermitted: it is a process of another container, or of another user.
    """
    with pin_holder(lock) as process:
        if process is None:
            return False
        if not _asked(ask):
            process.send(signal.SIGTERM)
        if not process.ended(within_s):
            process.send(signal.SIGKILL)
            process.ended(within_s)
    return True


def _asked(ask: Callable[[], object] | None) -> bool:
    if ask is None:
        return False
    try:
        ask()
    except PommelError:  # it is about to start or to end, or it hangs
        return False
    return True
