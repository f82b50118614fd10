"""USB devices of this host for a guest: the syntax of the setting, and QEMU's options. Band: core, no I/O.

A device is written as `05ac:12a8` (vendor and product) or as `1-2.3` (bus 1, port 3 of the hub in port 2), the kernel's
name of its place. QEMU's `usb-host` accepts both, looks for the device itself, and attaches it again after a replug
(hw/usb/host-libusb.c). `host.usb` finds whether it is plugged in, and who uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pommel.machine.commandline import CommandLine
from pommel.machine.keyed import Keyed

DRIVER = "usb-host"
PREFIX = "pommel-usb-"
_ID = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})\Z", re.IGNORECASE)
_PATH = re.compile(r"([1-9]\d{0,2})-([1-9]\d{0,2}(?:\.[1-9]\d{0,2}){0,6})\Z")
_OWN_ID = re.compile(r"(?:([0-9a-f]{4})-([0-9a-f]{4})|(\d{1,3}-[\d.]+))\Z")
# PCI ids of QEMU's controllers (include/hw/pci/pci.h, pci_ids.h), their names on the command line, and their Mb/s.
CONTROLLERS: tuple[tuple[str, int | None, float], ...] = (
    ("qemu-xhci", 0x1B36_000D, 5000),
    ("nec-usb-xhci", 0x1033_0194, 5000),
    ("usb-ehci", 0x8086_24CD, 480),
    ("ich9-usb-ehci1", 0x8086_293A, 480),
    ("ich9-usb-ehci2", 0x8086_293C, 480),
    ("ich9-usb-uhci1", 0x8086_2934, 12),
    ("ich9-usb-uhci2", 0x8086_2935, 12),
    ("ich9-usb-uhci3", 0x8086_2936, 12),
    ("ich9-usb-uhci4", 0x8086_2937, 12),
    ("ich9-usb-uhci5", 0x8086_2938, 12),
    ("ich9-usb-uhci6", 0x8086_2939, 12),
    ("piix3-usb-uhci", 0x8086_7020, 12),
    ("piix4-usb-uhci", 0x8086_7112, 12),
    ("vt82c686b-usb-uhci", 0x1106_3038, 12),
    ("pci-ohci", 0x106B_003F, 12),
)
_SPEEDS = {name: mbps for name, _, mbps in CONTROLLERS}
_BY_PCI = {ids: name for name, ids, _ in CONTROLLERS}
_USB_CLASS = 0x0C03  # PCI: serial bus, USB


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """A device by vendor and product, by bus and port, or by some of both. 0 and "" match any."""

    vendor: int = 0
    product: int = 0
    bus: int = 0
    port: str = ""

    def __str__(self) -> str:
        ids = f"{self.vendor:04x}:{self.product:04x}" if self.product else f"{self.vendor:04x}:*"
        place = f"{self.bus}-{self.port}"
        if not self.vendor:
            return place
        return f"{ids} in {place}" if self.port else ids

    @property
    def device_id(self) -> str:
        """QEMU's id of the device for this match."""
        return PREFIX + str(self).replace(":", "-")

    def properties(self) -> dict[str, object]:
        """The properties of `usb-host`."""
        told = {"vendorid": self.vendor, "productid": self.product, "hostbus": self.bus, "hostport": self.port}
        return {key: value for key, value in told.items() if value}

    def render(self) -> str:
        """The same on a command line."""
        spelled = {key: f"0x{value:04x}" if key.endswith("id") else value for key, value in self.properties().items()}
        return ",".join(f"{key}={value}" for key, value in spelled.items())


@dataclass(frozen=True, slots=True)
class Controller:
    """One USB controller of a machine. `bus` is its bus, empty if only QEMU knows its name."""

    name: str
    bus: str
    mbps: float


def parse_device(text: str) -> Match:
    """Parse a device in the user's syntax.

    Raises:
        ValueError: with a phrase that completes "… must be".
    """
    text = text.strip()
    if (found := _ID.match(text)) is not None:
        match = Match(int(found[1], 16), int(found[2], 16))
        if not match.vendor or not match.product:
            raise ValueError(
                "a device whose vendor and product are not 0000, which QEMU treats as any device; use its path instead"
            )
        return match
    if (found := _PATH.match(text)) is not None:
        return Match(bus=int(found[1]), port=found[2])
    raise ValueError("VENDOR:PRODUCT such as 05ac:12a8, or BUS-PORT such as 1-2.3 (pommel usb list shows both)")


def parse_devices(raw: Any) -> tuple[str, ...]:
    """A setting's list of devices; in the environment or a flag, words separated by blanks."""
    words = raw.replace(",", " ").split() if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError('a list of texts, such as ["05ac:12a8", "1-2.3"]')
    return tuple(dict.fromkeys(str(parse_device(word)) for word in words))


def asked_by(device_id: str) -> Match | None:
    """The match for which QEMU has the device with this id; None: it is not Pommel's."""
    found = _OWN_ID.match(device_id.removeprefix(PREFIX)) if device_id.startswith(PREFIX) else None
    if found is None:
        return None
    try:
        return parse_device(found[3] or f"{found[1]}:{found[2]}")
    except ValueError:
        return None


def fastest(controllers: Iterable[Controller]) -> Controller | None:
    """The controller for a device: the fastest; of several, the last one, which has the most free ports."""
    return max(reversed(tuple(controllers)), key=lambda each: each.mbps, default=None)


def on_line(line: CommandLine) -> tuple[Controller, ...]:
    """The controllers that a command line gives to the machine."""
    found = []
    for argument in line.find("device"):
        device = Keyed.parse("device", argument.value or "")
        if (driver := device.get("driver") or "") in _SPEEDS:
            named = device.get("id")
            found.append(Controller(driver, f"{named}.0" if named else "", _SPEEDS[driver]))
    machines = line.find("machine", "M")
    if line.find("usb") or any(argument.sub.is_on("usb") for argument in machines):
        q35 = any("q35" in (argument.value or "") for argument in machines)
        found.append(Controller("ich9-usb-ehci1", "", 480) if q35 else Controller("piix3-usb-uhci", "", 12))
    return tuple(found)


def in_pci(buses: Any) -> tuple[Controller, ...]:
    """The controllers of a running machine, from QEMU's answer to `query-pci` (qapi/pci.json)."""
    found: list[Controller] = []
    waiting = [device for bus in buses for device in bus.get("devices", ())]
    for device in waiting:  # the list grows in the loop: devices behind a bridge are added
        waiting += (device.get("pci_bridge") or {}).get("devices", ())
        if device["class_info"]["class"] == _USB_CLASS:
            name = _BY_PCI.get(device["id"]["vendor"] << 16 | device["id"]["device"], "a USB controller")
            named = device.get("qdev_id")
            found.append(Controller(name, f"{named}.0" if named else "", _SPEEDS.get(name, 12)))
    return tuple(found)


def passed_by(line: CommandLine) -> tuple[Match, ...]:
    """The devices that a command line gives to the guest by `usb-host`."""
    devices = (Keyed.parse("device", argument.value or "") for argument in line.find("device"))
    return tuple(
        Match(
            _number(each.get("vendorid")),
            _number(each.get("productid")),
            _number(each.get("hostbus")),
            each.get("hostport") or "",
        )
        for each in devices
        if each.get("driver") == DRIVER
    )


def _number(text: str | None) -> int:
    try:
        return int(text or "0", 0)
    except ValueError:
        return 0
