"""Edits of one drive on a sheet, in any spelling. Band: core, no I/O.

Each returns the sheet and the changed drive, for the next edit.
"""

from __future__ import annotations

from dataclasses import replace

from pommel.machine.commandline import Argument
from pommel.machine.drive_edits import Edits
from pommel.machine.drives import Drive, Node, children_of, inlined
from pommel.machine.rules.sheet import Sheet

THROWAWAY = "throwaway: everything that this run writes is discarded at its end"
_LOST = "writes would be lost at every stop"
_ONE_DRIVE = "the node is now part of a -drive, because only a -drive can discard writes"


def edited(sheet: Sheet, drive: Drive, edits: Edits, reason: str) -> tuple[Sheet, Drive]:
    """Give a drive's arguments these values."""
    for argument, value in edits.items():
        place = _place(sheet, argument)
        sheet = sheet.change(argument, value, reason)
        drive = _with(drive, argument, sheet.line.arguments[place])
    return sheet, drive


def keeping(sheet: Sheet, drive: Drive, what: str) -> tuple[Sheet, Drive]:
    """Remove `snapshot=on` from a drive; `what` says whose drive it is."""
    if not drive.discards:
        return sheet, drive
    value = drive.nodes[0].keyed.without("snapshot")
    return edited(sheet, drive, {drive.argument: value}, f"{what}; {_LOST}")


def discarding(sheet: Sheet, drive: Drive, reason: str) -> tuple[Sheet, Drive]:
    """Discard all writes to a drive at the end of the run."""
    if drive.is_readonly or drive.discards:
        return sheet, drive
    if drive.argument.name == "drive":
        value = drive.nodes[0].keyed.with_value("snapshot", "on")
        return edited(sheet, drive, {drive.argument: value}, reason)
    whole = inlined(sheet.line, drive).with_value("snapshot", "on")
    children, place = children_of(sheet.line, drive), _place(sheet, drive.argument)
    sheet = sheet.change(drive.argument, whole, reason, option="-drive")
    new = sheet.line.arguments[place]
    return sheet.remove_all(children, _ONE_DRIVE), replace(drive, nodes=(Node(new),))


def taken_out(sheet: Sheet, drive: Drive, reason: str) -> Sheet:
    """Remove a drive, with its devices and its nodes."""
    return sheet.remove_all([*drive.plugs, *children_of(sheet.line, drive)], reason).remove(drive.argument, reason)


def _with(drive: Drive, old: Argument, new: Argument) -> Drive:
    return replace(drive, nodes=tuple(replace(n, argument=new) if n.argument is old else n for n in drive.nodes))


def _place(sheet: Sheet, argument: Argument) -> int:
    return next(place for place, one in enumerate(sheet.line.arguments) if one is argument)
