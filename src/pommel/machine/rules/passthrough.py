"""The rule for `vfio`: the host's PCI devices for the guest. Band: core, no I/O.

Functions of one device go to one slot of the guest, with their own function numbers, because a driver looks for
a card's sound beside the card. On q35 each slot is behind its own root port, as a PCI Express device expects (QEMU,
docs/pcie.txt). Devices that the boot script passes through itself are not changed.
"""

from __future__ import annotations

import re

from pommel.machine.commandline import CommandLine
from pommel.machine.keyed import Keyed
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.suboptions import escape

_HOST = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[0-9a-f]{2})\.([0-7])\Z", re.IGNORECASE)
_FIRST_CHASSIS = 64  # a script that numbers its own root ports begins with 0 or 1


def passthrough(sheet: Sheet, given: RuleInput) -> Sheet:
    """Add the configured devices that the boot script does not pass through itself."""
    there = _passed(sheet.line)
    slots: dict[str, list[tuple[str, str]]] = {}
    for text in given.spec.vfio:
        address, _, more = text.partition(",")
        if address in there:
            continue
        slot, _, function = address.rpartition(".")
        slots.setdefault(slot, []).append((function, more))
    express = _is_q35(sheet.line)
    for number, (slot, functions) in enumerate(slots.items()):
        port = f"pommel-vfio{number}"
        if express:
            chassis = _FIRST_CHASSIS + number
            value = f"pcie-root-port,id={port},chassis={chassis}"
            sheet = sheet.add("-device", value, f"its own port for {slot}")
        # Function 0 comes last: a guest looks for the others only when function 0 exists.
        for function, more in sorted(functions, reverse=True):
            place = f",bus={port},addr=0.{function}" if express else ""
            shared = ",multifunction=on" if express and function == "0" and len(functions) > 1 else ""
            rom = f",romfile={escape(more.removeprefix('romfile='))}" if more else ""
            value = f"vfio-pci,host={slot}.{function}{place}{shared}{rom}"
            sheet = sheet.add("-device", value, "asked for: vfio")
    return sheet


def normal(address: str) -> str | None:
    """A PCI address with its domain, in lower case; None: it is not an address."""
    found = _HOST.match(address)
    return f"{found[1] or '0000'}:{found[2]}.{found[3]}".lower() if found else None


def _passed(line: CommandLine) -> set[str]:
    devices = (Keyed.parse("device", argument.value or "") for argument in line.find("device"))
    return {
        address
        for device in devices
        if (device.get("driver") or "").startswith("vfio-pci") and (address := normal(device.get("host") or ""))
    }


def _is_q35(line: CommandLine) -> bool:
    """Whether the machine has PCI Express: q35 by that name, or by one of its versions (pc-q35-8.2)."""
    return any("q35" in (argument.value or "") for argument in line.find("machine", "M"))
