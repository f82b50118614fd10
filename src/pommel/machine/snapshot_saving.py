"""Saves a snapshot into the disks, of a running machine or a stopped one. Band: shell.

`snapshots` calls it with the machine's lock held, and with an incomplete folder for the copy of the NVRAM. After
a failure or Ctrl-C it removes its snapshots from the disks; `snapshots.recover` finds those that a kill -9 leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.errors import MachineError, PommelError, StateError
from pommel.machine import disk, qmp, snapshot_cold, snapshot_live, snapshot_store
from pommel.machine.qmp import Qmp
from pommel.machine.snapshot_live import Drives
from pommel.machine.snapshot_record import SLEEP_TAG, Snapshot
from pommel.paths import MachinePaths, write_atomic
from pommel.progress import Progress, Report
from pommel.tasks import together

_TICK_S = 0.5
_TRIES = 3
_SLACK_BYTES = 64 << 20
_FALLS_BACK = "without RAM, in the state after a power cut: "


@dataclass(frozen=True, slots=True)
class SnapshotWish:
    """A snapshot to save: its disks, whether with RAM (None: if possible), and the reason of an automatic one."""

    disks: tuple[Path, ...]
    live: bool | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """The saved snapshot."""

    disks: tuple[Path, ...]
    ram: bool
    nvram: bool
    ram_bytes: int = 0
    note: str = ""
    left_out: tuple[str, ...] = ()

    def record(self, tag: str, created: str) -> Snapshot:
        """Its record."""
        names = tuple(path.name for path in self.disks)
        return Snapshot(tag, created, names, self.ram, self.nvram, self.ram_bytes, self.note, self.left_out)


def save_cold(paths: MachinePaths, tag: str, wanted: SnapshotWish, aside: Path, report: Report) -> SavedSnapshot:
    """Save a stopped machine.

    Raises:
        StateError: RAM is requested; or a disk cannot have snapshots, or already has this one.
        BuildError: qemu-img fails.
    """
    if wanted.live:
        raise StateError(
            f"{paths.name} is not running: there is no RAM to save",
            hint=f"pommel start {paths.name}, or leave out --ram",
        )
    nvram = _keep_nvram(aside, paths, _nvram(paths))
    snapshot_cold.save(wanted.disks, tag)
    slept = _FALLS_BACK + "the machine sleeps, and its memory is already saved"
    note = _both(wanted.note, slept if SLEEP_TAG in snapshot_store.tags(paths) else "")
    return SavedSnapshot(wanted.disks, ram=False, nvram=nvram, note=note)


def save_live(paths: MachinePaths, tag: str, wanted: SnapshotWish, aside: Path, report: Report) -> SavedSnapshot:
    """Save a running machine.

    Raises:
        StateError: a disk is not among its drives, or already has this snapshot.
        MachineError: QEMU refuses; or RAM is requested and cannot be saved, and the message says why.
    """
    for path in wanted.disks:
        snapshot_cold.refuse(path, tag)
    try:
        return qmp.run(_save_live(paths, tag, wanted, aside, report))
    except BaseException:  # for Ctrl-C too: QEMU continues its job, so the tag may still be made
        with contextlib.suppress(PommelError):
            qmp.run(_take_out(paths, tag, wanted))
        raise


async def _save_live(paths: MachinePaths, tag: str, wanted: SnapshotWish, aside: Path, report: Report) -> SavedSnapshot:
    async with snapshot_live.monitor_of(paths) as monitor:
        await snapshot_live.settle(monitor)
        found = await snapshot_live.drives(monitor, wanted.disks, paths.nvram)
        why = "" if wanted.live is False else await _why_without_ram(monitor, found, paths)
        if wanted.live and why:
            hint = f"mend that; or pommel stop {paths.name}" if tag == SLEEP_TAG else "mend that, or leave out --ram"
            raise MachineError(f"{paths.name} cannot be saved with its RAM: {why}", hint=hint)
        for _ in range(_TRIES):
            before = _nvram(paths)
            with_ram = wanted.live is not False and not why
            if with_ram:
                why = await _try_ram(monitor, tag, found, wanted, report)
                with_ram = not why
            if not with_ram:
                await snapshot_live.save_disks(monitor, tag, found)
            if _nvram(paths) == before:  # unchanged before and after, so it was the same at the moment of the snapshot
                break
            await snapshot_live.delete(monitor, tag, found)
        else:
            raise MachineError("the guest keeps changing the firmware's variables; try again in a moment")
    nvram = _keep_nvram(aside, paths, before)
    size = disk.snapshot_tags(wanted.disks[0]).get(tag, 0)
    left_out = tuple(drive.label for drive in (*found.others, *found.discarding))
    note = _both(wanted.note, _FALLS_BACK + why if why else "")
    return SavedSnapshot(wanted.disks, with_ram, nvram, size, note, left_out)


def _both(why_there: str, why_without: str) -> str:
    """A snapshot's note: the reason of an automatic one, and why it has no RAM, if that is unexpected."""
    return "; ".join(filter(None, (why_there, why_without)))


async def _why_without_ram(monitor: Qmp, found: Drives, paths: MachinePaths) -> str:
    blockers = await snapshot_live.ram_blockers(monitor, found)
    if blockers:
        return "; ".join(blockers)
    takes = await snapshot_live.ram_bytes(monitor) + _SLACK_BYTES
    try:
        disk.check_room(_folder_of(paths.disk), takes)
    except PommelError as full:
        return full.message
    return ""


async def _try_ram(monitor: Qmp, tag: str, found: Drives, wanted: SnapshotWish, report: Report) -> str:
    """Save with RAM; return the reason why this was not possible, if that is not an error."""
    total = await snapshot_live.ram_bytes(monitor)
    try:
        await _with_progress(snapshot_live.save_with_ram(monitor, tag, found), wanted.disks[0], total, report)
    except MachineError as failure:
        if wanted.live:
            raise
        return failure.message
    return ""


async def _with_progress(work: Coroutine[Any, Any, None], grows: Path, most: int, report: Report) -> None:
    """Do `work` and report the growth of the file `grows` meanwhile."""
    begun = _blocks(grows)
    async with together() as tasks:
        task = tasks.create_task(work)
        while not task.done():
            written = max(0, _blocks(grows) - begun) * 512
            report(Progress("snapshot", "writing the guest's RAM", min(written, most), most, "B"))
            await asyncio.wait({task}, timeout=_TICK_S)


def _folder_of(path: Path) -> Path:
    """The folder of a disk's file; the disk may be a link to another drive."""
    return Path(os.path.realpath(path)).parent


def _blocks(path: Path) -> int:
    return path.stat().st_blocks


async def _take_out(paths: MachinePaths, tag: str, wanted: SnapshotWish) -> None:
    async with snapshot_live.monitor_of(paths) as monitor:
        await snapshot_live.settle(monitor)
        await snapshot_live.delete(monitor, tag, await snapshot_live.drives(monitor, wanted.disks, paths.nvram))


def _nvram(paths: MachinePaths) -> bytes | None:
    return paths.nvram.read_bytes() if paths.nvram.exists() else None


def _keep_nvram(aside: Path, paths: MachinePaths, data: bytes | None) -> bool:
    if data is None:
        return False
    write_atomic(aside / paths.nvram.name, data, mode=0o600)
    return True
