"""A process held by a pidfd, so that a reused pid is never mistaken for it. Band: shell.

Starts nothing (`pommel.process` does) and knows no QEMU: only who holds a lock, whether it lives, and how to end it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from pommel import locks
from pommel.errors import NotPermitted


class Pinned:
    """One process. Made by `pin_holder`, which also lets it go."""

    def __init__(self, fd: int, pid: int) -> None:
        self._fd = fd
        self.pid = pid

    def ended(self, within_s: float = 0.0) -> bool:
        """Wait up to `within_s` seconds for it to end; whether it has. A child of ours is reaped."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(within_s * 1000):
            return False
        with contextlib.suppress(ChildProcessError):  # not ours: somebody else reaps it
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
        return True

    def send(self, how: signal.Signals) -> None:
        """Send it a signal; one that is gone is fine.

        Raises:
            NotPermitted: it belongs to another user.
        """
        try:
            signal.pidfd_send_signal(self._fd, how)
        except ProcessLookupError:
            return
        except PermissionError as failure:
            raise NotPermitted(f"process {self.pid} belongs to another user") from failure


@contextlib.contextmanager
def pin_holder(lock: Path) -> Iterator[Pinned | None]:
    """Pin the process that holds the lock file `lock`; None when nobody does.

    Raises:
        NotPermitted: its holder lives in another container, out of reach.
    """
    while (pid := locks.holder(lock)) is not None:
        if pid <= 0:
            raise NotPermitted(f"{lock} is held by a process of another container", hint="stop it from there")
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:  # it died just now; who holds it next?
            continue
        try:
            # Seen as the holder before and after: the pidfd is the holder's, not that of a stranger with its pid.
            if locks.holder(lock) != pid:
                continue
            yield Pinned(fd, pid)
            return
        finally:
            os.close(fd)
    yield None
