"""The owner of a throw-away machine, and whether it still runs. Band: shell.

A throw-away machine has a lease in its folder before the folder gets its name. The lease is held by a lock beside the
folder (`lock_of`), which the kernel releases when the holder dies. Or it names a process, if no process of ours lives
as long as the machine. Once nobody holds the lease, the next command removes the machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pommel import json_file
from pommel.handles import start_ticks
from pommel.paths import Home, MachinePaths

FILE = "lease.json"
POOL = "pool"  # the purpose of a started machine in the pool that waits for a user
_LOCK = re.compile(r"\.(.+)\.lease\Z")


@dataclass(frozen=True, slots=True)
class Lease:
    """The owner of a throw-away machine. `base` is the machine that it was cloned from, `purpose` is its purpose.

    If a process holds it: the process's pid, its start in clock ticks, the host's boot id, and the latest end of the
    lease (seconds since 1970; None: the end of the process). `job` is the number of a CI system's job, if the machine's
    name does not contain it.
    """

    base: str
    purpose: str
    pid: int | None = None
    ticks: int | None = None
    boot: str | None = None
    until: float | None = None
    job: int | None = None


def of_process(base: str, purpose: str, pid: int, lasts_s: float | None = None, *, job: int | None = None) -> Lease:
    """A lease that process `pid` holds, for at most `lasts_s` seconds; None: until the process ends."""
    until = time.time() + lasts_s if lasts_s is not None else None
    return Lease(base, purpose, pid, start_ticks(pid), _boot(), until, job)


def lock_of(paths: MachinePaths) -> Path:
    """The lock of the lease; it is beside the machine's folder, because it is made before the folder."""
    return paths.directory.with_name(f".{paths.name}.lease")


def write(directory: Path, lease: Lease) -> None:
    """Write the lease into a machine's folder."""
    json_file.write(directory / FILE, asdict(lease))


def read(paths: MachinePaths) -> Lease | None:
    """The machine's lease; None: it is not a throw-away machine."""
    return read_in(paths.directory)


def read_in(directory: Path) -> Lease | None:
    """The lease of the machine with this folder; None: there is none."""
    if not (directory / FILE).is_file():
        return None
    return json_file.read_or(directory / FILE, lambda told: Lease(**told), Lease("?", "?"))


def forget(paths: MachinePaths) -> None:
    """Make the machine an ordinary one."""
    (paths.directory / FILE).unlink(missing_ok=True)


def is_held_by_process(paths: MachinePaths) -> bool:
    """Whether the machine's lease names a process that still lives, and has not expired."""
    lease = read(paths)
    if lease is None or lease.pid is None or lease.ticks is None:
        return False
    if lease.until is not None and time.time() >= lease.until:
        return False
    return lease.boot == _boot() and start_ticks(lease.pid) == lease.ticks


def candidates(home: Home) -> Iterator[MachinePaths]:
    """The throw-away machines, and those of which a killed command has left only the lock."""
    try:
        entries = sorted(home.machines.iterdir())
    except OSError:
        return
    for entry in entries:
        if (entry / FILE).is_file() and not entry.name.startswith("."):
            yield home.machine(entry.name)
        elif (found := _LOCK.match(entry.name)) and not entry.with_name(found[1]).exists():
            yield home.machine(found[1])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
