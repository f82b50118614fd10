"""What was seen in the file of a drive. What this is not: a look, which `disk_contents` takes. Band: core, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MIB = 1 << 20
_BOOT_ONLY_MAX = 4096 * MIB  # a disk that holds nothing but a boot loader is smaller, and no macOS fits into it


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """One drive's file.

    `kind` says where its bytes are; `holds_data` is true for whatever is not surely empty. `loader` is the boot loader
    on its EFI system partition: OpenCore, Clover, or EFI for any other. `apple` is true for a disk with a partition of
    macOS on it. `problem` says why nothing more is known.
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
        """Whether it is too small for a system and has some boot loader."""
        return self.loader is not None and not self.apple and self.virtual_bytes <= _BOOT_ONLY_MAX


Facts = Mapping[str, DiskFacts]  # by absolute path
