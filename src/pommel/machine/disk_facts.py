"""The result of an inspection of a drive's file; `disk_contents` makes it. Band: core, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MIB = 1 << 20
_BOOT_ONLY_MAX = 4096 * MIB  # a disk with only a boot loader is smaller, and macOS does not fit into it


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """One drive's file.

    `kind` is the place of its data; `holds_data` is true unless it is surely empty. `loader` is the boot loader on its
    EFI system partition: OpenCore, Clover, or EFI for any other. `apple` is true for a disk with a partition of macOS.
    `problem` is the reason why no more is known.
    """

    kind: Literal["missing", "file", "device", "network"]
    format: str | None = None
    virtual_bytes: int = 0
    holds_data: bool = False
    loader: Literal["OpenCore", "Clover", "EFI"] | None = None
    apple: bool = False
    problem: str = ""

    @property
    def boots_macs(self) -> bool:
        """Whether it is a boot disk of a hackintosh and not macOS's own disk."""
        return self.loader in ("OpenCore", "Clover") and not self.apple

    @property
    def only_boots(self) -> bool:
        """Whether it is too small for a system and has a boot loader."""
        return self.loader is not None and not self.apple and self.virtual_bytes <= _BOOT_ONLY_MAX


Facts = Mapping[str, DiskFacts]  # by absolute path
