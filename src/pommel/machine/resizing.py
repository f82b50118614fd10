"""Makes a disk larger, whether its machine runs or not. Band: shell.

Never smaller: the guest's data at the end would be lost, and no program of the host knows whether it is used. The
guest sees a longer disk, and must enlarge its own partition.
"""

from __future__ import annotations

from pathlib import Path

from pommel import locks
from pommel.errors import BuildError, StateError, UsageError
from pommel.machine import backup_bitmaps, disk, qmp
from pommel.machine.permission import RESIZED, working_on
from pommel.machine.qmp import Qmp
from pommel.machine.snapshot_live import node_of
from pommel.paths import MachinePaths

_SECTOR = 512
_QMP_S = 10.0


def resize(paths: MachinePaths, path: Path, size_bytes: int) -> disk.DiskInfo:
    """Make the disk `path` of machine `paths.name` `size_bytes` long for the guest.

    Raises:
        UsageError: it would become shorter, or the size is not a multiple of 512 bytes.
        StateError: there is no such disk, the machine runs without it, sleeps, is golden, or has linked clones.
        BusyError: another process works on the machine.
        BuildError, MachineError: qemu-img or QEMU refuses.
    """
    with working_on(paths, RESIZED):
        before = disk.info(path)
        _may_become(before, size_bytes)
        if size_bytes == before.virtual_bytes:
            return before
        if locks.holder(paths.pidfile) is None:
            disk.qemu_img("resize", "-q", "-f", before.format, disk.image(before.path, before.format), str(size_bytes))
        else:
            qmp.run(qmp.within(paths.qmp, _QMP_S, lambda monitor: _resize_live(monitor, path, size_bytes)))
    after = disk.info(path)
    if after.virtual_bytes != size_bytes:
        raise BuildError(f"{path.name} is {after.virtual_bytes} bytes long instead of {size_bytes}")
    return after


def _may_become(before: disk.DiskInfo, size_bytes: int) -> None:
    if size_bytes % _SECTOR:
        raise UsageError(f"a disk's size is a multiple of {_SECTOR} bytes, and {size_bytes} is not")
    if size_bytes < before.virtual_bytes:
        raise UsageError(
            f"{before.path.name} is {before.virtual_bytes} bytes long and cannot shrink: data of the guest at its end "
            "would be lost",
            hint="to free space on the host instead: pommel disk compact NAME",
        )


async def _resize_live(monitor: Qmp, path: Path, size_bytes: int) -> None:
    await backup_bitmaps.end_jobs(monitor)  # a killed backup's job leaves a filter that prevents the resize
    node = await node_of(monitor, path)
    if node is None:
        raise StateError(f"the machine runs, and {path.name} is not among its disks")
    await monitor.execute("block_resize", {"node-name": node, "size": size_bytes})
