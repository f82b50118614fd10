"""Measures a machine's use of its host: CPU, memory, disk. Band: shell.

It reads /proc and file headers, starts no program and asks no QEMU, so that a list of fifty machines is fast. The
calculations (`between`, `since_start`) are pure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pommel.machine import disk

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 512  # st_blocks (inode(7))


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One sample of a process: its time (seconds since boot), the process's start, CPU seconds used, memory used."""

    at_s: float
    began_s: float
    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """CPU in percent of one core (two busy cores: 200) and memory used."""

    cpu_percent: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class DiskUse:
    """One disk: its length for the guest (None: its header is damaged), and its size on the host."""

    path: Path
    virtual_bytes: int | None
    actual_bytes: int
    linked: bool = False
    snapshots: int = 0
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class TrimReport:
    """How much of a disk could be freed. `guest_bytes` is the guest's own use, if the guest was asked."""

    virtual_bytes: int
    actual_bytes: int
    guest_bytes: int | None
    reclaimable_bytes: int | None
    advice: str


def sample_process(pid: int) -> ProcessSample | None:
    """Sample process `pid`; None if it does not exist, or is a zombie."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    if fields is None or fields[0] in "ZX":
        return None
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return ProcessSample(now, int(fields[19]) / _TICKS, _cpu_s(fields), int(fields[21]) * _PAGE)


def between(before: ProcessSample, after: ProcessSample) -> ProcessUse:
    """The use between two samples; if the pid belongs to another process by now, the use since that one's start."""
    passed = after.at_s - before.at_s
    if before.began_s != after.began_s or passed <= 0:
        return since_start(after)
    return ProcessUse(max(0.0, after.cpu_s - before.cpu_s) / passed * 100, after.rss_bytes)


def since_start(sample: ProcessSample) -> ProcessUse:
    """The use over the whole life of the process."""
    lived = max(sample.at_s - sample.began_s, 1 / _TICKS)
    return ProcessUse(sample.cpu_s / lived * 100, sample.rss_bytes)


def disk_use(path: Path) -> DiskUse | None:
    """Inspect the disk `path`, which a running QEMU may write to; None if it does not exist."""
    try:
        actual = path.stat().st_blocks * _BLOCK
    except OSError:
        return None
    try:
        header = disk.header(path)
    except (OSError, ValueError):
        return DiskUse(path, None, actual)
    linked = header.backing is not None
    return DiskUse(path, header.virtual_bytes, actual, linked, header.snapshots, header.crypt != 0)


def trim_report(use: DiskUse, guest_bytes: int | None = None) -> TrimReport:
    """How much a compact could free; `guest_bytes` is the use of the guest's file systems, if the guest was asked."""
    virtual = use.virtual_bytes or 0
    if guest_bytes is None:
        advice = "it is unknown how much of it the guest uses; check while the machine runs"
        return TrimReport(virtual, use.actual_bytes, None, None, advice)
    spare = max(0, use.actual_bytes - guest_bytes)
    if spare <= use.actual_bytes // 10:
        advice = "it is about as large as the guest's data: nothing can be freed"
    else:
        first = "delete its snapshots, which use some of it, " if use.snapshots else ""
        advice = (
            first
            + "pommel disk compact, while a Linux guest runs; for a Mac: type `sudo trimforce enable` in it, then "
            "stop it first"
        )
    return TrimReport(virtual, use.actual_bytes, guest_bytes, spare, advice)


def thread_cpu_s(pid: int, threads: Iterable[int]) -> float | None:
    """The CPU seconds that these threads of `pid` have needed, each counted once; None if they are out of reach.

    Needed is used plus waited: on a busy host a thread that never rests may get a tenth of a core (schedstat,
    Documentation/scheduler/sched-stats.rst). If the kernel does not count the waiting, it is only the used time.
    """
    found = [_wanted_s(Path(f"/proc/{pid}/task/{thread}")) for thread in set(threads)]
    return sum(seconds for seconds in found if seconds is not None) if None not in found else None


def _wanted_s(thread: Path) -> float | None:
    try:
        ran_ns, waited_ns = (int(word) for word in (thread / "schedstat").read_text().split()[:2])
    except (OSError, ValueError):
        fields = _stat(thread / "stat")
        return _cpu_s(fields) if fields else None
    return (ran_ns + waited_ns) / 1e9


def _stat(path: Path) -> list[str] | None:
    """A process's or thread's numbers, from field 3 on (proc_pid_stat(5)); None: it has ended."""
    try:
        return path.read_text(errors="replace").rpartition(")")[2].split()  # the name before may contain any character
    except OSError:
        return None


def _cpu_s(fields: list[str]) -> float:
    return (int(fields[11]) + int(fields[12])) / _TICKS
