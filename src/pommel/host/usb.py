"""USB devices of this host: the obstacles to passing one to a guest, and the udev rule for it. Band: core, no I/O.

`usb_devices` reads the facts from sysfs. Sources: the kernel's Documentation/ABI/stable/sysfs-bus-usb, udev(7),
libirecovery's list of modes (include/libirecovery.h), usbmuxd's udev rules (39-usbmuxd.rules).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]
RULES = "etc/udev/rules.d/70-pommel-usb.rules"  # before 73-seat-late.rules, which uses the results of earlier ones
HEADER = "# Written by `pommel usb permit`: USB devices that a user may attach to machines.\n"
APPLE = 0x05AC
# An iPhone or iPad has another product number in each mode: 1290 to 12af in normal mode, 1280 to 1283 in recovery,
# 1222 and 1227 in DFU. A restore goes through all of them, and each change looks like a replug.
_RUNNING, _OTHER = range(0x1290, 0x12B0), (0x1280, 0x1281, 0x1282, 0x1283, 0x1222, 0x1227)
_MOBILE_GLOB = "12[289a][0-9a-f]"
_HID = "usbhid"


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that has a device open."""

    pid: int
    program: str


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """One USB device, not a hub. `path` is the kernel's name of its place, such as 1-2.3; `speed_mbps` is in Mb/s.

    `drivers` are the kernel's for its interfaces, `node` is its file in /dev, and `may_open` whether this user may open
    it. `mounted` are the mount points of its disks, `holders` the programs of this user that have it open.
    """

    path: str
    vendor: int
    product: int
    bus: int
    port: str
    node: str
    speed_mbps: float = 0.0
    name: str = ""
    serial: str = ""
    drivers: tuple[str, ...] = ()
    may_open: bool = False
    mounted: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()

    @property
    def ids(self) -> str:
        """Vendor and product, such as 05ac:12a8."""
        return f"{self.vendor:04x}:{self.product:04x}"

    @property
    def is_mobile(self) -> bool:
        """Whether it is an iPhone, an iPad or an iPod touch, in any mode."""
        return is_mobile(self.vendor, self.product)

    def __str__(self) -> str:
        return f"{self.path} {self.name or self.ids}"


@dataclass(frozen=True, slots=True)
class UsbFinding:
    """One fact of a device, with a command if something must be done."""

    name: str
    level: Level
    text: str
    fix: str | None = None


def is_mobile(vendor: int, product: int) -> bool:
    """Whether the ids are an iPhone's, an iPad's or an iPod touch's, in any mode."""
    return vendor == APPLE and (product in _RUNNING or product in _OTHER)


def found(devices: Iterable[UsbDevice], vendor: int, product: int, bus: int, port: str) -> tuple[UsbDevice, ...]:
    """The devices that match; 0 and "" match any."""
    return tuple(
        each
        for each in devices
        if vendor in (0, each.vendor)
        and product in (0, each.product)
        and bus in (0, each.bus)
        and port in ("", each.port)
    )


def followed(devices: Iterable[UsbDevice], vendor: int, product: int) -> UsbDevice | None:
    """The only connected iPhone or iPad, in any mode, if `vendor` and `product` are an iPhone's or iPad's.

    None also if several could be meant. Its place stays the same through all modes.
    """
    if not is_mobile(vendor, product):
        return None
    there = [each for each in devices if each.is_mobile]
    same = [each for each in there if each.product == product]
    other = [each for each in there if each.product in _OTHER]
    wanted = same or other
    return wanted[0] if len(wanted) == 1 else None


def named(devices: Iterable[UsbDevice], text: str) -> tuple[UsbDevice, ...]:
    """The devices whose name contains `text`, in any case, or whose serial number it is."""
    small = text.casefold().strip()
    return tuple(
        each for each in devices if small and (small in each.name.casefold() or small == each.serial.casefold())
    )


def findings(device: UsbDevice, muxers: Sequence[str] = (), *, ours: int | None = None) -> Iterator[UsbFinding]:
    """The obstacles. `muxers` are running programs that use iPhones; `ours` is a QEMU that may have it."""
    for place in device.mounted:
        yield UsbFinding("disk", "fail", f"this host has its disk mounted at {place}", f"umount {_quoted(place)}")
    if not device.may_open:
        text = f"you have no permission to open {device.node}"
        yield UsbFinding("rights", "fail", text, f"pommel usb permit {device.ids}")
    if device.is_mobile and "usbmuxd" in muxers:
        text = (
            "usbmuxd runs on this host and uses every iPhone; this iPhone can be used by usbmuxd or by the "
            "guest, not by both"
        )
        fix = "sudo systemctl mask --now usbmuxd   (to undo: sudo systemctl unmask usbmuxd); then attach it again"
        yield UsbFinding("usbmuxd", "warn", text, fix)
    if device.is_mobile and "usbfluxd" in muxers:
        text = "usbfluxd runs on this host: it shares iPhones over the network, and does not see those of a guest"
        yield UsbFinding(
            "usbfluxd", "warn", text, "sudo pkill usbfluxd; or use the iPhone with usbfluxd, and detach it here"
        )
    for holder in device.holders:
        if holder.pid != ours:
            text = f"{holder.program} (pid {holder.pid}) has it open"
            yield UsbFinding("program", "warn", text, "end that program, or detach the device from that machine")
    if _HID in device.drivers:
        yield UsbFinding(
            "input", "warn", "a keyboard or mouse of this host: only the guest can use it while it is attached"
        )


def rule(vendor: int, product: int, bus: int, port: str, uid: int) -> str:
    """The udev rule that lets the user `uid` open the matching devices; an iPhone in every mode."""
    if port:
        which = f'KERNEL=="{bus}-{port}"'
    else:
        product_glob = _MOBILE_GLOB if is_mobile(vendor, product) else f"{product:04x}"
        which = f'ATTR{{idVendor}}=="{vendor:04x}", ATTR{{idProduct}}=="{product_glob}"'
    return f'ACTION!="remove", SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", {which}, OWNER="{uid}"'


def with_rules(before: str, rules: Iterable[str]) -> str:
    """The file's text with these rules added; existing lines stay."""
    lines = before.splitlines() or [HEADER.rstrip("\n")]
    lines += [each for each in dict.fromkeys(rules) if each not in lines]
    return "\n".join(lines) + "\n"


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'" if not path.replace("/", "").isalnum() else path
