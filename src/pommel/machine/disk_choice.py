"""What `disk_file` and `upstream_drives` say. Band: core, no I/O.

own            a new disk of the machine's, in place of the boot script's
upstream       the disk that the boot script names, where it lies
own:NAME       the same two, where several drives could be the machine's: the one with this id or file
upstream:NAME
any other      a path: that disk, where it lies
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class WantedDisk:
    """The user's word on the machine's disk. `drive` names the boot script's drive whose place it takes."""

    kind: Literal["unsaid", "own", "upstream", "none", "path"]
    drive: str | None = None
    path: str | None = None


def wanted_disk(said: str | None) -> WantedDisk:
    """Read `disk_file`."""
    if said is None:
        return WantedDisk("unsaid")
    if said == "none":
        return WantedDisk("none")
    word, colon, drive = said.partition(":")
    if word in ("own", "upstream") and (not colon or drive):
        return WantedDisk("own" if word == "own" else "upstream", drive or None)
    return WantedDisk("path", path=said)
