"""The rule for USB devices of the host that the user asks for. Band: core, no I/O.

Each goes to the machine's fastest USB controller. What the boot script gives to the guest itself stays as it is.
"""

from __future__ import annotations

from pommel.errors import ConfigError
from pommel.machine.rules.sheet import Given, Sheet
from pommel.machine.usb import DRIVER, fastest, on_line, passed_by


def usb(sheet: Sheet, given: Given) -> Sheet:
    """Add the devices that are asked for and that the boot script does not give to the guest.

    Raises:
        ConfigError: the machine has no USB controller.
    """
    place = given.placement
    for note in place.usb_notes:
        sheet = sheet.warn(note)
    there = passed_by(sheet.line)
    for wanted, match in place.usb:
        if wanted in there or match in there:
            continue
        controller = fastest(on_line(sheet.line))
        if controller is None:
            raise ConfigError(
                f"usb {wanted}: {place.guest_name} has no USB controller for it",
                hint='add one: qemu_args = ["-device", "qemu-xhci,id=xhci"]',
            )
        bus = f",bus={controller.bus}" if controller.bus else ""
        value = f"{DRIVER},id={wanted.device_id},{match.render()}{bus}"
        sheet = sheet.add("-device", value, f"asked for: usb {wanted}")
    return sheet
