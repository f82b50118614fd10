"""Determines whether macOS is installed on a machine. Band: shell.

It checks the size of the disk on the host, not its contents: this is fast, and possible while QEMU writes.
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
    """Whether macOS is on the machine's disk, and the reason: the user's mark, else the disk's growth."""
    if record.upstream == _TRIAL and record.base is not None:
        return True, "a trial machine is created with its system installed"
    if record.installed is None and not paths.disk.exists():
        return False, "it has no disk yet, so nothing is installed"
    return judge_installed(record.installed, grown_bytes(paths))


def grown_bytes(paths: MachinePaths) -> int:
    """The size on the host of the machine's disk and its backing files, less the RAM in its snapshots."""
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
    except PommelError:  # a snapshot is damaged, or was deleted just now: its size is unknown
        return 0
