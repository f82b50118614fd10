"""The machine's lock, and the removal of what an ended QEMU left. Band: shell.

It starts and ends nothing: `lifecycle` and `stopping` do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pommel import locks
from pommel.machine import state
from pommel.paths import MachinePaths


@contextlib.contextmanager
def serialised(paths: MachinePaths, *, wait_s: float = 2.0) -> Iterator[None]:
    """Hold the machine's lock for the block, unless the caller already holds it.

    Raises:
        BusyError: another process holds it, or another thread of this one.
    """
    if locks.ours(paths.lock):
        yield
        return
    with locks.hold(paths.lock, busy=f"another pommel is working on {paths.name}", wait_s=wait_s):
        yield


def sweep(paths: MachinePaths) -> None:
    """Remove the files that an ended QEMU left. Call it with the machine's lock held."""
    if locks.holder(paths.pidfile) is None:
        # The last are QEMU's temporary files; they have a name only at the moment when it makes them (block.c).
        sockets = (paths.qmp, paths.qmp_watch, paths.vnc, *paths.more_displays)
        for left in (*sockets, paths.pidfile, *paths.directory.glob("vl.??????")):
            left.unlink(missing_ok=True)
        state.forget_run(paths)
