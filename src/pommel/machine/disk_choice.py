"""The values of `disk_file` and `upstream_drives`. Band: core, no I/O.

own            a new disk of the machine, instead of the boot script's
upstream       the disk that the boot script names, at its path
own:NAME       the same two, if several drives could be the machine's: the one with this id or file
upstream:NAME
any other      a path: that disk, at its path
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class WantedDisk:
    """The user's choice of the machine's disk. `drive` names the drive of the boot script that it replaces."""

    kind: Literal["unsaid", "own", "upstream", "none", "path"]
    drive: str | None = None
    path: str | None = None


def wanted_disk(said: str | None) -> WantedDisk:
    """Parse `disk_file`."""
    if said is None:
        return WantedDisk("unsaid")
    if said == "none":
        return WantedDisk("none")
    word, colon, drive = said.partition(":")
    if word in ("own", "upstream") and (not colon or drive):
        return WantedDisk("own" if word == "own" else "upstream", drive or None)
    return WantedDisk("path", path=said)
