"""What is there after a kill, and whether that is what may be there. No tests here."""

from __future__ import annotations

import fnmatch
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pommel.app.machine import info, machines
from pommel.errors import PommelError
from pommel.machine import cloning, disk, permission, snapshot_store
from pommel.process import run as run_program

from .model import AUTOMATIC, DATA, MAIN, Machine, Machines
from .world import MOMENT_AT, MOMENT_BYTES, NVRAM_BYTES, POOL, World

_ALIVE = ("running", "paused", "starting", "installing")
# What a record names, or the running of a machine: by machine, by home. Locks stay, since their files are the locks.
_OF_MACHINE = (
    "machine.json", "ssh/id_ed25519", "ssh/id_ed25519.pub", "run.json", "started.json", "ended.json", "*.log",
    "console.json", "console.lock", "console.viewers",
)  # fmt: skip
_OF_HOME = (".pommel-home", "ports.lock", "machines/.?.lock")
_COPY_S = 60.0
_CONSOLE_S = 20.0


class Loss(Exception):
    """Something is not as it may be."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a disk holds: the guest's count, its mark of a mix, and the moment."""

    count: int
    marked: bool
    moment: int


def told_truth(world: World) -> None:
    """See that list, status and info tell what is there.

    Raises:
        Loss: one does not.
    """
    pids = {name: world.qemu(name) for name in world.home.names()}
    try:
        listed = {each.name: each for each in machines.list_machines(workspace=world.workspace)}
    except Exception as failure:
        raise Loss(f"list fails: {failure!r}") from failure
    uuids = []
    for name, pid in pids.items():
        try:
            seen = machines.status(name, workspace=world.workspace)
            told = info.info(name, workspace=world.workspace)
        except Exception as failure:
            raise Loss(f"status or info of {name} fails: {failure!r}") from failure
        steady = world.qemu(name) == pid  # else it ended while we looked, and either may be told
        for each in (listed[name], seen) if steady else ():
            if (each.state in _ALIVE) != (pid is not None) or each.pid != pid:
                raise Loss(f"{name} is said to be {each.state} (pid {each.pid}), and its QEMU is {pid}")
            if each.state in ("broken", "absent"):
                raise Loss(f"{name} is {each.state}: {each.detail}")
        if seen.url and world.console(name) is None:
            raise Loss(f"{name} is said to have a console, and has none")
        uuids.append(told["identity"]["uuid"])
    if len(set(uuids)) != len(uuids):
        raise Loss("two machines have one identity")


def content(world: World, path: Path) -> Content:
    """Read a disk whole, through what it lies over.

    Raises:
        Loss: two moments are in it.
    """
    raw = world.root / "raw"
    run_program(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], timeout_s=_COPY_S)
    data = raw.read_bytes()
    moments = {byte for at in MOMENT_AT for byte in set(data[at : at + MOMENT_BYTES])}
    if len(moments) != 1:
        raise Loss(f"{path.name} is a mix of the moments {sorted(moments)}")
    return Content(struct.unpack_from("<I", data, 512)[0], any(data[1024:1536]), moments.pop())


def shape(world: World, name: str) -> tuple[set[str], dict[str, int], set[str], bool]:
    """A machine's snapshots, its disks' sizes, automatic snapshots, whether it sleeps."""
    paths = world.machine(name)
    tags = set(snapshot_store.tags(paths)) - {"asleep"}
    automatic = {tag for tag in tags if tag.startswith(AUTOMATIC)}
    files = [paths.disk, *sorted(paths.directory.glob("disk-*.qcow2"))]
    sizes = {path.name: disk.header(path).virtual_bytes for path in files if path.exists()}
    return tags - automatic, sizes, automatic, permission.sleeps(paths)


def differs(world: World, wanted: Machines) -> str | None:
    """How what is there differs from `wanted`, but for what is inside the disks; None: not at all."""
    if (there := set(world.home.names())) != set(wanted):
        return f"there are the machines {sorted(there)}, not {sorted(wanted)}"
    for name, machine in wanted.items():
        tags, sizes, _, asleep = shape(world, name)
        kept = world.workspace._stored_record(name)
        base = cloning.backing_of(world.machine(name).disk)
        for what, found, should in (
            ("snapshots", tags, {tag for tag in machine.saved if not tag.startswith(AUTOMATIC)}),
            ("disks", set(sizes), set(machine.disks)),
            ("sleeps", asleep, machine.asleep),
            ("golden", kept.golden if kept else None, machine.golden),
            ("linked", base is not None, machine.base is not None),
            ("named in its record", kept.name if kept else None, name),
        ):
            if found != should:
                return f"{name}: {what}: {found}, not {should}"
        if not machine.running and sizes != {each: disk.size for each, disk in machine.disks.items()}:
            return f"{name}: sizes: {sizes}"
    return None


def whole(world: World, name: str, machine: Machine) -> int:
    """See that a machine that does not run is of one moment, and that its disks are sound; return the guest's count.

    Raises:
        Loss: it is not.
    """
    paths = world.machine(name)
    found = {}
    seen = _unchanged(world, name, machine)
    if seen in world.judged:
        return world.judged[seen]
    for each, wanted in machine.disks.items():
        path = paths.directory / each
        if (size := disk.header(path).virtual_bytes) != wanted.size:
            raise Loss(f"{name}: {each} is {size} bytes long, not {wanted.size}")
        checked = disk.check(path)
        if not checked.sound:
            raise Loss(f"{name}: {each} is damaged: {checked.detail}")
        tags = {tag for tag in snapshot_store.tags(paths) if each in snapshot_store.read(paths, tag).disks}
        if (inside := set(disk.snapshot_tags(path))) != tags:
            raise Loss(f"{name}: {each} holds the snapshots {sorted(inside)}, and the records say {sorted(tags)}")
        found[each] = content(world, path)
        if found[each].moment != wanted.moment:
            raise Loss(f"{name}: {each} is of the moment {found[each].moment}, not {wanted.moment}")
    if found[MAIN].marked:
        raise Loss(f"{name}: its guest found memory and disk of two moments")
    if machine.count > found[MAIN].count:
        raise Loss(f"{name}: the guest had counted to {machine.count}, and the disk says {found[MAIN].count}")
    if DATA in found and found[MAIN].count - found[DATA].count not in (0, 1):
        raise Loss(f"{name}: the disks are of two moments: {found[MAIN].count} and {found[DATA].count}")
    if (nvram := _nvram(paths.nvram)) != machine.nvram:
        raise Loss(f"{name}: the NVRAM is of the moment {nvram}, not {machine.nvram}")
    world.judged[seen] = found[MAIN].count
    return found[MAIN].count


def _unchanged(world: World, name: str, machine: Machine) -> tuple[object, ...]:
    """What a judgement depends on: the files themselves, whatever they are called, and what they should hold."""
    paths, stats = world.machine(name), []
    for each in (*machine.disks, paths.nvram.name):
        path: Path | None = paths.directory / each
        while path is not None and path.exists():
            found = path.stat()
            stats.append((found.st_ino, found.st_size, found.st_mtime_ns))
            path = cloning.backing_of(path)
    saved = tuple(sorted((tag, tuple(snapshot_store.read(paths, tag).disks)) for tag in snapshot_store.tags(paths)))
    return (
        tuple(stats),
        saved,
        tuple(sorted((each, wanted.moment, wanted.size) for each, wanted in machine.disks.items())),
        machine.nvram,
        machine.count,
    )


def strays(world: World, wanted: Machines) -> list[str]:
    """The files of the home that nothing names."""
    found = []
    for path in _files(world.home.root):
        text = str(path.relative_to(world.home.root))
        if any(fnmatch.fnmatchcase(text, pattern) for pattern in _OF_HOME) or text.startswith("upstream/"):
            continue
        parts = path.relative_to(world.home.root).parts
        if parts[0] == "machines" and parts[1] in wanted:
            if _named("/".join(parts[2:]), wanted[parts[1]], world, parts[1]):
                continue
        elif parts[0] == "run" and len(parts) > 1 and world.qemu(parts[1]) is not None:
            continue
        found.append(text)
    links = (path for name in wanted for path in world.machine(name).directory.iterdir() if path.is_symlink())
    owned = {os.path.realpath(path) for path in links}
    return [*found, *(str(path) for path in world.drive.iterdir() if str(path) not in owned)]


def orphans(world: World, grace_s: float = 1.0) -> list[str]:
    """The processes that outlive a command without being a machine's QEMU or console."""
    import time

    began = time.monotonic()
    deadline = began + grace_s
    while (left := world.strangers()) and time.monotonic() < deadline:
        if any(" --serve" in each for each in left):  # a console that is coming up: it ends, or holds its lock soon
            deadline = max(deadline, began + _CONSOLE_S)
        time.sleep(0.02)
    return left


def sources_whole(world: World, folder: Path, name: str, gone_ok: bool) -> None:
    """See that the disk that was adopted is whole in one of its two places.

    Raises:
        Loss: it is not.
    """
    there = folder / "disk.qcow2"
    if there.exists():
        content(world, there)
    elif not gone_ok or not world.machine(name).disk.exists():
        raise Loss(f"the adopted disk {there} is gone")


def _named(text: str, machine: Machine, world: World, name: str) -> bool:
    if text in machine.disks or any(fnmatch.fnmatchcase(text, pattern) for pattern in _OF_MACHINE):
        return True
    if text == "nvram.fd":
        return machine.nvram > 0
    if text == "moved.json":
        return any((world.machine(name).directory / each).is_symlink() for each in machine.disks)
    if text == "qemu.pid":
        return True  # of one that lives, or that crashed, which the next start notes
    tags = {*machine.saved, *(("asleep",) if machine.asleep else ())}
    return any(text in (f"snapshots/{tag}/snapshot.json", f"snapshots/{tag}/nvram.fd") for tag in tags)


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        yield from (Path(where) / name for name in files)
        # A folder without anything in it, whose name says that it was in the making.
        yield from (Path(where) / name for name in folders if ".building." in name)


def _nvram(path: Path) -> int:
    if not path.exists():
        return 0
    data = path.read_bytes()
    if len(data) != NVRAM_BYTES or len(set(data)) != 1:
        raise Loss(f"{path} is a mix of moments")
    return data[0]


__all__ = ["POOL", "Content", "Loss", "PommelError"]
