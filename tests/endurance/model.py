"""What a machine should be: its disks, each at a moment, its snapshots, whether it sleeps. No tests here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MAIN, DATA = "mac_hdd_ng.img", "disk-upstream-data.qcow2"
AUTOMATIC = "before-load-"


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk: the moment that is written all over it, and how long it is as the guest sees it."""

    moment: int
    size: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A snapshot: the disks in it, the NVRAM's moment, the guest's count at least, whether memory is in it."""

    disks: Mapping[str, Disk]
    nvram: int
    count: int
    ram: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine. `count` is the least that its first disk may say. `external`: where its disk lies, if elsewhere."""

    disks: Mapping[str, Disk]
    nvram: int = 0
    count: int = 0
    saved: Mapping[str, Saved] = field(default_factory=dict)
    asleep: bool = False
    golden: bool = False
    base: str | None = None
    external: str | None = None
    running: bool = False

    def with_saved(self, tag: str, ram: bool) -> Machine:
        """As it is when it has been saved as `tag`."""
        return replace(self, saved={**self.saved, tag: Saved(self.disks, self.nvram, self.count, ram)})

    def without(self, tag: str) -> Machine:
        """As it is when the snapshot `tag` is deleted."""
        return replace(self, saved={each: what for each, what in self.saved.items() if each != tag})

    def back_at(self, tag: str) -> Machine:
        """As it is when `tag` has been loaded; disks that came later stay."""
        old = self.saved[tag]
        return replace(self, disks={**self.disks, **old.disks}, nvram=old.nvram, count=old.count)

    def with_disk(self, name: str, disk: Disk) -> Machine:
        """With another disk, or another state of one."""
        return replace(self, disks={**self.disks, name: disk})


Machines = dict[str, Machine]
