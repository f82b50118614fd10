"""Disks and their controllers as elements. Band: core, no I/O."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from pommel.machine.commandline import Argument
from pommel.machine.libvirt.draft import Draft, lacks, other_keys, refused
from pommel.machine.libvirt.slots import driver_of, has_default_cd

_FILE_KEYS = ("id", "if", "file", "format", "snapshot", "readonly", "media", "index", "bus", "unit")
_DRIVER_KEYS = {"cache": "cache", "aio": "io", "discard": "discard", "detect-zeroes": "detect_zeroes"}
_DEVICE_KEYS = ("drive", "bus", "addr", "id", "bootindex", "rotation_rate", "serial", "unit")
_BUSES = {"ide-hd": "sata", "ide-cd": "sata", "virtio-blk-pci": "virtio"}
_TRANSIENT = "transient: libvirt puts its overlay beside the file, whose folder must be writable"
_PROBED = "no format is given: QEMU would look for it, libvirt would take raw"


class Storage:
    """Writes disks; `controllers` are the names of SATA controllers, the board's own first."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._controllers = ["ide"]
        self._names = {"sata": iter(_names("sd")), "virtio": iter(_names("vd"))}
        self._orders = iter(range(1, 1000))

    def write(self) -> None:
        """Write SATA controllers, then each disk that a `-device` shows.

        Raises:
            UsageError: a drive that QEMU would put somewhere by itself.
        """
        for device in list(self._draft.waiting("device")):
            if driver_of(device) in ("ich9-ahci", "ahci") and not other_keys(device, "id", "bus", "addr"):
                self._controller(device)
        has_order = any(device.sub.get("bootindex") for device in self._draft.line.find("device"))
        for device in list(self._draft.waiting("device")):
            if driver_of(device) in _BUSES:
                self._disk(device, has_order=has_order)
        for drive in self._draft.waiting("drive"):
            if drive.sub.get("if") == "virtio":
                raise refused(drive, "QEMU gives it a PCI slot by itself; say it with -device virtio-blk-pci")
        if has_default_cd(self._draft.line):
            disk = SubElement(self._draft.devices, "disk", type="file", device="cdrom")
            SubElement(disk, "target", dev=next(self._names["sata"]), bus="sata")
            SubElement(disk, "address", type="drive", controller="0", bus="0", target="0", unit="2")

    def _controller(self, device: Argument) -> None:
        index = len(self._controllers)
        self._controllers.append(device.sub.get("id") or f"sata{index}")
        element = SubElement(self._draft.devices, "controller", type="sata", index=str(index))
        self._draft.alias(element, device.sub.get("id"))
        self._draft.address(element, device)
        self._draft.element(device, f"controller[@type='sata'][@index='{index}']")

    def _disk(self, device: Argument, *, has_order: bool) -> None:
        drive = self._drive_of(device)
        if drive is None:
            return
        if why := self._why_raw(device, drive):
            self._stay_raw(device, drive, why)
            return
        bus = _BUSES[driver_of(device)]
        is_cd = driver_of(device) == "ide-cd"
        disk = SubElement(self._draft.devices, "disk", type="file", device="cdrom" if is_cd else "disk")
        words = {_DRIVER_KEYS[key]: value or "on" for key, value in drive.sub.pairs if key in _DRIVER_KEYS}
        SubElement(disk, "driver", {"name": "qemu", "type": drive.sub.get("format") or "raw", **words})
        if file := drive.sub.get("file"):
            SubElement(disk, "source", file=file)
        target = SubElement(disk, "target", dev=next(self._names[bus]), bus=bus)
        if rate := device.sub.get("rotation_rate"):
            target.set("rotation_rate", rate)
        if serial := device.sub.get("serial"):
            SubElement(disk, "serial").text = serial
        if drive.sub.is_on("readonly") or is_cd:
            SubElement(disk, "readonly")
        if drive.sub.is_on("snapshot"):
            SubElement(disk, "transient")
        order = device.sub.get("bootindex") if has_order else str(next(self._orders))
        if order is not None:
            SubElement(disk, "boot", order=order if not has_order else str(int(order) + 1))
        self._draft.alias(disk, device.sub.get("id"))
        self._place(disk, device, bus)
        where = f"disk[target/@dev='{target.get('dev')}']"
        self._draft.element(drive, where, _TRANSIENT if drive.sub.is_on("snapshot") else "")
        self._draft.element(device, where)

    def _place(self, disk: Element, device: Argument, bus: str) -> None:
        if bus == "virtio":
            self._draft.address(disk, device)
            return
        name, _, unit = (device.sub.get("bus") or "").rpartition(".")
        controller = self._controllers.index(name)
        SubElement(disk, "address", type="drive", controller=str(controller), bus="0", target="0", unit=unit)

    def _drive_of(self, device: Argument) -> Argument | None:
        wanted = device.sub.get("drive")
        return next((each for each in self._draft.waiting("drive") if each.sub.get("id") == wanted), None)

    def _why_raw(self, device: Argument, drive: Argument) -> str | None:
        if more := other_keys(drive, *_FILE_KEYS, *_DRIVER_KEYS) + other_keys(device, *_DEVICE_KEYS):
            return lacks(more)
        file = drive.sub.get("file")
        if drive.sub.get("format") is None and file is not None:
            return _PROBED
        if file is not None and not file.startswith("/"):
            return "its file has no absolute path"
        if (order := device.sub.get("bootindex")) is not None and not order.isdecimal():
            return "its place in the boot order is no number"
        if _BUSES[driver_of(device)] == "sata":
            name, _, unit = (device.sub.get("bus") or "").rpartition(".")
            if name not in self._controllers or not unit.isdecimal():
                return "its bus is none of the SATA controllers"
        return None

    def _stay_raw(self, device: Argument, drive: Argument, why: str) -> None:
        self._draft.raw(drive, why)
        self._draft.raw(device, why, raw_device(self._draft, device))


def raw_device(draft: Draft, device: Argument) -> tuple[str, str]:
    """Return the words of a device that stays raw: with its PCI address, and the domain's name of its bus."""
    sub = device.sub
    if bus := sub.get("bus"):
        sub = sub.with_value("bus", draft.bus_of(bus))
    if device in draft.slots:
        slot = draft.slots[device]
        sub = sub.with_value("bus", sub.get("bus") or "pcie.0").with_value("addr", slot.replace(".0x", "."))
    return (device.option, sub.render())


def _names(prefix: str) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [prefix + one for one in letters] + [prefix + one + other for one in letters for other in letters]
