"""Finds the obstacles to passing a PCI device to a guest, from facts. Band: core, no I/O.

`pci_devices` reads the facts from sysfs. Sources: the kernel's Documentation/driver-api/vfio.rst (groups, which
devices must be bound), Documentation/ABI/testing/sysfs-bus-pci (reset_method, rom, boot_vga), QEMU's docs/pcie.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "warn", "fail"]
VFIO_DRIVERS = ("vfio-pci", "vfio-platform")
_ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])\Z", re.IGNORECASE)
_AMD, _NVIDIA, _INTEL = 0x1002, 0x10DE, 0x8086
_DISPLAY, _BRIDGE, _AUDIO = 0x03, 0x0604, 0x0403


@dataclass(frozen=True, slots=True)
class PciDevice:
    """One PCI device: `address` is DDDD:BB:DD.F, `kind` its class code (three bytes: class, subclass, interface).

    `group` is its IOMMU group, None without one. `resets` are the kernel's methods to reset it, None if the kernel does
    not show them (before 5.15). `rom_bytes` is the size of its ROM in sysfs, None without one. `boots` is true for the
    graphics card on which the firmware shows its screen.
    """

    address: str
    vendor: int
    device: int
    kind: int
    driver: str | None = None
    group: int | None = None
    resets: tuple[str, ...] | None = None
    rom_bytes: int | None = None
    boots: bool = False
    name: str = ""

    @property
    def slot(self) -> str:
        """The address without the function."""
        return self.address.rpartition(".")[0]

    @property
    def is_gpu(self) -> bool:
        """Whether it is a graphics card (class 03)."""
        return self.kind >> 16 == _DISPLAY

    @property
    def is_bridge(self) -> bool:
        """Whether it is a bridge to other PCI devices: it may stay in a group, with its driver."""
        return self.kind >> 8 == _BRIDGE

    @property
    def ids(self) -> str:
        """Vendor and device in the form of `vfio-pci`, such as 1002:67df."""
        return f"{self.vendor:04x}:{self.device:04x}"

    def __str__(self) -> str:
        return f"{self.address} {self.name or self.ids}"


@dataclass(frozen=True, slots=True)
class Host:
    """The devices by address, and the facts of the host that affect all of them.

    `iommus` are the names in /sys/class/iommu, `cmdline` the kernel's command line. `nodes` are the groups whose
    /dev/vfio/GROUP this user may open; `memlock_bytes` is the memory that its processes may lock, None: unlimited.
    """

    devices: Mapping[str, PciDevice]
    iommus: tuple[str, ...] = ()
    cmdline: str = ""
    vendor: str = "other"  # of the processor: intel, amd or other
    vfio_loaded: bool = False
    nodes: frozenset[int] = frozenset()
    memlock_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PciFinding:
    """One fact of a device or of the host, with a command if something must be done."""

    name: str
    level: Level
    text: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card with its other functions, its group's other devices, and the findings."""

    device: PciDevice
    functions: tuple[PciDevice, ...]
    others: tuple[PciDevice, ...]
    findings: tuple[PciFinding, ...] = field(default=())

    @property
    def ready(self) -> bool:
        """Whether there is no obstacle."""
        return all(finding.level != "fail" for finding in self.findings)


def parse_address(text: str) -> str:
    """A device's address with its domain, in lower case.

    Raises:
        ValueError: it is not an address, such as 01:00.0 or 0000:01:00.0.
    """
    found = _ADDRESS.match(text)
    if not found:
        raise ValueError("an address of a PCI device, such as 01:00.0 or 0000:01:00.0")
    domain, bus, slot, function = found.groups()
    return f"{domain or '0000'}:{bus}:{slot}.{function}".lower()


def about_host(host: Host, memory_bytes: int | None = None) -> Iterator[PciFinding]:
    """The facts of the host that affect every device. `memory_bytes` is the machine's."""
    if host.iommus:
        yield PciFinding("IOMMU", "ok", f"on ({', '.join(host.iommus)})")
    else:
        word = {"intel": "intel_iommu=on iommu=pt", "amd": "iommu=pt"}.get(host.vendor, "intel_iommu=on iommu=pt")
        firmware = {"intel": "VT-d", "amd": "AMD-Vi (IOMMU)"}.get(host.vendor, "the IOMMU (VT-d or AMD-Vi)")
        there = all(each in host.cmdline.split() for each in word.split())
        fix = f"turn on {firmware} in the firmware's setup"
        if not there:
            fix += f"; and add to the kernel's command line: {word}"
        yield PciFinding("IOMMU", "fail", "off: no device can be passed through to a guest", fix)
    if host.vfio_loaded:
        yield PciFinding("vfio-pci", "ok", "the module is loaded")
    else:
        yield PciFinding("vfio-pci", "warn", "the module is not loaded", "sudo modprobe vfio-pci")
    if host.memlock_bytes is not None and host.memlock_bytes < (needed := memory_bytes or 0) + (1 << 28):
        text = (
            f"your processes can lock {_mib(host.memlock_bytes)} of memory, but the whole memory of the guest "
            "must be locked"
        )
        fix = (
            f"sudo sh -c 'echo \"$SUDO_USER - memlock {(needed >> 10) + (1 << 18)}\" >/etc/security/limits.d/vfio.conf'"
        )
        yield PciFinding("memory", "fail", text, f"{fix}; then log in again")


def cards(host: Host) -> tuple[Card, ...]:
    """Every graphics card, with its obstacles."""
    return tuple(card(host, device) for device in sorted_devices(host) if device.is_gpu)


def card(host: Host, device: PciDevice) -> Card:
    """One device with its obstacles."""
    functions = tuple(each for each in sorted_devices(host) if each.slot == device.slot and each != device)
    group = [each for each in sorted_devices(host) if device.group is not None and each.group == device.group]
    others = tuple(each for each in group if each != device and each not in functions and not each.is_bridge)
    return Card(device, functions, others, tuple(_about(host, device, functions, others)))


def sorted_devices(host: Host) -> list[PciDevice]:
    """The devices by address."""
    return [host.devices[address] for address in sorted(host.devices)]


def _about(
    host: Host, device: PciDevice, functions: tuple[PciDevice, ...], others: tuple[PciDevice, ...]
) -> Iterator[PciFinding]:
    yield _group(device, others)
    yield from _drivers((device, *functions))
    yield _rights(host, device)
    yield _reset(device)
    yield from _rom(device)
    if device.is_gpu:
        yield _for_macos(device)
        if not any(each.kind >> 8 == _AUDIO for each in functions) and device.vendor in (_AMD, _NVIDIA):
            yield PciFinding("sound", "ok", "it has no sound function, so there is no sound over its cable")


def _group(device: PciDevice, others: tuple[PciDevice, ...]) -> PciFinding:
    if device.group is None:
        return PciFinding("group", "fail", "it is in no IOMMU group", "turn on the IOMMU first")
    held = [each for each in others if each.driver not in (None, *VFIO_DRIVERS)]
    if held:
        names = ", ".join(f"{each} ({each.driver})" for each in held)
        text = f"group {device.group} contains devices that the host uses: {names}"
        fix = "put the card into another slot, or pass through the whole group; a kernel cannot divide a group safely"
        return PciFinding("group", "fail", text, fix)
    beside = f", with {', '.join(map(str, others))}" if others else ", alone with its own functions"
    return PciFinding("group", "ok", f"group {device.group}{beside}")


def _drivers(functions: Iterable[PciDevice]) -> Iterator[PciFinding]:
    functions = tuple(functions)
    held = [each for each in functions if each.driver not in VFIO_DRIVERS]
    if not held:
        yield PciFinding("driver", "ok", "vfio-pci controls all of its functions")
        return
    ids = ",".join(dict.fromkeys(each.ids for each in functions))
    whose = "; ".join(f"{each.address} has {each.driver or 'no driver'}" for each in held)
    softdeps = "".join(f"\\nsoftdep {name} pre: vfio-pci" for name in dict.fromkeys(e.driver for e in held if e.driver))
    fix = f"printf 'options vfio-pci ids={ids}{softdeps}\\n' | sudo tee /etc/modprobe.d/vfio.conf"
    text = f"vfio-pci must control all of its functions, but does not: {whose}"
    yield PciFinding("driver", "fail", text, f"{fix}; then rebuild the initial RAM disk, and restart the host")


def _rights(host: Host, device: PciDevice) -> PciFinding:
    if device.group is None or device.driver not in VFIO_DRIVERS:
        return PciFinding("rights", "ok", "can be checked when vfio-pci controls it")
    node = f"/dev/vfio/{device.group}"
    if device.group in host.nodes:
        return PciFinding("rights", "ok", f"you have permission to open {node}")
    rule = f'SUBSYSTEM=="vfio", KERNEL=="{device.group}", OWNER="%s"'
    fix = f"printf '{rule}\\n' \"$USER\" | sudo tee /etc/udev/rules.d/70-pommel-vfio.rules && sudo udevadm trigger"
    return PciFinding("rights", "fail", f"you have no permission to open {node}", fix)


def _reset(device: PciDevice) -> PciFinding:
    if device.resets is None:
        return PciFinding("reset", "ok", "this kernel does not show how it can reset the device (5.15 and later do)")
    if device.resets:
        return PciFinding("reset", "ok", f"the kernel can reset it: {', '.join(device.resets)}")
    fix = "shut the guest down from its own menu; for many AMD cards the module vendor-reset helps"
    return PciFinding(
        "reset", "warn", "the kernel cannot reset it: after one run, it may not work until the host restarts", fix
    )


def _rom(device: PciDevice) -> Iterator[PciFinding]:
    if not device.is_gpu:
        return
    if device.boots:
        yield PciFinding(
            "console",
            "warn",
            "the firmware shows the host's screen on it: the host loses its console, and the ROM may be a changed copy",
            "choose another graphics card as the primary one in the firmware's setup; or give a ROM file: "
            f'vfio = ["{device.address[5:]},romfile=/path/to/card.rom"]',
        )
    if device.rom_bytes is None:
        yield PciFinding(
            "ROM", "warn", "the kernel does not show its ROM", "if its screen stays dark, give a ROM with romfile="
        )
    else:
        yield PciFinding("ROM", "ok", f"{device.rom_bytes >> 10} KiB")


def _for_macos(device: PciDevice) -> PciFinding:
    """The support of macOS for a vendor's cards, by Dortania's GPU Buyers Guide."""
    if device.vendor == _NVIDIA:
        text = "macOS has had no driver for NVIDIA cards since 10.14, except for Kepler cards up to macOS 11"
        return PciFinding("macOS", "warn", text, "for a later macOS, use an AMD card")
    if device.vendor == _INTEL:
        return PciFinding("macOS", "warn", "an Intel graphics unit in a guest is not known to work with macOS", None)
    if device.vendor == _AMD:
        return PciFinding(
            "macOS", "ok", "macOS has drivers for most AMD cards from Polaris to RDNA 2, but none for RDNA 3"
        )
    return PciFinding("macOS", "warn", "macOS is not known to have a driver for it", None)


def _mib(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
