"""Whether macOS is installed on a machine. Band: shell.

Looks at the room its disk takes, not at what is in it: that can be told in an instant, and while QEMU writes.
"""

from __future__ import annotations

from pommel.errors import PommelError
from pommel.machine import snapshot_store
from pommel.machine.boot_choices import judge_installed
from pommel.machine.cloning import backing_of
from pommel.machine.record import MachineRecord
from pommel.machine.usage import disk_use
from pommel.paths import MachinePaths

_TRIAL = "trial"
_CHAIN_MAX = 16


def installed(paths: MachinePaths, record: MachineRecord) -> tuple[bool, str]:
    """Whether macOS is on the machine's disk, and how that is known: the user's word, else the disk's growth."""
    if record.upstream == _TRIAL:
        return True, "a trial machine is created with its system installed"
    if record.installed is None and not paths.disk.exists():
        return False, "it has no disk yet, so nothing is installed"
    return judge_installed(record.installed, grown_bytes(paths))


def grown_bytes(paths: MachinePaths) -> int:
    """What the machine's disk and those that it lies over take on the host, less the RAM that its snapshots hold."""
    total, path = 0, paths.disk
    for _ in range(_CHAIN_MAX):
        use = disk_use(path)
        total += use.actual_bytes if use else 0
        if (under := backing_of(path)) is None:
            break
        path = under
    return max(0, total - _ram_bytes(paths))


def _ram_bytes(paths: MachinePaths) -> int:
    try:
        return sum(snapshot_store.read(paths, tag).ram_bytes for tag in snapshot_store.tags(paths))
    except PommelError:  # damaged, or deleted just now: what it held is not known
        return 0
