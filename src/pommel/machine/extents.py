"""The places of a stopped machine's data in the files of its disks, as qemu-img reports them. Band: shell.

So a disk can be read at full speed without QEMU, with all its backing files. This module does not read the data. The
output's format: qemu-img(1), `map`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.machine import disk

_LONG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes of the guest's disk from `start` on; they are in the file number `file` at offset `at`."""

    start: int
    length: int
    file: int
    at: int


@dataclass(frozen=True, slots=True)
class Extents:
    """A disk's data, in order; the rest is zeros. `files` are the image and its backing files."""

    virtual_bytes: int
    files: tuple[Path, ...]
    parts: tuple[Extent, ...]


def extents(path: Path, form: str) -> Extents | None:
    """The places of the data of the disk `path`; `form` is its format. None: only QEMU can read the data.

    This is the case if they are compressed or encrypted, or in a separate data file.

    Raises:
        StateError: it does not exist.
        BuildError, MissingProgram: qemu-img cannot read it.
    """
    chain: list[dict[str, Any]] = json.loads(
        disk.qemu_img("info", "-U", "--backing-chain", "--output=json", "-f", form, str(path))
    )
    for part in chain:
        about = part.get("format-specific", {}).get("data", {})
        is_other = part["format"] not in ("qcow2", "raw") or part.get("encrypted") or about.get("data-file")
        if is_other or not Path(part["filename"]).exists():  # a filename may be a description, as json:{…}
            return None
    told: list[dict[str, Any]] = json.loads(
        disk.qemu_img("map", "-U", "--output=json", "-f", form, str(path), timeout_s=_LONG_S)
    )
    parts = []
    for each in told:
        if not each["data"] or each["zero"]:
            continue
        if "offset" not in each or each["depth"] >= len(chain):
            return None
        parts.append(Extent(each["start"], each["length"], each["depth"], each["offset"]))
    return Extents(chain[0]["virtual-size"], tuple(Path(part["filename"]) for part in chain), tuple(parts))
