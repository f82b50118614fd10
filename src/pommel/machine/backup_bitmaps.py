"""The dirty bitmaps in a machine's disks, which record the changes since a backup. Band: shell.

A persistent bitmap is stored in the qcow2 file and loaded by every QEMU and qemu-img that writes to it; after a QEMU
was killed, its bitmaps are marked as inconsistent. QEMU refuses to load an internal snapshot while a disk has a bitmap
("Device has active dirty bitmaps", block/snapshot.c), because the bitmap would not record this change. So loading a
snapshot removes the bitmaps, and the next backup is a full one. But if the disk has the same contents as the snapshot,
as when a sleeping machine wakes up, QEMU keeps the bitmaps in its memory meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import MachineError, PommelError
from pommel.machine import disk
from pommel.machine.backup_manifest import is_bitmap
from pommel.machine.qmp import Qmp

GRANULARITY = 65536
_ASIDE = "pommel-bitmaps-"
_JOB = "pommel-backup-"
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Bitmap:
    """One bitmap of a disk: the number of changed bytes, and whether it is valid."""

    name: str
    dirty_bytes: int
    usable: bool
    persistent: bool


async def of(monitor: Qmp, node: str) -> dict[str, Bitmap]:
    """The bitmaps of backups of the drive `node`, by name."""
    found = {}
    for each in await monitor.execute("query-named-block-nodes", {"flat": True}):
        if each["node-name"] != node:
            continue
        for told in each.get("dirty-bitmaps", []):
            if is_bitmap(name := str(told.get("name", ""))):
                usable = bool(told["recording"]) and not told.get("inconsistent", False) and not told["busy"]
                found[name] = Bitmap(name, int(told["count"]), usable, bool(told["persistent"]))
    return found


async def can_remember(monitor: Qmp, node: str) -> bool:
    """Whether the drive `node` can store a bitmap: it is a qcow2 image of version 3."""
    for each in await monitor.execute("query-named-block-nodes", {"flat": True}):
        if each["node-name"] == node and each["drv"] == "qcow2" and not each["ro"]:
            about = each.get("image", {}).get("format-specific", {}).get("data", {})
            return bool(about.get("compat") != "0.10")
    return False


async def remove(monitor: Qmp, node: str, names: Sequence[str]) -> None:
    """Remove bitmaps of a drive."""
    for name in names:
        await monitor.execute("block-dirty-bitmap-remove", {"node": node, "name": name})


async def end_jobs(monitor: Qmp) -> None:
    """Remove what a killed backup left in this QEMU: its jobs, and the drives of the files that it wrote."""
    while ours := [job for job in await monitor.execute("query-jobs") if str(job["id"]).startswith(_JOB)]:
        for job in ours:
            if job["status"] == "concluded":
                await monitor.execute("job-dismiss", {"id": job["id"]})
            else:
                with contextlib.suppress(MachineError):  # the job has just ended by itself
                    await monitor.execute("job-cancel", {"id": job["id"]})
        await asyncio.sleep(_POLL_S)
    for _ in range(2):  # two passes, because a later node in the list may still use an earlier one
        for each in await monitor.execute("query-named-block-nodes", {"flat": True}):
            if str(each["node-name"]).startswith(_JOB):
                with contextlib.suppress(MachineError):  # the file node below a format node is deleted with it
                    await monitor.execute("blockdev-del", {"node-name": each["node-name"]})


async def drop(monitor: Qmp, nodes: Sequence[str]) -> None:
    """Remove all bitmaps of backups from the drives, so that they can load a snapshot."""
    for node in nodes:
        await remove(monitor, node, list(await of(monitor, node)))


@contextlib.asynccontextmanager
async def laid_aside(monitor: Qmp, nodes: Sequence[str]) -> AsyncIterator[None]:
    """Remove the drives' bitmaps for the block and restore them after it; the drives' contents must not change.

    An error here only makes the next backup a full one.
    """
    kept: list[tuple[str, str, str]] = []
    for number, node in enumerate(nodes):
        names = [name for name, each in (await of(monitor, node)).items() if each.usable and each.persistent]
        with contextlib.suppress(MachineError):
            kept += await _lay(monitor, node, f"{_ASIDE}{number}", names)
    await drop(monitor, nodes)
    try:
        yield
    finally:
        with contextlib.suppress(PommelError):
            for node, aside, name in kept:
                told = {"node": node, "name": name, "persistent": True, "granularity": GRANULARITY}
                await monitor.execute("block-dirty-bitmap-add", dict(told))
                source = {"node": aside, "name": name}
                merged = {"node": node, "target": name, "bitmaps": [source]}
                try:
                    await monitor.execute("block-dirty-bitmap-merge", dict(merged))
                except MachineError:
                    await remove(monitor, node, [name])
        for aside in {aside for _, aside, _ in kept}:
            with contextlib.suppress(PommelError):
                await remove(monitor, aside, list(await of(monitor, aside)))
                await monitor.execute("blockdev-del", {"node-name": aside})


async def _lay(monitor: Qmp, node: str, aside: str, names: Sequence[str]) -> list[tuple[str, str, str]]:
    if not names:
        return []
    nodes = await monitor.execute("query-named-block-nodes", {"flat": True})
    size = next(int(each["image"]["virtual-size"]) for each in nodes if each["node-name"] == node)
    await monitor.execute("blockdev-add", {"driver": "null-co", "node-name": aside, "size": size, "read-zeroes": True})
    for name in names:
        told = {"node": aside, "name": name, "granularity": GRANULARITY}
        await monitor.execute("block-dirty-bitmap-add", dict(told))
        merged = {"node": aside, "target": name, "bitmaps": [{"node": node, "name": name}]}
        await monitor.execute("block-dirty-bitmap-merge", dict(merged))
    return [(node, aside, name) for name in names]


def drop_cold(path: Path) -> None:
    """Remove all bitmaps of backups from the disk `path` of a stopped machine.

    Raises:
        BuildError: qemu-img fails.
    """
    told = json.loads(disk.qemu_img("info", "--force-share", "--output=json", str(path)))
    about = told.get("format-specific", {}).get("data", {})
    for each in about.get("bitmaps", []) if told["format"] == "qcow2" else []:
        if is_bitmap(str(each["name"])):
            disk.qemu_img("bitmap", "--remove", "-f", "qcow2", disk.image(path), str(each["name"]))
