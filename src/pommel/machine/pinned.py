"""A handle on the process that holds a lock: a reused pid is never mistaken for it. Band: shell.

It starts nothing (`pommel.process` does) and knows nothing of QEMU, only the holder of a lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pommel import locks
from pommel.errors import NotPermitted
from pommel.handles import ProcessHandle, open_handle


@contextlib.contextmanager
def pin_holder(lock: Path) -> Iterator[ProcessHandle | None]:
    """A handle on the process that holds the lock file `lock`; None if nobody does.

    Raises:
        NotPermitted: its holder is in another container, out of reach.
    """
    while (pid := locks.holder(lock)) is not None:
        if pid <= 0:
            raise NotPermitted(f"{lock} is locked by a process of another container", hint="stop it in that container")
        try:
            handle = open_handle(pid)
        except ProcessLookupError:  # it died just now: look for the next holder
            continue
        with handle:
            # The holder is the same before and after: so the handle is for the holder, not for another process with its
            # pid.
            if locks.holder(lock) != pid:
                continue
            yield handle
            return
    yield None
