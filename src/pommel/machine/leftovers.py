"""Removes the files that a killed command left in a machine's folder, or beside it. Band: shell.

Files that are renamed into place when they are complete have special names before that, and so has an incomplete
machine, or one that is being deleted. Their writer holds the machine's lock; so with the lock held, such files belong
to nobody. A kill -9 of a clone may leave a file as large as a disk, so the next command of any machine removes it, and
not only a command that makes the same file again.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pommel import locks
from pommel.errors import BusyError
from pommel.machine import folder
from pommel.machine.own_disks import all_disks
from pommel.paths import MachinePaths, is_aside, sweep_aside

# The suffix that mkstemp adds to a name (tempfile: eight of these), and what `copying` and `taking` add to it.
_ASIDE = r"\.(aside\.)?[a-z0-9_]{8}(\.log)?\Z"
# Written with the lock held, by `write_atomic` or as disks. The files of the console and the mesh are not here.
_OURS = re.compile(
    r"\.(machine\.json|moved\.json|run\.json|started\.json|adopt\.json|backups\.json|nvram\.fd|known_hosts|\.loading\.json|snapshot\.json"
    rf"|mac_hdd_ng\.img|OpenCore\.qcow2|disk-[a-z0-9_-]+\.qcow2){_ASIDE}"
)
DELETED = ".building.deleted"  # the suffix of a machine's folder that is being removed
_FOLDERS = ("", "ssh", "snapshots")


def sweep_machine(paths: MachinePaths) -> None:
    """Remove the files that killed commands left in the machine's folder, and beside a disk that is elsewhere.

    Call it with the machine's lock held, and not during work that itself has such a file.
    """
    for left in _left(paths):
        with contextlib.suppress(OSError):  # a folder without write permission: the next writer gets the error
            left.unlink()
    if locks.holder(paths.pidfile) is None:  # the pidfile stays, because it shows how the run ended
        for socket in (paths.qmp, paths.qmp_watch, paths.vnc, *paths.more_displays):
            with contextlib.suppress(OSError):
                socket.unlink()


def sweep_unfinished(machines: Path) -> None:
    """Remove machines whose making or deletion was killed.

    If the lock of one is held, by any process, somebody still works on it.
    """
    for name in sorted({found.group(1) for found in map(_BUILDING.match, _names(machines)) if found}):
        lock = machines / f".{name}.lock"
        if locks.ours(lock):
            continue
        with contextlib.suppress(BusyError, OSError), locks.hold(lock, busy="at work"):
            doomed = machines / f".{name}{DELETED}"
            if os.path.lexists(doomed):
                folder.finish_taking(doomed)
            sweep_aside(machines / name)
            if not os.path.lexists(machines / name):
                lock.unlink(missing_ok=True)  # as a whole deletion does: a throw-away machine's name never comes again


_BUILDING = re.compile(r"\.(.+)\.building\.[a-z0-9_]+(\.old)?\Z")


def _names(machines: Path) -> list[str]:
    try:
        return [path.name for path in machines.glob(".*.building.*") if is_aside(path)]
    except OSError:
        return []


def _left(paths: MachinePaths) -> Iterator[Path]:
    for inside in _FOLDERS:
        with contextlib.suppress(OSError):
            yield from (path for path in (paths.directory / inside).iterdir() if _OURS.match(path.name))
    for path in all_disks(paths):
        if path.is_symlink():
            real = Path(os.path.realpath(path))
            of_disk = re.compile(rf"\.{re.escape(real.name)}{_ASIDE}")
            with contextlib.suppress(OSError):
                yield from (each for each in real.parent.glob(".*") if of_disk.match(each.name))
