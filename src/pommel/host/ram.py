"""The host's memory, and how much of it is available to programs. Band: shell."""

from __future__ import annotations

import os
from pathlib import Path


def total_bytes() -> int:
    """The host's total memory, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """The memory available to programs, in bytes (proc_meminfo(5), MemAvailable); None: unknown."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return None
