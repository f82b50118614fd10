"""The PCI slots that QEMU gives the devices of a command line for q35. Band: core, no I/O.

QEMU counts slots in the order of `-device`; libvirt would put the devices behind root ports. macOS names a network card
by its place (en0), so each place is written down. QEMU: hw/pci/pci.c, do_pci_register_device; the board's own devices
are in slots 0 and 0x1f (hw/i386/pc_q35.c), and the display of `-vga`, or the default one, is made before all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.libvirt.draft import refused

_BUS = "pcie.0"
_BOARD = {0x00, 0x1F}
# With one of these there is no display of the board's own (system/vl.c, default_list).
_INSTEAD = frozenset(("VGA", "cirrus-vga", "qxl-vga", "vmware-svga", "virtio-vga", "virtio-vga-gl", "ati-vga"))
_ON_PCI = re.compile(
    r"""(?x) virtio-.*-pci | virtio-vga(-gl)? | qemu-xhci | nec-usb-xhci | usb-ehci | ich9-usb-.* | piix[34]-usb-uhci
    | (ich9-)?intel-hda | ES1370 | AC97 | ich9-ahci | ahci | nvme | lsi53c895a | megasas.* | pvscsi | mptsas1068
    | e1000.* | vmxnet3 | rtl8139 | i8255.* | pcnet | ne2k_pci | tulip | igb
    | VGA | vmware-svga | qxl(-vga)? | cirrus-vga | bochs-display | ati-vga | secondary-vga | vfio-pci
    | pcie-root-port | ioh3420 | pcie-pci-bridge | pci-bridge | i82801b11-bridge
    | sdhci-pci | pci-serial.* | ivshmem-.* | edu | pvpanic-pci"""
)
_ON_NO_SLOT = re.compile(
    r"""(?x) usb-(?!ehci).* | hda-.* | ide-(hd|cd|drive) | scsi-.* | isa-.* | virtserialport | virtconsole | nvme-ns
    | tpm-.* | pvpanic | vmcoreinfo | ramfb | intel-iommu | i8042 | loader | floppy | sb16 | adlib | cs4231a | gus
    | vmgenid | nvdimm | pc-dimm | ccid-.* | u2f-.* | sd-card | ib700 | vmmouse | vmport"""
)


def pci_slots(line: CommandLine) -> Mapping[Argument, str]:
    """Return the address on the root bus of each device that has one there.

    Raises:
        UsageError: nobody knows whether a device takes a slot.
    """
    taken, found = set(_BOARD), dict[Argument, str]()
    if has_display_of_its_board(line):
        taken.add(1)
        found |= dict.fromkeys(line.find("vga"), "0x1")
    if slot := default_card_slot(line):
        taken.add(int(slot, 16))
    for device in line.find("device"):
        bus, address = device.sub.get("bus"), device.sub.get("addr")
        driver = driver_of(device)
        if not _ON_PCI.fullmatch(driver):
            if not _ON_NO_SLOT.fullmatch(driver):
                raise refused(device, f"whether {driver} takes a PCI slot is not known here")
            continue
        if bus in (None, _BUS):
            found[device] = _given(device, address) if address else f"{_free(device, taken):#x}"
            taken.add(int(found[device].partition(".")[0], 16))
    return found


def default_card_slot(line: CommandLine) -> str | None:
    """Return the slot of the network card that QEMU adds where nothing is said about networks; None: it adds none."""
    if line.find("nodefaults", "net", "nic", "netdev"):
        return None
    return "0x2" if has_display_of_its_board(line) else "0x1"


def has_default_cd(line: CommandLine) -> bool:
    """Tell whether QEMU adds an empty CD-ROM drive (system/vl.c, default_list and default_cdrom)."""
    drivers = {driver_of(each) for each in line.find("device")}
    given = line.find("nodefaults", "cdrom", "hda", "hdb", "hdc", "hdd")
    shown = line.find("drive", where=lambda each: each.sub.get("if") in (None, "ide"))
    return not (given or shown or drivers & {"ide-cd", "ide-hd", "scsi-cd", "scsi-hd"})


def driver_of(device: Argument) -> str:
    """Return the driver of a `-device`."""
    return device.sub.head or device.sub.get("driver") or ""


def has_display_of_its_board(line: CommandLine) -> bool:
    """Tell whether QEMU makes a display before all devices: for `-vga`, or by default."""
    if asked := line.find("vga"):
        return asked[-1].value != "none"
    return not line.find("nodefaults") and not any(driver_of(each) in _INSTEAD for each in line.find("device"))


def _free(device: Argument, taken: set[int]) -> int:
    slot = next((slot for slot in range(32) if slot not in taken), None)
    if slot is None:
        raise refused(device, "no PCI slot is left")
    return slot


def _given(device: Argument, address: str) -> str:
    # QEMU reads slot and function as hexadecimal digits, with or without 0x (hw/core/qdev-properties-system.c).
    read = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,2})(?:\.(?:0x)?([0-7]))?", address)
    if read is None or int(read[1], 16) > 0x1F:
        raise refused(device, f"{address} is no PCI slot")
    return f"{int(read[1], 16):#x}" + (f".0x{read[2]}" if read[2] and read[2] != "0" else "")
