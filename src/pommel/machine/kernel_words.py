"""What a guest's kernel says on its serial port when it cannot go on. Band: core, no I/O.

Linux names a panic ("Kernel panic - not syncing: …", kernel/panic.c) and a CPU that runs in the kernel and lets nothing
else run ("BUG: soft lockup - CPU#1 stuck for 22s!", kernel/watchdog.c, told again each 22 s or so). macOS names a panic
where its serial port is on ("panic(cpu 0 caller 0x…): …", osfmk/kern/debug.c).

A guest may write there what it likes: what is found is told to a person, and ends a wait, no more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_PANIC = re.compile(r"Kernel panic - not syncing: .{0,200}|panic\(cpu \d+ caller [^)]{0,40}\): .{0,200}")
_STUCK = re.compile(r"BUG: soft lockup - CPU#(\d+) stuck for \d{1,6}s!")
_BEGINS = re.compile(r"\] Linux version |^Darwin Kernel Version ")  # a kernel that boots: what was before is over
_TIMES = 3  # a CPU is stuck once where the host slept or was very busy, and goes on


class KernelWords:
    """Listens to a serial port, line by line."""

    def __init__(self) -> None:
        self._panic = ""
        self._stuck: Counter[str] = Counter()

    def hear(self, lines: Iterable[str]) -> None:
        """Take the next lines of the run."""
        for line in lines:
            if _BEGINS.search(line):
                self._panic = ""
                self._stuck.clear()
            elif found := _PANIC.search(line):
                self._panic = self._panic or found[0].strip()
            elif found := _STUCK.search(line):
                self._stuck[found[1]] += 1

    def hear_of_before(self, lines: Iterable[str]) -> None:
        """Take lines of which nobody knows how old they are: of those, a CPU that was stuck says nothing."""
        self.hear(lines)
        self._stuck.clear()

    @property
    def end(self) -> str:
        """What it said that ended it; "" while it said nothing of the kind."""
        stuck = (cpu for cpu, times in self._stuck.items() if times >= _TIMES)
        return self._panic or next((f"soft lockup - CPU#{cpu} is stuck" for cpu in stuck), "")
