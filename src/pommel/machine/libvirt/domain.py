"""Writes the domain of a command line, with an account of every argument. Band: core, no I/O.

libvirt's formatdomain, and its documented QEMU-specific part (drvqemu, "Pass-through of arbitrary qemu commands"). The
result is what `virsh define` takes; tests start it with a real libvirt.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.libvirt.devices import write_devices
from pommel.machine.libvirt.draft import QEMU, ArgumentFate, Draft, refused
from pommel.machine.libvirt.slots import pci_slots
from pommel.machine.libvirt.storage import Storage
from pommel.machine.libvirt.system import write_system


@dataclass(frozen=True, slots=True)
class LibvirtDomain:
    """The domain as XML, and what each argument became, in the line's order."""

    xml: str
    account: tuple[ArgumentFate, ...]


def export(line: CommandLine, emulator: str) -> LibvirtDomain:
    """Write a domain that runs the same machine: QEMU at the path `emulator`.

    Raises:
        UsageError: an argument with which no equal domain can be written, by its name.
    """
    for argument in line.arguments:
        if why := _no_equal(argument):
            raise refused(argument, why)
    draft = Draft(line, pci_slots(line))
    write_system(draft, emulator)
    Storage(draft).write()
    write_devices(draft)
    for argument in line.arguments:
        if not draft.is_claimed(argument):
            draft.raw(argument, f"libvirt has no element for {argument.option} here")
    root, account = draft.finished()
    ElementTree.register_namespace("qemu", QEMU)
    ElementTree.indent(root)
    return LibvirtDomain(ElementTree.tostring(root, encoding="unicode") + "\n", account)


def _no_equal(argument: Argument) -> str | None:
    """Return why no equal domain can be written, for arguments that a domain cannot have."""
    if not argument.option:
        return "QEMU takes it for a disk; say it with -drive and -device"
    if argument.name == "snapshot":
        return "libvirt attaches disks in a way that it does not reach; say snapshot=on with each drive"
    if argument.name == "object" and argument.sub.head == "secret" and argument.sub.get("file") == "/dev/stdin":
        return "a disk is encrypted, and Pommel hands its passphrase to QEMU at each start"
    return None
