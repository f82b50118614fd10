"""The rule for the display adapter, the size of its picture, and further displays. Band: core, no I/O.

Without the settings `display`, `resolution` and `displays`, the boot script's adapter is not changed.
"""

from __future__ import annotations

from pommel.errors import ConfigError
from pommel.machine.adapters import CHOICES, FoundAdapter, notes, on_line, parse_size, room_mib, spelled
from pommel.machine.heads import socket_of
from pommel.machine.keyed import Keyed
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.suboptions import SubOptions, escape

_ID = "pommel-display"
_PLACE = ("id", "bus", "addr")  # the properties for a device's place, which every device has


def adapter(sheet: Sheet, given: RuleInput) -> Sheet:
    """Change the adapter, set its size, and show its further outputs, as the settings say.

    Raises:
        ConfigError: the machine's adapter, or its macOS, does not support a setting.
    """
    spec = given.spec
    if spec.display is not None:
        sheet = _changed(sheet, CHOICES[spec.display])
    if spec.resolution is not None:
        sheet = _sized(sheet, parse_size(spec.resolution))
    return _outputs(sheet, given) if spec.displays > 1 else sheet


def _changed(sheet: Sheet, driver: str) -> Sheet:
    """Replace the only adapter by `driver`, or add it as the first.

    Raises:
        ConfigError: there are several adapters.
    """
    reason = f"asked for: display, {driver}"
    found = on_line(sheet.line)
    if len(found) > 1:
        names = " and ".join(each.adapter.driver for each in found)
        raise ConfigError(
            f"display is for a machine with one adapter, but the boot script has {names}",
            hint="remove the display setting, or remove all but one adapter from the boot script",
        )
    if found and found[0].adapter.driver == driver:
        return sheet
    device = found[0].device if found else None
    if device is None:
        sheet = sheet.put("vga", "none", reason)
        return sheet.add("-device", driver, reason)
    place = Keyed.parse("device", device.value or "")
    kept = tuple((key, value) for key in _PLACE if (value := place.get(key)) is not None)
    sheet = sheet.change(device, SubOptions(driver, kept), reason)
    return sheet if sheet.line.find("vga") else sheet.add("-vga", "none", reason)


def _sized(sheet: Sheet, size: tuple[int, int]) -> Sheet:
    """Set the size of every adapter that supports it, and enlarge a picture memory that is too small."""
    found = on_line(sheet.line)
    for each in found:
        sheet = _set_size(sheet, each, size)
    for note in dict.fromkeys(note for each in found[:1] for note in notes(each.adapter, size)):
        sheet = sheet.warn(note)
    return sheet


def _set_size(sheet: Sheet, found: FoundAdapter, size: tuple[int, int]) -> Sheet:
    reason = f"asked for: resolution, {spelled(size)}"
    wanted: dict[str, int] = {}
    if found.adapter.sized:
        wanted = {"xres": size[0], "yres": size[1]}
    if (key := found.adapter.memory) and (need := room_mib(size)) > max(_room(found), 16):
        wanted[key] = need << 20 if key == "vgamem" else need
    if not wanted:
        return sheet
    if found.device is None:  # -vga has no properties
        for key, value in wanted.items():
            sheet = sheet.add("-global", f"{found.adapter.driver}.{key}={value}", reason)
        return sheet
    keyed = found.keyed
    for key, value in wanted.items():
        keyed = keyed.with_value(key, value)
    return sheet.change(found.device, keyed, reason)


def _room(found: FoundAdapter) -> int:
    """The MiB that the command line gives to the adapter's picture; 0: not given, or not a number."""
    text = found.keyed.get(found.adapter.memory) or ""
    if not text.isascii() or not text.isdigit():
        return 0
    return int(text) >> 20 if found.adapter.memory == "vgamem" else int(text)


def _outputs(sheet: Sheet, given: RuleInput) -> Sheet:
    """Give the adapter further outputs, each with its own socket, because QEMU's VNC server shows only one.

    Raises:
        ConfigError: this is not possible.
    """
    spec, wanted = given.spec, f"displays = {given.spec.displays}"
    if spec.macos is not None:
        raise ConfigError(
            f"{wanted}: macOS has no driver for a QEMU adapter with more than one output",
            hint="a graphics card of the host has its own outputs (setting vfio); otherwise remove the displays "
            "setting",
        )
    found = on_line(sheet.line)
    if len(found) != 1 or found[0].adapter.outputs < spec.displays:
        names = " and ".join(f"{each.adapter.driver} (one output)" for each in found) or "no adapter"
        raise ConfigError(
            f"{wanted}: this machine has {names}",
            hint='display = "virtio-gpu" supports more outputs, for guests with a driver for it (Linux, Windows)',
        )
    reason = f"asked for: {wanted}"
    if found[0].device is None:
        sheet = sheet.put("vga", "none", reason).add("-device", found[0].adapter.driver, reason)
        found = on_line(sheet.line)
    device = found[0].device
    if device is None:  # cannot happen: it was just added
        return sheet
    keyed = found[0].keyed.with_default("id", _ID).with_value("max_outputs", spec.displays)
    sheet = sheet.change(device, keyed, reason)
    for number in range(2, spec.displays + 1):
        where = f"unix:{escape(socket_of(given.placement.vnc, number))},display={escape(keyed.get('id') or _ID)}"
        value = f"{where},head={number - 1},share=ignore,lock-key-sync=off"
        sheet = sheet.add("-vnc", value, f"{reason}; the picture of display {number}")
    return sheet
