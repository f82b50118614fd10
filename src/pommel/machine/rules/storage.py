"""Rules for the disks: the machine's own, the boot disk, the installer, and further ones. Band: core, no I/O."""

from __future__ import annotations

from pommel.errors import ConfigError
from pommel.machine import luks
from pommel.machine.commandline import CommandLine
from pommel.machine.disk_choice import wanted_disk
from pommel.machine.drive_edits import kept_well, opened_by_key, placed
from pommel.machine.drives import Drive, drives_in, spelled_out, without_drive
from pommel.machine.keyed import Keyed
from pommel.machine.rules.drives import THROWAWAY, discarding, edited, keeping, taken_out
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.suboptions import SubOptions
from pommel.machine.upstream_files import UpstreamDisks, absolute, find_disks, is_kept, keys_of, no_disk, unreadable

_OWN = "the machine's own disk; host cache with flushes; trimmed space is returned to the host"
_OWN_DATA = "an additional disk of this machine"
_OWN_COPY = "the machine's own copy of the upstream's drive: no machine writes into the upstream's folder"
_SEALED = "the machine's disks are encrypted (LUKS)"
_KEY_COMES = "the passphrase of its disks, which comes by a pipe and is in no argument, variable or file"
_AHCI, _AHCI_PORTS = ("ich9-ahci", "ahci"), 6  # hw/ide/ich.c
# The same options as for the machine's own disk, for the same reasons.
_DATA_DISK = SubOptions.parse(
    "id=,if=none,file=,format=qcow2,cache=writeback,aio=threads,discard=unmap,detect-zeroes=unmap"
)
_SOLID_STATE = ("ide-hd", "scsi-hd")  # the devices with the property rotation_rate
_NEW_DISK, _INSTALLER = "MacHDD", "InstallMedia"


def spelling(sheet: Sheet, given: RuleInput) -> Sheet:
    """Write -hda and similar options in full, so that options can be added; never write QEMU's configuration."""
    reason = "it writes a file to the path in the boot script, and QEMU no longer supports it"
    sheet = sheet.remove_all(sheet.line.find("writeconfig"), reason)
    for argument in sheet.line.arguments:
        if (out := spelled_out(argument)) is not None:
            reason = "written in full, as QEMU reads it, so that options can be added"
            sheet = sheet.change(argument, out[1], reason, option=out[0])
    return sheet


def disks(sheet: Sheet, given: RuleInput) -> Sheet:
    """Give the machine its own disk; attach the boot disk and the installer without writes to them.

    Raises:
        UpstreamError: the purposes of the drives cannot be determined, or there is no disk for the machine.
        ConfigError: `disk_file` is "none", but there is a disk.
    """
    sheet = sheet.remove_all(sheet.line.find("snapshot"), "the machine's writes are kept")
    ports = free_ports(sheet.line)  # before the installer is removed, so that its port stays free for its return
    place = given.placement
    found = find_disks(sheet.line, place.upstream, place.facts, place.disk_drive)
    sheet, ports = _own_disk(sheet, found, given, ports)
    sheet = _boot_disk(sheet, found.boot, given)
    if found.installer is not None:
        sheet = _installer(sheet, found.installer, given)
    elif place.installer is not None:
        sheet = _new_installer(sheet, place.installer, given, ports[len(place.data_disks) :])
    sheet = _further(sheet, found, given)
    sheet = _data_disks(sheet, place.data_disks, ports)
    return _throwaway(sheet) if place.choice.throwaway else sheet


def _own_disk(
    sheet: Sheet, found: UpstreamDisks, given: RuleInput, ports: tuple[str, ...]
) -> tuple[Sheet, tuple[str, ...]]:
    """Put the machine's disk at the place of the upstream's, or add it; return the remaining ports."""
    none = wanted_disk(given.spec.disk_file).kind == "none"
    if found.machine is not None:
        if none:
            raise ConfigError(
                f'disk_file is "none", but the boot script has the disk {found.machine.text}',
                hint='disk_file = "own" gives the machine a new disk instead, "upstream" uses this disk',
            )
        return _machine_disk(sheet, found.machine, given), ports
    if none:
        return sheet, ports
    if not _may_have_a_new_disk(sheet.line, found, given):
        raise no_disk(sheet.line)
    return _new_disk(sheet, given, ports)


def _machine_disk(sheet: Sheet, drive: Drive, given: RuleInput) -> Sheet:
    place = given.placement
    if not drive.plugs and drive.interface == "none":
        raise unreadable(
            sheet.line, "a disk that is not attached to a device", f"a -device with drive={drive.name}", "device"
        )
    sheet, drive = keeping(sheet, drive, "the machine's own disk")
    edits = kept_well(drive, placed(drive, place.disk, place.disk_format))
    sheet, drive = edited(sheet, drive, edits, place.disk_reason or _OWN)
    for plug in drive.plugs:
        value = Keyed.parse("device", plug.value or "")
        if value.get("driver") in _SOLID_STATE:
            new = value.with_default("rotation_rate", "1" if value.plain else 1)
            sheet = sheet.change(plug, new, "presented as an SSD, so that the guest trims")
    return sheet


def _may_have_a_new_disk(line: CommandLine, found: UpstreamDisks, given: RuleInput) -> bool:
    """Whether the user asks for a new disk, or the script only has boot drives, and no disk by other means."""
    if wanted_disk(given.spec.disk_file).kind in ("own", "path"):
        return True
    devices = [Keyed.parse("device", argument.value or "") for argument in line.find("device")]
    passed_through = any((device.get("driver") or "").startswith("vfio-") for device in devices)
    return bool(found.boot or found.installer) and not passed_through and not without_drive(line)


def _new_disk(sheet: Sheet, given: RuleInput, ports: tuple[str, ...]) -> tuple[Sheet, tuple[str, ...]]:
    """Add a disk if the upstream has none: to the device without a drive, else to the first free port."""
    place, waiting = given.placement, without_drive(sheet.line)
    said = wanted_disk(given.spec.disk_file).kind
    reason = ("asked for: disk_file; " if said != "unsaid" else "") + "the boot script names no disk for the machine"
    name = (Keyed.parse("device", waiting[0].value or "").get("drive") if waiting else None) or _NEW_DISK
    value = _DATA_DISK.with_value("id", name).with_value("file", place.disk)
    sheet = sheet.add("-drive", value.with_value("format", place.disk_format).render(), place.disk_reason or reason)
    if waiting:
        return sheet, ports
    port = f"bus={ports[0]}," if ports else ""
    return sheet.add("-device", f"ide-hd,{port}drive={name},rotation_rate=1", reason), ports[1:]


def _boot_disk(sheet: Sheet, drive: Drive | None, given: RuleInput) -> Sheet:
    place = given.placement
    if drive is None:
        if place.boot_disk is None:
            return sheet
        raise unreadable(sheet.line, "no boot disk", "a -drive with id=OpenCoreBoot or a file OpenCore*", "drive")
    if place.boot_disk is not None:
        edits = placed(drive, place.boot_disk, place.boot_disk_format)
        sheet, drive = edited(sheet, drive, edits, place.boot_disk_reason or "the machine's own boot disk")
    return discarding(sheet, drive, "writes are discarded: the upstream's boot disk does not change")[0]


def _installer(sheet: Sheet, drive: Drive, given: RuleInput) -> Sheet:
    place = given.placement
    image = place.installer
    if image is None:
        why = place.installer_reason or "there is no recovery image to attach, and QEMU would not start"
        return taken_out(sheet, drive, why)
    form = drive.format if image == absolute(drive.file, place.upstream) else "raw"
    reason = _why_installer(given)
    sheet, drive = edited(sheet, drive, placed(drive, image, form or "raw"), reason)
    return discarding(sheet, drive, reason)[0]


def _new_installer(sheet: Sheet, image: str, given: RuleInput, ports: tuple[str, ...]) -> Sheet:
    """Add a drive for the recovery image if the upstream has none: to the port that a data disk takes last."""
    reason = f"{_why_installer(given)}; the boot script has no drive for it"
    value = SubOptions.parse(f"id={_INSTALLER},if=none,file=,format=raw,snapshot=on").with_value("file", image)
    waits = any(Keyed.parse("device", d.value or "").get("drive") == _INSTALLER for d in without_drive(sheet.line))
    sheet = sheet.add("-drive", value.render(), reason)
    if waits:
        return sheet
    port = f"bus={ports[-1]}," if ports else ""
    return sheet.add("-device", f"ide-hd,{port}drive={_INSTALLER}", reason)


def _why_installer(given: RuleInput) -> str:
    why = given.placement.installer_reason
    return ("the recovery image; writes are discarded, because all machines share this image") + (
        f"; {why}" if why else ""
    )


def _further(sheet: Sheet, found: UpstreamDisks, given: RuleInput) -> Sheet:
    """Handle the upstream's further drives: the machine's own copies, or as the setting says."""
    word, copies = given.spec.upstream_drives, given.placement.drive_copies
    for key, drive in keys_of(found.further).items():
        if word == "none":
            sheet = taken_out(sheet, drive, 'asked for: upstream_drives = "none"')
        elif not is_kept(drive):
            sheet = sheet.note(drive.argument, "used in place: nothing that is written to it is kept")
        elif word == "upstream":
            sheet = sheet.note(drive.argument, 'asked for: upstream_drives = "upstream"')
        elif key in copies:
            sheet = edited(sheet, drive, placed(drive, copies[key], "qcow2"), _OWN_COPY)[0]
    return sheet


def _data_disks(sheet: Sheet, files: tuple[str, ...], ports: tuple[str, ...]) -> Sheet:
    """Attach the further disks: to SATA while there are ports, because every macOS supports it, else to virtio."""
    for index, file in enumerate(files):
        name = f"own-data{index}"
        sheet = sheet.add("-drive", _DATA_DISK.with_value("id", name).with_value("file", file).render(), _OWN_DATA)
        if index < len(ports):
            sheet = sheet.add("-device", f"ide-hd,bus={ports[index]},drive={name},rotation_rate=1", _OWN_DATA)
        else:
            sheet = sheet.add("-device", f"virtio-blk-pci,drive={name}", f"{_OWN_DATA}; all SATA ports are in use")
    return sheet


def encryption(sheet: Sheet, given: RuleInput) -> Sheet:
    """Make QEMU open the machine's own disks with their key, if they are encrypted."""
    place = given.placement
    if not place.encrypted:
        return sheet
    own = {place.disk, *place.data_disks, *place.drive_copies.values()}
    for drive in drives_in(sheet.line):
        if absolute(drive.file, place.upstream) in own:
            sheet, _ = edited(sheet, drive, opened_by_key(drive), _SEALED)
    return sheet.add("-object", luks.OBJECT, _KEY_COMES)


def free_ports(line: CommandLine) -> tuple[str, ...]:
    """The free SATA ports, such as `sata.5`: those above the used ones first."""
    found: list[str] = []
    devices = [Keyed.parse("device", argument.value or "") for argument in line.find("device")]
    for controller in devices:
        if controller.get("driver") not in _AHCI or not controller.get("id"):
            continue
        prefix = f"{controller.get('id')}."
        buses = [bus for each in devices if (bus := each.get("bus") or "").startswith(prefix)]
        taken = {int(number) for bus in buses if (number := bus.removeprefix(prefix)).isdecimal()}
        free = [port for port in range(_AHCI_PORTS) if port not in taken]
        top = max(taken, default=-1)
        found += [f"{prefix}{port}" for port in sorted(free, key=lambda port: (port < top, port))]
    return tuple(found)


def _throwaway(sheet: Sheet) -> Sheet:
    """Discard the writes to every disk that would be stored."""
    for drive in drives_in(sheet.line):
        if drive.flash is None and not drive.is_removable:
            sheet, _ = discarding(sheet, drive, THROWAWAY)
    return sheet
