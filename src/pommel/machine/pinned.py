"""The process that holds a lock, on a handle: a reused pid is never mistaken for it. Band: shell.

Starts nothing (`pommel.process` does) and knows no QEMU: only who holds a lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pommel import locks
from pommel.errors import NotPermitted
from pommel.handles import Handle, open_handle


@contextlib.contextmanager
def pin_holder(lock: Path) -> Iterator[Handle | None]:
    """A handle on the process that holds the lock file `lock`; None when nobody does.

    Raises:
        NotPermitted: its holder lives in another container, out of reach.
    """
    while (pid := locks.holder(lock)) is not None:
        if pid <= 0:
            raise NotPermitted(f"{lock} is locked by a process of another container", hint="stop it in that container")
        try:
            handle = open_handle(pid)
        except ProcessLookupError:  # it died just now; who holds it next?
            continue
        with handle:
            # Seen as the holder before and after: the handle is the holder's, not that of a stranger with its pid.
            if locks.holder(lock) != pid:
                continue
            yield handle
            return
    yield None
