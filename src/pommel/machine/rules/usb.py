"""The rule for the host's USB devices in the settings. Band: core, no I/O.

Each is connected to the machine's fastest USB controller. Devices in the boot script are not changed.
"""

from __future__ import annotations

from pommel.errors import ConfigError
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.usb import DRIVER, fastest, on_line, passed_by


def usb(sheet: Sheet, given: RuleInput) -> Sheet:
    """Add the configured devices that the boot script does not give to the guest.

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
