"""USB devices as the kernel lays them out in /sys, /dev and /proc: below a root of the test's own. No tests here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plugged:
    """One device as its folder in /sys has it; `disks` are the block devices of its first interface."""

    path: str
    number: int
    ids: str
    maker: str = ""
    product: str = ""
    serial: str = ""
    speed: str = "480"
    kind: str = "00"
    drivers: tuple[str | None, ...] = (None,)
    disks: tuple[str, ...] = ()


ROOT_HUB = Plugged("usb1", 1, "1d6b:0002", "Linux 6.1.0 xhci-hcd", "xHCI Host Controller", "0000:00:14.0", kind="09")
HUB = Plugged("1-2", 4, "05e3:0610", "GenesysLogic", "USB2.1 Hub", kind="09", drivers=("hub",))
IPHONE = Plugged("1-2.3", 7, "05ac:12a8", "Apple Inc.", "iPhone", "00008030001", drivers=("usbfs", None, None))
STICK = Plugged(
    "2-1", 2, "0781:5581", "SanDisk", " SanDisk Ultra", "4C53", "5000", drivers=("usb-storage",), disks=("sdb", "sdb1")
)
KEY = Plugged("1-10", 9, "1050:0407", "Yubico", "YubiKey OTP+FIDO+CCID", speed="12", drivers=("usbhid", "usbhid", None))
DESK = (ROOT_HUB, HUB, IPHONE, STICK, KEY)


def tree(root: Path, devices: tuple[Plugged, ...] = DESK, *, mounts: str = "", running: tuple[str, ...] = ()) -> Path:
    """A root folder with these devices, these lines of /proc/mounts, and programs that run."""
    for each in devices:
        _device(root, each)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(mounts)
    for number, program in enumerate(running):
        (root / f"proc/{900 + number}").mkdir()
        (root / f"proc/{900 + number}/comm").write_text(program + "\n")
    return root


def unplug(root: Path, each: Plugged) -> None:
    """Take a device out of the tree: the kernel's folder of it goes, whatever was in there."""
    (root / "sys/bus/usb/devices" / each.path / "idVendor").unlink()


def _device(root: Path, each: Plugged) -> None:
    place = root / "sys/bus/usb/devices" / each.path
    place.mkdir(parents=True, exist_ok=True)
    bus = int(each.path.removeprefix("usb").partition("-")[0])
    vendor, _, product = each.ids.partition(":")
    said = {"idVendor": vendor, "idProduct": product, "busnum": str(bus), "devnum": str(each.number)}
    said |= {"speed": each.speed, "bDeviceClass": each.kind}
    said |= {"manufacturer": each.maker, "product": each.product, "serial": each.serial}
    for name, text in said.items():
        if text:
            (place / name).write_text(f"{text}\n")
    for number, driver in enumerate(each.drivers):
        interface = place / f"{each.path}:1.{number}"
        interface.mkdir(exist_ok=True)
        if driver:
            (interface / "driver").symlink_to(f"../../../../bus/usb/drivers/{driver}")
    if each.disks:
        block = place / f"{each.path}:1.0/host6/target6:0:0/6:0:0:0/block/{each.disks[0]}"
        for part in each.disks[1:]:
            (block / part).mkdir(parents=True)
            (block / part / "partition").write_text("1\n")
    node = root / f"dev/bus/usb/{bus:03d}/{each.number:03d}"
    node.parent.mkdir(parents=True, exist_ok=True)
    node.write_bytes(b"")
