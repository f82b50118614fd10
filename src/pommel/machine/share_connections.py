"""The smbds that serve a machine's guest now, one a connection: which there are, and their end. Band: shell.

They are found by what `share_end` puts into their environment, so that none is missed and no stranger is met.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from pommel.errors import NotPermitted
from pommel.handles import Handle, open_handle
from pommel.machine.share_end import MARK
from pommel.machine.shares_added import LIVE
from pommel.paths import MachinePaths

_END_S = 5.0
_ROUNDS = 20


def pids(paths: MachinePaths) -> list[int]:
    """The processes that were started for connections of the guest of machine `paths.name`, and live."""
    found = _held(paths)
    for handle in found:
        handle.close()
    return [handle.pid for handle in found]


def sandboxes(paths: MachinePaths) -> list[int]:
    """Of each connection that is open the one process outside of its sandbox."""
    here = _link(Path("/proc/self/ns/pid"))
    return [pid for pid in pids(paths) if _link(Path(f"/proc/{pid}/ns/pid")) == here]


def end(paths: MachinePaths) -> int:
    """End them all, and say how many there were. The guest connects anew for what it still has."""
    ended = 0
    for _ in range(_ROUNDS):
        found = _held(paths)
        if not found:
            break
        for handle in found:
            with handle, contextlib.suppress(NotPermitted):
                ended += handle.send(signal.SIGKILL)
                handle.ended(_END_S)
    return ended


def _held(paths: MachinePaths) -> list[Handle]:
    """Handles on them; the caller closes them."""
    mark = os.fsencode(f"{MARK}={paths.directory / LIVE}")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # The handle first: what it names cannot become another process while we look.
            handle = open_handle(int(entry.name))
        except (OSError, NotPermitted):
            continue
        if _has(entry, mark) and not handle.ended():
            found.append(handle)
        else:
            handle.close()
    return found


def _has(process: Path, mark: bytes) -> bool:
    try:
        return mark in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's
        return False


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
