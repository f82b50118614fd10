"""Finds the messages of a guest's kernel on its serial port when it cannot continue. Band: core, no I/O.

Linux reports a panic ("Kernel panic - not syncing: …", kernel/panic.c), and a CPU that stays in the kernel and blocks
all other work ("BUG: soft lockup - CPU#1 stuck for 22s!", kernel/watchdog.c, repeated about every 22 s). macOS reports
a panic if its serial port is on ("panic(cpu 0 caller 0x…): …", osfmk/kern/debug.c).

A guest can write any text there: a found message is shown to a person and ends a wait, but nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_PANIC = re.compile(r"Kernel panic - not syncing: .{0,200}|panic\(cpu \d+ caller [^)]{0,40}\): .{0,200}")
_STUCK = re.compile(r"BUG: soft lockup - CPU#(\d+) stuck for \d{1,6}s!")
# A kernel that boots: earlier messages are no longer valid.
_BEGINS = re.compile(r"\] Linux version |^Darwin Kernel Version ")
_TIMES = 3  # one soft lockup may come from a sleeping or very busy host, and the CPU continues


class KernelWords:
    """Reads the lines of a serial port."""

    def __init__(self) -> None:
        self._panic = ""
        self._stuck: Counter[str] = Counter()

    def hear(self, lines: Iterable[str]) -> None:
        """Read the next lines of the run."""
        for line in lines:
            if _BEGINS.search(line):
                self._panic = ""
                self._stuck.clear()
            elif found := _PANIC.search(line):
                self._panic = self._panic or found[0].strip()
            elif found := _STUCK.search(line):
                self._stuck[found[1]] += 1

    def hear_of_before(self, lines: Iterable[str]) -> None:
        """Read lines of unknown age: in these, a stuck CPU is ignored."""
        self.hear(lines)
        self._stuck.clear()

    @property
    def end(self) -> str:
        """The message of the kernel's end; "" if there was none."""
        stuck = (cpu for cpu, times in self._stuck.items() if times >= _TIMES)
        return self._panic or next((f"soft lockup - CPU#{cpu} is stuck" for cpu in stuck), "")
