"""Copies the disks of one moment out of a QEMU whose guest continues to run. Band: shell.

One transaction begins the copies of all disks and a new bitmap in each, so that all are of one moment and the changes
after it are recorded. The bitmap of the earlier point is only read, and is removed once the new point is complete: if
the backup is interrupted before, that bitmap is still correct. A guest's write to a cluster waits for its copy.

QEMU 7.2 would fail the guest's write if that copy cannot be made (block/copy-before-write.c), for example because the
target's drive was unplugged. So the target of a copy is a quorum of the file and of a null device, with a threshold of
one: the guest gets no error of the target. Afterwards the image itself is checked for completeness.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.errors import BuildError, MachineError, PommelError, StateError
from pommel.machine import backup_bitmaps, backup_store, disk, qmp
from pommel.machine.backup_bitmaps import GRANULARITY, Bitmap
from pommel.machine.qmp import Qmp
from pommel.progress import Progress, Report

_QMP_S = 120.0
_POLL_S, _SOON_S = 0.2, 0.01
_LATER = 1 / 8  # of the time waited so far: a small disk is copied in less than _POLL_S
_TRIES = 3
_MIB = 1 << 20
_SLACK_BYTES = 16 * _MIB
_PER_TABLE = 512 * _MIB  # the size that one table of a qcow2 image with clusters of 64 KiB covers
_JOB = "pommel-backup-"  # `backup_bitmaps.end_jobs` looks for it


@dataclass(frozen=True, slots=True)
class DiskSource:
    """A disk to copy: its name in the machine's folder, its file, its drive in QEMU, and its bitmaps.

    `remembers`: it can store a bitmap for the next backup. `alone`: it is a qcow2 image without a backing file, so
    missing clusters are zero and need not be written.
    """

    slot: str
    path: Path
    format: str
    node: str
    virtual_bytes: int
    remembers: bool
    bitmaps: dict[str, Bitmap]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class DiskCopy:
    """The copy of a disk: full (`bitmap` is None), or the changes in `bitmap` since the point `parent`."""

    source: DiskSource
    parent: str | None = None
    bitmap: str | None = None
    why_full: str = ""

    def room_bytes(self) -> int:
        """The maximum size of the copy."""
        tables = (self.source.virtual_bytes // _PER_TABLE + 2) * GRANULARITY
        if self.bitmap is not None:
            changed = self.source.bitmaps[self.bitmap].dirty_bytes
            return changed + changed // 512 + tables + _SLACK_BYTES
        words = ["measure", "--force-share", "--output=json", "-O", "qcow2", "-f", self.source.format]
        told = json.loads(disk.qemu_img(*words, str(self.source.path), timeout_s=3600.0))
        return int(told["required"]) + tables + _SLACK_BYTES


def sources(socket: Path, disks: Sequence[tuple[str, Path, str, str, bool]]) -> list[DiskSource]:
    """QEMU's information about disks: each is a slot, a file, a format, a drive, and whether it may get a bitmap.

    Call it after `snapshot_live.monitor_of`, which ends the jobs that a killed backup left.

    Raises:
        StateError: a disk is encrypted: QEMU would write it to the target decrypted.
    """

    async def work(monitor: Qmp) -> list[DiskSource]:
        found = []
        for slot, path, form, node, may in disks:
            nodes = await monitor.execute("query-named-block-nodes", {"flat": True})
            told = next(each for each in nodes if each["node-name"] == node)
            if told.get("encrypted") or told["image"].get("encrypted") or told["drv"] == "luks":
                raise StateError(
                    f"{path} is encrypted, but its backup would not be encrypted",
                    hint="copy the file itself while the machine is stopped",
                )
            size, alone = int(told["image"]["virtual-size"]), told["drv"] == "qcow2" and not told["backing_file_depth"]
            remembers = may and await backup_bitmaps.can_remember(monitor, node)
            bitmaps = await backup_bitmaps.of(monitor, node)
            found.append(DiskSource(slot, path, form, node, size, remembers, bitmaps, alone))
        return found

    return qmp.run(qmp.within(socket, _QMP_S, work))


def take(
    socket: Path,
    copies: Sequence[DiskCopy],
    into: Path,
    bitmap: str,
    nvram: Callable[[], bytes | None],
    report: Report,
) -> bytes | None:
    """Copy the disks into the folder `into` as they are at one moment; return the NVRAM of that moment.

    The disks that can store it have the bitmap `bitmap` from that moment on.

    Raises:
        BuildError: there is not enough space.
        MachineError: QEMU refuses, cannot read or write, or ends meanwhile. Everything begun is undone.
    """
    for copy in copies:
        _make_target(copy, into)
    ran = qmp.run(qmp.within(socket, _QMP_S, Qmp.status)) == "running"
    # A killed backup of the same second had the same point name; the point is removed, but its bitmaps may still exist.
    qmp.run(qmp.within(socket, _QMP_S, lambda monitor: _take_back(monitor, copies, bitmap)))
    try:
        for _ in range(_TRIES):
            before = nvram()
            qmp.run(qmp.within(socket, _QMP_S, lambda monitor: _begin(monitor, copies, into, bitmap)))
            if nvram() == before:  # unchanged before and after, so it was the same at the moment of the copy
                break
            qmp.run(qmp.within(socket, _QMP_S, lambda monitor: _take_back(monitor, copies, bitmap)))
        else:
            raise MachineError("the guest keeps changing the firmware's variables; try again in a moment")
        totals = _follow(socket, report)
    except BaseException:  # for Ctrl-C too
        with contextlib.suppress(PommelError):
            qmp.run(qmp.within(socket, _QMP_S, lambda monitor: _take_back(monitor, copies, bitmap, go_on=ran)))
        raise
    for number, copy in enumerate(copies):
        backup_store.release(into / copy.source.slot)
        _must_be_complete(copy, into, totals[f"{_JOB}{number}"])
    return before


def settle(socket: Path, copies: Sequence[DiskCopy], kept: Sequence[str]) -> None:
    """Remove all bitmaps of backups from the disks except `kept`."""

    async def work(monitor: Qmp) -> None:
        for copy in copies:
            names = await backup_bitmaps.of(monitor, copy.source.node)
            await backup_bitmaps.remove(monitor, copy.source.node, [name for name in names if name not in kept])

    qmp.run(qmp.within(socket, _QMP_S, work))


def _make_target(copy: DiskCopy, into: Path) -> None:
    target, words = into / copy.source.slot, []
    if copy.parent is not None:
        words = ["-b", f"../{copy.parent}/{copy.source.slot}", "-F", "qcow2"]
    room = copy.room_bytes()
    words = [*words, "-o", f"cluster_size={GRANULARITY}", str(target), str(copy.source.virtual_bytes)]
    # -u: do not open the backing file; its relative name is correct only in the point's final folder.
    disk.qemu_img("create", "-q", "-u", "-f", "qcow2", *words)
    target.chmod(0o600)
    backup_store.reserve(target, room)


async def _begin(monitor: Qmp, copies: Sequence[DiskCopy], into: Path, bitmap: str) -> None:
    actions: list[dict[str, Any]] = []
    for number, copy in enumerate(copies):
        job, node = f"{_JOB}{number}", copy.source.node
        file = {"driver": "file", "filename": str(into / copy.source.slot), "node-name": f"{_JOB}file-{number}"}
        opened = {"driver": "qcow2", "node-name": job, "backing": None, "detect-zeroes": "on", "file": file}
        await monitor.execute("blockdev-add", dict(opened))
        target = await _shielded(monitor, job, copy.source.virtual_bytes)
        if copy.source.remembers:
            told = {"node": node, "name": bitmap, "persistent": True, "granularity": GRANULARITY}
            actions.append({"type": "block-dirty-bitmap-add", "data": told})
        # "full" would write zeros for an hour for a large disk.
        how: dict[str, Any] = {"sync": "top" if copy.source.alone else "full"}
        if copy.bitmap is not None:
            how = {"sync": "bitmap", "bitmap": copy.bitmap, "bitmap-mode": "never"}
        told = {"job-id": job, "device": node, "target": target, "auto-dismiss": False, **how}
        actions.append({"type": "blockdev-backup", "data": told})
    await monitor.execute("transaction", {"actions": actions})


async def _shielded(monitor: Qmp, node: str, size: int) -> str:
    """Make a quorum over the drive `node` that hides its errors from the guest; return `node` if QEMU has no quorum."""
    nothing = {"driver": "null-co", "node-name": f"{node}-nothing", "size": size}
    both = {"driver": "quorum", "node-name": f"{node}-both", "vote-threshold": 1, "children": [node, f"{node}-nothing"]}
    try:
        await monitor.execute("blockdev-add", dict(nothing))
        await monitor.execute("blockdev-add", dict(both))
    except MachineError:  # RHEL's QEMU is built without quorum
        return node
    return f"{node}-both"


def _must_be_complete(copy: DiskCopy, into: Path, total: int) -> None:
    """Check that the image has each cluster that had to be copied, `total` bytes in all.

    Raises:
        BuildError: some clusters could not be written.
    """
    file = {"driver": "file", "filename": str(into / copy.source.slot)}
    image = json.dumps({"driver": "qcow2", "backing": None, "file": file})
    told = json.loads(disk.qemu_img("map", "--output=json", f"json:{image}", timeout_s=3600.0))
    there = sum(int(each["length"]) for each in told if each["present"])
    wanted = copy.source.virtual_bytes if copy.bitmap is None and not copy.source.alone else total
    # `total` may count the last cluster as a whole one, though the disk ends inside it.
    if there + -copy.source.virtual_bytes % GRANULARITY < wanted:
        raise BuildError(
            f"not all of {copy.source.slot} could be written to {into.parent}",
            hint="its drive was full or disconnected; connect it, then run the same command again",
        )


def _follow(socket: Path, report: Report) -> dict[str, int]:
    """Wait for the copies to end; return their sizes. It polls with short calls: others need the monitor too."""

    async def jobs(monitor: Qmp) -> list[dict[str, Any]]:
        return [job for job in await monitor.execute("query-jobs") if str(job["id"]).startswith(_JOB)]

    began_s = time.monotonic()
    while True:
        found = qmp.run(qmp.within(socket, _QMP_S, jobs))
        if not found:
            raise MachineError("QEMU has lost its copy jobs")
        for job in found:
            if job.get("error"):
                raise MachineError(f"a disk could not be copied; QEMU says: {job['error']}")
        done, total = (sum(int(job[key]) for job in found) for key in ("current-progress", "total-progress"))
        report(Progress("copy", "copying disks", done, max(total, 1), "B"))
        if all(job["status"] == "concluded" for job in found):
            qmp.run(qmp.within(socket, _QMP_S, backup_bitmaps.end_jobs))
            report(Progress("copy", "the disks are copied", finished=True))
            return {str(job["id"]): int(job["total-progress"]) for job in found}
        time.sleep(min(_POLL_S, max(_SOON_S, (time.monotonic() - began_s) * _LATER)))


async def _take_back(monitor: Qmp, copies: Sequence[DiskCopy], bitmap: str, *, go_on: bool = False) -> None:
    await backup_bitmaps.end_jobs(monitor)
    for copy in copies:
        if bitmap in await backup_bitmaps.of(monitor, copy.source.node):
            await backup_bitmaps.remove(monitor, copy.source.node, [bitmap])
    if go_on and await monitor.status() == "io-error":  # the guest's write waited for a copy that failed
        await monitor.execute("cont")
