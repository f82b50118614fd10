"""The rule for the balloon, by which a guest returns memory. Band: core, no I/O.

A virtio balloon does two things: with free page reporting the guest reports its unused pages, and QEMU releases them;
and it can be asked to use less (`pommel memory NAME 2G`). The boot script's own balloon is kept.
"""

from __future__ import annotations

from pommel.machine.commandline import Argument
from pommel.machine.keyed import Keyed
from pommel.machine.rules.sheet import RuleInput, Sheet

DEVICE_ID = "pommel-balloon"
_DEVICE = f"virtio-balloon-pci,id={DEVICE_ID},free-page-reporting=on,deflate-on-oom=on"
_DRIVER_FROM = 11  # macOS Big Sur, whose AppleVirtIO has a driver


def balloon(sheet: Sheet, given: RuleInput) -> Sheet:
    """Add a balloon if the setting asks for it and the boot script has none."""
    if not given.spec.balloon:
        return sheet
    if sheet.line.find("device", where=lambda a: _driver(a).startswith("vfio-")):
        sheet = sheet.warn("balloon: a device of this host is attached to the guest, so all of its memory stays in use")
    macos = given.spec.macos
    if macos is not None and (major := macos.partition(".")[0]).isdecimal() and int(major) < _DRIVER_FROM:
        sheet = sheet.warn(f"balloon: macOS {macos} has no driver for it, and frees no memory")
    there = sheet.line.find("device", where=lambda a: _driver(a).startswith("virtio-balloon"))
    if not there:
        return sheet.add(
            "-device", _DEVICE, "asked for: balloon; memory that the guest does not use is returned to the host"
        )
    if not Keyed.parse("device", there[-1].value or "").is_on("free-page-reporting"):
        sheet = sheet.warn(f"balloon: without free-page-reporting=on, {there[-1].text} frees memory only when asked")
    return sheet.note(there[-1], "asked for: balloon; the boot script's own device is used")


def _driver(argument: Argument) -> str:
    return Keyed.parse("device", argument.value or "").get("driver") or ""
