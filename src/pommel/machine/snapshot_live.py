"""Snapshots by a running QEMU, over QMP. Band: shell.

With RAM: the jobs snapshot-save, -load and -delete (since QEMU 6.0), with an explicit list of drives. By default, and
with `-loadvm`, QEMU takes all writable drives and fails at the NVRAM, which is raw. The NVRAM is not needed: its flash
device has it in memory, so it is part of the RAM, and is written to its file when the loaded guest continues.
Without RAM: all disks at one instant by a transaction, as after a power failure. Drives that discard writes
(`snapshot=on`) end with their QEMU.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.errors import MachineError, StateError
from pommel.machine import backup_bitmaps, disk, qmp, usb_plug
from pommel.machine.qmp import Qmp
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, warn

_HELLO_S = 2.0
_LONG_S = 900.0  # QEMU does not answer while it writes RAM
_POLL_S = 0.05
_JOB = "pommel-snapshot"
_NINE_P = re.compile(
    r"VirtFS export path '(?P<folder>.*)' is mounted in the guest using mount_tag '(?P<tag>.*)'"
)  # 9p.c


@dataclass(frozen=True, slots=True)
class WritableDrive:
    """A drive that the guest can write to: QEMU's name for it, its file, and its internal snapshots."""

    node: str
    label: str
    file: Path | None
    tags: tuple[str, ...]
    discards: bool = False


@dataclass(frozen=True, slots=True)
class Drives:
    """A running machine's drives: its disks in the requested order, and other writable ones, kept or discarding."""

    disks: tuple[WritableDrive, ...]
    others: tuple[WritableDrive, ...]
    discarding: tuple[WritableDrive, ...]

    @property
    def nodes(self) -> list[str]:
        """QEMU's names for the disks."""
        return [drive.node for drive in self.disks]


@contextlib.asynccontextmanager
async def monitor_of(paths: MachinePaths) -> AsyncIterator[Qmp]:
    """Connect for long work: the first answer must come soon, later ones may take long.

    The machine's lock is held, so a backup's jobs here are left from a killed one, and are cancelled: such a job has
    a filter between a disk and its drive.
    """
    await qmp.query_status(paths.qmp, timeout_s=_HELLO_S)
    async with qmp.connect(paths.qmp, timeout_s=_LONG_S) as monitor:
        await backup_bitmaps.end_jobs(monitor)
        yield monitor


async def drives(monitor: Qmp, disks: Sequence[Path], nvram: Path) -> Drives:
    """Find `disks` among the running machine's drives.

    Raises:
        StateError: one is missing, or its writes are discarded.
    """
    found = [drive async for drive in _writable(monitor)]
    own = {file: next((d for d in found if _is(d.file, file) and not d.discards), None) for file in disks}
    for file, drive in own.items():
        if drive is None:
            raise StateError(
                f"the running machine does not save its writes to {file.name}: it is not among its disks, or its "
                "writes are discarded"
            )
    taken = [drive for drive in own.values() if drive is not None]
    rest = [d for d in found if d not in taken and not _is(d.file, nvram)]
    return Drives(tuple(taken), tuple(d for d in rest if not d.discards), tuple(d for d in rest if d.discards))


async def node_of(monitor: Qmp, file: Path) -> str | None:
    """QEMU's name for the drive that writes to `file`; None: there is none."""
    async for drive in _writable(monitor):
        if _is(drive.file, file) and not drive.discards:
            return drive.node
    return None


async def attached(monitor: Qmp, files: Sequence[Path]) -> list[Path]:
    """The `files` that the running machine writes to."""
    return [file for file in files if await node_of(monitor, file) is not None]


async def ram_blockers(monitor: Qmp, found: Drives) -> list[str]:
    """The reasons why RAM cannot be saved, some in QEMU's words; empty: no reason is known."""
    told = (await monitor.execute("query-migrate")).get("blocked-reasons", [])
    others = [f"the drive {drive.label} is writable and is not one of the machine's disks" for drive in found.others]
    # QEMU 7.2 aborts when it writes RAM into an encrypted qcow2 image, and the guest's unsaved work is gone.
    sealed = [
        f"{d.file.name} is encrypted, and QEMU cannot write memory into it"
        for d in found.disks
        if d.file and disk.is_encrypted(d.file)
    ]
    # The device would not be in its saved state: the guest sees an unplug, and a QEMU without it cannot load the
    # snapshot.
    plugged = [
        f"it has the USB device {each.match} of this host (pommel usb detach)" for each in await usb_plug.held(monitor)
    ]
    return [*(said(str(each)) for each in told), *sealed, *others, *plugged]


def said(blocker: str) -> str:
    """The reason why memory cannot be saved, in our words if we know a remedy."""
    if (found := _NINE_P.search(blocker)) is None:
        return blocker
    return (
        f"its guest has {found['folder']} mounted by 9p, as {found['tag']}: it is unmounted a minute after nobody is "
        "at work in it, or at once by `umount` there"
    )


async def ram_bytes(monitor: Qmp) -> int:
    """The size of the guest's RAM."""
    told = await monitor.execute("query-memory-size-summary")
    return int(told["base-memory"]) + int(told.get("plugged-memory", 0))


async def save_with_ram(monitor: Qmp, tag: str, found: Drives) -> None:
    """Save disks, RAM and devices as `tag`; the guest is paused meanwhile and continues afterwards.

    Raises:
        MachineError: QEMU refuses or fails, and says why.
    """
    await _job(monitor, "snapshot-save", {"tag": tag, "vmstate": found.nodes[0], "devices": found.nodes})


async def save_disks(monitor: Qmp, tag: str, found: Drives) -> None:
    """Save the disks as `tag`, all at one instant or none.

    Raises:
        MachineError: QEMU refuses.
    """
    kind = "blockdev-snapshot-internal-sync"
    actions = [{"type": kind, "data": {"device": node, "name": tag}} for node in found.nodes]
    await monitor.execute("transaction", {"actions": actions})


async def load_with_ram(monitor: Qmp, tag: str, found: Drives, *, same: bool = False, report: Report = ignore) -> None:
    """Restore disks, RAM and devices from `tag`; a guest that ran continues from there.

    The disks' records of changes since a backup are removed, unless the disks are the `same` as the snapshot's. A
    warning names the drives that no longer write through.

    Raises:
        MachineError: QEMU refuses, or failed half-way: then the guest is unusable and paused.
    """
    through = await _writing_through(monitor)
    if same:
        async with backup_bitmaps.laid_aside(monitor, found.nodes):
            await _load(monitor, tag, found)
    else:
        await backup_bitmaps.drop(monitor, found.nodes)
        await _load(monitor, tag, found)
    # After a load, QEMU's IDE disks (and so AHCI's) use the write cache that they report to their guest (ide_identify,
    # ide_drive_post_load: hw/ide/core.c), and QEMU does not allow turning it off while they are in use.
    if lost := sorted(through - await _writing_through(monitor)):
        warn(
            report,
            f"QEMU no longer writes through to {', '.join(lost)}, because it has loaded the machine's memory: data "
            "that the guest has not flushed is lost if QEMU or this host fails. To change that, restart the machine",
        )


async def _writing_through(monitor: Qmp) -> set[str]:
    """The drives that report a write as done only when it is on the host's disk (cache=writethrough)."""
    told = await monitor.execute("query-block")
    blocks = [block for block in told if block.get("inserted")]
    return {
        str(block.get("device") or block.get("qdev"))
        for block in blocks
        if not block["inserted"].get("cache", {}).get("writeback", True)
    }


async def _load(monitor: Qmp, tag: str, found: Drives) -> None:
    await _job(monitor, "snapshot-load", {"tag": tag, "vmstate": found.nodes[0], "devices": found.nodes})


async def delete(monitor: Qmp, tag: str, found: Drives) -> None:
    """Delete `tag` from the disks; a disk without it is no error.

    Raises:
        MachineError: QEMU refuses.
    """
    await _job(monitor, "snapshot-delete", {"tag": tag, "devices": found.nodes})


async def settle(monitor: Qmp) -> tuple[str, str] | None:
    """Wait for the job of a killed Pommel, and dismiss it: its kind and its error ("": none). None: no job."""
    while (job := await _find(monitor)) is not None:
        if job["status"] == "concluded":
            await monitor.execute("job-dismiss", {"id": _JOB})
            return str(job["type"]), str(job.get("error", ""))
        await asyncio.sleep(_POLL_S)
    return None


async def _job(monitor: Qmp, command: str, arguments: dict[str, object]) -> None:
    await settle(monitor)
    await monitor.execute(command, {"job-id": _JOB, **arguments})
    ended = await settle(monitor)
    if ended is not None and ended[1]:
        raise MachineError(f"QEMU says: {ended[1]}")


async def _find(monitor: Qmp) -> dict[str, Any] | None:
    jobs: list[dict[str, Any]] = await monitor.execute("query-jobs")
    return next((job for job in jobs if job["id"] == _JOB), None)


async def _writable(monitor: Qmp) -> AsyncIterator[WritableDrive]:
    for block in await monitor.execute("query-block"):
        inserted = block.get("inserted")
        if not inserted or inserted["ro"] or "node-name" not in inserted:
            continue
        file = _file(str(inserted.get("file", "")))
        tags = tuple(str(kept["name"]) for kept in inserted.get("image", {}).get("snapshots", []))
        label = block.get("device") or block.get("qdev") or inserted["node-name"]
        # QEMU removes the name of a discarding drive's file as soon as it has it open (block.c, BDRV_O_TEMPORARY).
        yield WritableDrive(inserted["node-name"], str(label), file, tags, file is not None and not file.exists())


def _file(told: str) -> Path | None:
    """The file of a drive. QEMU names it directly or, if it was opened with more options, inside a JSON text."""
    if not told.startswith("json:"):
        return Path(told) if told.startswith("/") else None
    part: Any = json.loads(told.removeprefix("json:"))
    while isinstance(part, dict) and "filename" not in part:
        part = part.get("file")
    return Path(part["filename"]) if isinstance(part, dict) else None


def _is(one: Path | None, other: Path) -> bool:
    return one is not None and one.exists() and other.exists() and one.samefile(other)
