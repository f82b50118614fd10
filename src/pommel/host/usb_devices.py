"""The host's USB devices from sysfs, and the programs that use them. Band: shell. It opens no device."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pommel.host.usb import Holder, UsbDevice

_DEVICE = re.compile(r"(\d{1,3})-([\d.]+)\Z")  # no root hub (usb1), no interface (1-2:1.0)
_HUB = "09"
_TEXT_MAX = 4096
_MUXERS = ("usbmuxd", "usbfluxd")
_OCTAL = re.compile(r"\\([0-7]{3})")


def read_devices(root: Path = Path("/")) -> tuple[UsbDevice, ...]:
    """The devices below `root`, with sys, dev and proc, by their places; hubs are left out."""
    folder = root / "sys/bus/usb/devices"
    mounts, opened = _mounts(root), _opened(root)
    found = (_device(root, folder / name, mounts, opened) for name in _listed(folder) if _DEVICE.match(name))
    there = [each for each in found if each is not None]
    return tuple(sorted(there, key=lambda each: (each.bus, [int(part) for part in each.port.split(".")])))


def muxers(root: Path = Path("/")) -> tuple[str, ...]:
    """Those of usbmuxd and usbfluxd that are running."""
    running = {_text(root / "proc" / pid / "comm") for pid in _listed(root / "proc") if pid.isdigit()}
    return tuple(each for each in _MUXERS if each in running)


def _device(
    root: Path, place: Path, mounts: dict[str, list[str]], opened: dict[str, tuple[Holder, ...]]
) -> UsbDevice | None:
    numbers = [_number(place / part, 16) for part in ("idVendor", "idProduct")]
    numbers += [_number(place / part, 10) for part in ("busnum", "devnum")]
    if None in numbers or _text(place / "bDeviceClass") == _HUB:
        return None  # removed meanwhile, or a hub
    vendor, product, bus, number = (each or 0 for each in numbers)
    interfaces = [place / name for name in sorted(_listed(place)) if name.startswith(f"{place.name}:")]
    node = f"/dev/bus/usb/{bus:03d}/{number:03d}"
    words = [_text(place / part) for part in ("manufacturer", "product")]
    if words[0] and words[1].casefold().startswith(words[0].casefold()):
        words = words[1:]
    return UsbDevice(
        path=place.name,
        vendor=vendor,
        product=product,
        bus=bus,
        port=place.name.partition("-")[2],
        node=node,
        speed_mbps=_speed(place / "speed"),
        name=" ".join(filter(None, words)),
        serial=_text(place / "serial"),
        drivers=tuple(dict.fromkeys(filter(None, map(_driver, interfaces)))),
        may_open=os.access(root / node.lstrip("/"), os.R_OK | os.W_OK),
        mounted=tuple(where for disk in _disks(interfaces) for where in mounts.get(disk, ())),
        holders=opened.get(os.path.realpath(root / node.lstrip("/")), ()),
    )


def _disks(interfaces: list[Path]) -> Iterator[str]:
    """The disks of the interfaces, with partitions and volumes on them, below /dev, such as sdb1 or mapper/backup."""
    for interface in interfaces:
        for block in interface.glob("host*/target*/*/block/*"):
            for part in (block, *(block / name for name in _listed(block) if (block / name / "partition").exists())):
                yield part.name
                for volume in _listed(part / "holders"):
                    yield from (volume, f"mapper/{_text(part / 'holders' / volume / 'dm/name')}")


def _mounts(root: Path) -> dict[str, list[str]]:
    """The mount points of each block device, by its name (proc(5), mounts: blanks are written as \\040)."""
    found: dict[str, list[str]] = {}
    for line in _whole(root / "proc/self/mounts").splitlines():
        words = line.split(" ")
        if len(words) > 1 and words[0].startswith("/dev/"):
            spelled = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), words[1])
            found.setdefault(words[0].removeprefix("/dev/"), []).append(spelled)
    return found


def _opened(root: Path) -> dict[str, tuple[Holder, ...]]:
    """The programs, as far as this user can see them, that have a USB device open, by the device's file."""
    found: dict[str, tuple[Holder, ...]] = {}
    folder = os.path.realpath(root / "dev/bus/usb") + "/"
    for pid in filter(str.isdigit, _listed(root / "proc")):
        for fd in _listed(root / "proc" / pid / "fd"):
            with contextlib.suppress(OSError):
                target = str((root / "proc" / pid / "fd" / fd).readlink())
                if target.startswith(folder):
                    holder = Holder(int(pid), _text(root / "proc" / pid / "comm"))
                    found[target] = tuple(dict.fromkeys((*found.get(target, ()), holder)))
    return found


def _driver(interface: Path) -> str | None:
    with contextlib.suppress(OSError):
        return (interface / "driver").readlink().name
    return None


def _speed(path: Path) -> float:
    try:
        return float(_text(path))
    except ValueError:
        return 0.0


def _number(path: Path, base: int) -> int | None:
    try:
        return int(_text(path), base)
    except ValueError:
        return None


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _text(path: Path) -> str:
    """One line of text; a device can report any characters, and they are shown on terminals."""
    text = _whole(path)[:_TEXT_MAX].strip()
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _whole(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
