"""Finds processes by a variable in their environment, which their children inherit.

Band: shared ground. That finds what a program left in the background, in a session of its own or in a namespace, and
meets no stranger. A process that has cleared its environment is not found, nor is another user's.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

from pommel.errors import NotPermitted
from pommel.handles import ProcessHandle, open_handle

_PAUSE_S = 0.005

# Whether an environment, in the form of /proc/PID/environ (proc_pid_environ(5)), is one to look for.
Wanted = Callable[[bytes], bool]


def pids(wanted: Wanted) -> list[int]:
    """The pids of the living ones."""
    found = _held(wanted)
    for handle in found:
        handle.close()
    return [handle.pid for handle in found]


def end(wanted: Wanted, within_s: float) -> int:
    """Kill them, and those that they start meanwhile; return their number.

    One that hangs in the kernel is not waited for longer than `within_s` seconds.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and (found := _held(wanted)):
        for handle in found:
            with handle, contextlib.suppress(NotPermitted):
                if handle.send(signal.SIGKILL):
                    killed.add(handle.pid)
        time.sleep(_PAUSE_S)
    return len(killed)


def _held(wanted: Wanted) -> list[ProcessHandle]:
    """Handles of them; the caller closes the handles."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # The handle first: then the pid cannot become another process while we read its environment.
            handle = open_handle(int(entry.name))
        except (OSError, NotPermitted):
            continue
        if _is(entry, wanted) and not handle.ended():
            found.append(handle)
        else:
            handle.close()
    return found


def _is(process: Path, wanted: Wanted) -> bool:
    try:
        return wanted((process / "environ").read_bytes())
    except OSError:  # gone, or another user's
        return False
