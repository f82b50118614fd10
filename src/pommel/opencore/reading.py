"""OpenCore's configuration, read from a boot disk: the image is copied out, never mounted. Band: shell."""

from __future__ import annotations

import os
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pommel import process
from pommel.errors import CommandFailed, StateError
from pommel.opencore import config

_SECTOR = 512
_BYTES_MAX = 4 << 30  # of the image as the guest sees it; upstream's has 384 MiB
_PLIST_MAX = 8 << 20
_ENTRIES_MAX = 128
_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "MTOOLSRC": os.devnull,
    "MTOOLS_SKIP_CHECK": "1",
}
_NAMES = ("::/EFI/OC/config.plist", "::/EFI/CLOVER/config.plist")


def read_config(image: Path, *, image_format: str = "qcow2") -> dict[str, Any]:
    """The configuration on the boot disk `image`, which stays as it is.

    Raises:
        StateError: there is none that can be reached.
        UpstreamError: it is not one of OpenCore's.
        MissingProgram: qemu-img or mtools are not installed.
    """
    process.which("mcopy", hint="install mtools")
    process.which("qemu-img", hint="install qemu-img (Debian: qemu-utils)")
    with tempfile.TemporaryDirectory(prefix="pommel-boot-disk.") as scratch:
        raw, out = Path(scratch) / "raw", Path(scratch) / "config.plist"
        try:
            process.run(["qemu-img", "convert", "-f", image_format, "-O", "raw", image, raw], timeout_s=60.0)
        except CommandFailed as failure:
            raise StateError(f"{image} cannot be read: {failure.message}") from failure
        if raw.stat().st_size > _BYTES_MAX:
            raise StateError(f"{image} is larger than any boot disk")
        for offset in _file_systems(raw):
            if _copied(raw, offset, out):
                return config.read(out.read_bytes(), f"config.plist on {image.name}")
    raise StateError(f"{image.name} holds no EFI/OC/config.plist that can be reached")


def numbers(configuration: Mapping[str, Any]) -> dict[str, str]:
    """What the Mac is told of itself: those of model, serial, mlb, uuid and rom that are there and no placeholder."""
    found: Any = configuration.get("PlatformInfo")
    generic = found.get("Generic") if isinstance(found, dict) else None
    if not isinstance(generic, dict):
        return {}
    keys = {"model": "SystemProductName", "serial": "SystemSerialNumber", "mlb": "MLB", "uuid": "SystemUUID"}
    said = {key: value for key, name in keys.items() if isinstance(value := generic.get(name), str) and value}
    if not re.search(r"[1-9a-fA-F]", said.get("uuid", "1")):
        del said["uuid"]  # all zero: nobody's
    rom = generic.get("ROM")
    digits = rom.hex() if isinstance(rom, bytes) else rom if isinstance(rom, str) else ""
    if re.fullmatch(r"[0-9a-fA-F]{12}", digits) and digits.strip("0"):
        said["rom"] = digits.upper()
    return said


def _file_systems(raw: Path) -> Iterator[int]:
    """Where FAT file systems may begin: the whole disk, then the partitions of its table."""
    with raw.open("rb") as file:
        first = file.read(_SECTOR)
        if b"FAT" in first[54:62] or b"FAT" in first[82:90]:
            yield 0
        header = file.read(_SECTOR)
        if header[:8] == b"EFI PART":
            start, count, size = struct.unpack_from("<QII", header, 72)
            for number in range(min(count, _ENTRIES_MAX)):
                file.seek(start * _SECTOR + number * size)
                entry = file.read(128)
                if len(entry) == 128 and any(entry[:16]):
                    yield struct.unpack_from("<Q", entry, 32)[0] * _SECTOR
        elif first[510:512] == b"\x55\xaa":
            yield from (n * _SECTOR for n in struct.unpack_from("<" + "8xI4x" * 4, first, 446) if n)


def _copied(raw: Path, offset: int, out: Path) -> bool:
    for name in _NAMES:
        try:
            process.run(["mcopy", "-n", "-i", f"{raw}@@{offset}", name, out], env=_ENV, timeout_s=30.0)
        except CommandFailed:
            continue
        if out.is_file() and out.stat().st_size <= _PLIST_MAX:
            return True
    return False
