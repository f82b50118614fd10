"""The rule for the firmware: its code, and the machine's own variables. Band: core, no I/O."""

from __future__ import annotations

from pommel.machine.drive_edits import placed, readonly_where_it_was
from pommel.machine.drives import Drive
from pommel.machine.keyed import Keyed
from pommel.machine.rules.drives import THROWAWAY, discarding, edited, keeping
from pommel.machine.rules.sheet import Placement, RuleInput, Sheet
from pommel.machine.upstream_files import absolute, find_firmware

_BIOS = "unchanged from the boot script: one image for code and variables, so the machine cannot store boot entries"
_LOCKED = "unchanged from the boot script: code without variables, so the machine cannot store boot entries"
_VARIABLES = "the machine writes its own copy of the variables, never the upstream's file"
_WHOLE = "the machine writes its own copy of the firmware with its variables, never the upstream's file"


def firmware(sheet: Sheet, given: RuleInput) -> Sheet:
    """Boot the chosen firmware build with the machine's own variables. Firmware without variables is not changed."""
    place = given.placement
    found = find_firmware(sheet.line, place.upstream, place.facts)
    if found.bios is not None:
        sheet = sheet.note(found.bios, _BIOS)
    if found.code is not None:
        sheet = _code(sheet, found.code, place, alone=found.variables is None)
    if found.variables is not None:
        sheet = _variables(sheet, found.variables, given, alone=found.code is None)
    return sheet


def _code(sheet: Sheet, drive: Drive, place: Placement, *, alone: bool) -> Sheet:
    was_locked = drive.is_readonly
    if place.firmware_code is not None:
        own = place.firmware_code == absolute(drive.file, place.upstream)
        edits = placed(drive, place.firmware_code, (drive.format or "raw") if own else "raw")
        if was_locked:
            edits[drive.argument] = _locked(drive, edits[drive.argument])
        reason = place.firmware_reason or "the upstream's firmware, by its absolute path"
        sheet, drive = edited(sheet, drive, edits, reason)
    if not was_locked:
        reason = "this drive has the firmware's code, which is read-only; the variables are on the other drive"
        sheet, drive = edited(sheet, drive, {drive.argument: _locked(drive, drive.nodes[0].keyed)}, reason)
    return sheet.note(drive.argument, _LOCKED) if alone else sheet


def _locked(drive: Drive, value: Keyed) -> Keyed:
    if drive.argument.name == "blockdev" or value.plain is None:
        return value.with_value("read-only", "on")
    return Keyed(None, readonly_where_it_was(drive.argument.sub, value.plain))


def _variables(sheet: Sheet, drive: Drive, given: RuleInput, *, alone: bool) -> Sheet:
    place = given.placement
    reason = _WHOLE if alone else _VARIABLES
    sheet, drive = keeping(sheet, drive, reason)
    if place.firmware_reason:
        reason += f"; {place.firmware_reason}"
    sheet, drive = edited(sheet, drive, placed(drive, place.nvram, "raw"), reason)
    return discarding(sheet, drive, THROWAWAY)[0] if place.choice.throwaway else sheet
