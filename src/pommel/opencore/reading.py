"""Reads OpenCore's configuration from a boot disk, by a copy of the image and without a mount. Band: shell."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pommel import process
from pommel.errors import CommandFailed, StateError
from pommel.opencore import config
from pommel.partition_table import Read, looks_like_fat, partitions

_BYTES_MAX = 4 << 30  # of the image as the guest sees it; upstream's has 384 MiB
_PLIST_MAX = 8 << 20
_ENTRIES_MAX = 128
ENV = {  # for mtools
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "MTOOLSRC": os.devnull,
    "MTOOLS_SKIP_CHECK": "1",
}
OPENCORE = "::/EFI/OC/config.plist"
_NAMES = (OPENCORE, "::/EFI/CLOVER/config.plist")


@dataclass(frozen=True, slots=True)
class FoundConfig:
    """A config.plist on a boot disk: its bytes, its name to mtools, where its file system begins (bytes)."""

    data: bytes
    name: str
    offset: int


def read_config(image: Path, *, image_format: str = "qcow2") -> dict[str, Any]:
    """The configuration on the boot disk `image`, which is not changed.

    Raises:
        StateError: there is none that can be reached.
        UpstreamError: it is not one of OpenCore's.
        MissingProgram: qemu-img or mtools are not installed.
    """
    with tempfile.TemporaryDirectory(prefix="pommel-boot-disk.") as scratch:
        found = find_config(image, Path(scratch) / "raw", image_format=image_format)
        return config.read(found.data, f"config.plist on {image.name}")


def find_config(image: Path, raw: Path, *, image_format: str) -> FoundConfig:
    """Copy `image` out to the raw disk `raw`, and find the configuration there.

    Raises:
        StateError: there is none that can be reached.
        MissingProgram: qemu-img or mtools are not installed.
    """
    process.which("mcopy", hint="install mtools")
    process.which("qemu-img", hint="install qemu-img (Debian: qemu-utils)")
    try:
        process.run(["qemu-img", "convert", "-f", image_format, "-O", "raw", image, raw], timeout_s=60.0)
    except CommandFailed as failure:
        raise StateError(f"{image} cannot be read: {failure.message}") from failure
    if (size := raw.stat().st_size) > _BYTES_MAX:
        raise StateError(f"{image} is too large for a boot disk")
    for offset in file_systems(partial(_read, raw), size):
        if (found := _copied(raw, offset)) is not None:
            return found
    raise StateError(f"{image.name} contains no readable EFI/OC/config.plist")


def numbers(configuration: Mapping[str, Any]) -> dict[str, str]:
    """What the Mac is told of itself: those of model, serial, mlb, uuid and rom that are there and no placeholder."""
    found: Any = configuration.get("PlatformInfo")
    generic = found.get("Generic") if isinstance(found, dict) else None
    if not isinstance(generic, dict):
        return {}
    keys = {"model": "SystemProductName", "serial": "SystemSerialNumber", "mlb": "MLB", "uuid": "SystemUUID"}
    said = {key: value for key, name in keys.items() if isinstance(value := generic.get(name), str) and value}
    if not re.search(r"[1-9a-fA-F]", said.get("uuid", "1")):
        del said["uuid"]  # all zeros: a placeholder
    rom = generic.get("ROM")
    digits = rom.hex() if isinstance(rom, bytes) else rom if isinstance(rom, str) else ""
    if re.fullmatch(r"[0-9a-fA-F]{12}", digits) and digits.strip("0"):
        said["rom"] = digits.upper()
    return said


def file_systems(read: Read, size: int) -> Iterator[int]:
    """Where in a disk of `size` bytes FAT file systems may begin: at its start, then at each partition of its table.

    Raises:
        StateError: its partition table is damaged.
    """
    if looks_like_fat(read(0, 512)):
        yield 0
    try:
        yield from (found.start for found in itertools.islice(partitions(read), _ENTRIES_MAX) if found.start < size)
    except ValueError as damaged:
        raise StateError(f"the boot disk cannot be read: {damaged}") from None


def _read(raw: Path, offset: int, count: int) -> bytes:
    if offset > _BYTES_MAX:
        return b""
    with raw.open("rb") as file:
        file.seek(offset)
        return file.read(count)


def _copied(raw: Path, offset: int) -> FoundConfig | None:
    out = raw.with_name(f"{raw.name}.config.plist")
    for name in _NAMES:
        try:
            process.run(["mcopy", "-n", "-i", f"{raw}@@{offset}", name, out], env=ENV, timeout_s=30.0)
        except CommandFailed:
            continue
        if out.is_file() and out.stat().st_size <= _PLIST_MAX:
            return FoundConfig(out.read_bytes(), name, offset)
    return None
