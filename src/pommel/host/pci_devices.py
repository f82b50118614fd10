"""The host's PCI devices from sysfs. Band: shell. It only reads, and no ROM."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pommel.host.cpu import read_cpu
from pommel.host.passthrough import Host, PciDevice

_IDS = (Path("usr/share/misc/pci.ids"), Path("usr/share/hwdata/pci.ids"), Path("var/lib/pciutils/pci.ids"))
_TEXT_MAX = 4096
_IDS_MAX = 8 << 20


def read_host(root: Path = Path("/")) -> Host:
    """Read the facts of the host below `root`, with sys, proc, dev and usr; missing files are left out."""
    folder = root / "sys/bus/pci/devices"
    found = {device.address: device for device in _devices(folder)}
    named = _names(root, found)
    devices = {address: _named(device, named) for address, device in found.items()}
    return Host(
        devices=devices,
        iommus=tuple(sorted(_listed(root / "sys/class/iommu"))),
        cmdline=_text(root / "proc/cmdline"),
        vendor=read_cpu().vendor,
        vfio_loaded=(root / "sys/module/vfio_pci").is_dir(),
        nodes=frozenset(
            group
            for group in {device.group for device in devices.values() if device.group is not None}
            if os.access(root / "dev/vfio" / str(group), os.R_OK | os.W_OK)
        ),
        memlock_bytes=_memlock(),
    )


def _devices(folder: Path) -> Iterator[PciDevice]:
    for name in sorted(_listed(folder)):
        place = folder / name
        numbers = [_number(place / part) for part in ("vendor", "device", "class")]
        if None in numbers:
            continue  # removed meanwhile, or an unknown format
        vendor, device, kind = (number or 0 for number in numbers)
        group = _link(place / "iommu_group")
        yield PciDevice(
            address=name,
            vendor=vendor,
            device=device,
            kind=kind,
            driver=_link(place / "driver"),
            group=int(group) if group is not None and group.isascii() and group.isdigit() else None,
            resets=tuple(_text(place / "reset_method").split())
            if (place / "reset_method").exists()
            else _no_reset(place),
            rom_bytes=_size(place / "rom"),
            boots=_text(place / "boot_vga").strip() == "1",
        )


def _no_reset(place: Path) -> tuple[str, ...] | None:
    """Kernels from 5.15 on have the file for each device that can be reset, and for no other."""
    told = any((sibling / "reset_method").exists() for sibling in place.parent.iterdir())
    return () if told else None


def _names(root: Path, devices: dict[str, PciDevice]) -> dict[tuple[int, int], str]:
    """The names of these devices in pci.ids; empty if there is no such file."""
    wanted = {(device.vendor, device.device) for device in devices.values()}
    for path in _IDS:
        with contextlib.suppress(OSError), (root / path).open(encoding="utf-8", errors="replace") as file:
            return dict(_matching(file.read(_IDS_MAX), wanted))
    return {}


def _matching(text: str, wanted: set[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], str]]:
    vendor, called = -1, ""
    for line in text.splitlines():
        if found := re.match(r"([0-9a-f]{4})  (.+)", line):
            vendor, called = int(found[1], 16), found[2]
        elif (found := re.match(r"\t([0-9a-f]{4})  (.+)", line)) and (key := (vendor, int(found[1], 16))) in wanted:
            yield key, f"{called} {found[2]}"


def _named(device: PciDevice, names: dict[tuple[int, int], str]) -> PciDevice:
    return replace(device, name=names.get((device.vendor, device.device), ""))


def _memlock() -> int | None:
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if soft == resource.RLIM_INFINITY or os.geteuid() == 0 else soft


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(_TEXT_MAX)
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_text(path), 16)
    except ValueError:
        return None


def _link(path: Path) -> str | None:
    try:
        return path.readlink().name
    except OSError:
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
