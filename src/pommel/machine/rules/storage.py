"""Rules for what keeps: firmware pair and disks. Band: core, no I/O."""

from __future__ import annotations

from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.rules.sheet import Given, Sheet
from pommel.machine.suboptions import SubOptions
from pommel.machine.upstream_files import devices_of, find_disks, find_pflash, unreadable

_THROWAWAY = "throwaway: what this run writes is discarded, and its end brings back what was there before"
_OWN_DATA = "a further disk of the machine's own"
_AHCI, _AHCI_PORTS = ("ich9-ahci", "ahci"), 6  # hw/ide/ich.c
# The same words as for the machine's own disk, with the same reasons.
_DATA_DISK = SubOptions.parse(
    "id=,if=none,file=,format=qcow2,cache=writeback,aio=threads,discard=unmap,detect-zeroes=unmap"
)
_SOLID_STATE = ("ide-hd", "scsi-hd")  # the devices that can tell the guest how fast they spin


def firmware(sheet: Sheet, given: Given) -> Sheet:
    """Boot the chosen firmware build with the machine's own variables."""
    place, pair = given.placement, find_pflash(sheet.line)
    code = pair.code.sub.without("readonly", "read-only").with_value("file", place.firmware_code)
    code_reason = place.firmware_reason or "the upstream's firmware, by its absolute path"
    variables = pair.variables.sub.with_value("file", place.nvram)
    sheet = sheet.change(pair.code, _readonly_where_it_was(pair.code.sub, code), code_reason)
    reason = "the machine writes its own copy of the variables, never the upstream's file"
    if place.firmware_reason:
        reason += f"; {place.firmware_reason}"
    sheet = sheet.change(pair.variables, variables, reason)
    if not place.choice.throwaway:
        return sheet
    return sheet.change(find_pflash(sheet.line).variables, _discard_writes(variables), _THROWAWAY)


def _readonly_where_it_was(before: SubOptions, after: SubOptions) -> SubOptions:
    """Spell `readonly=on` in full, in its old place: QEMU deprecates the bare word."""
    keys = [key for key, _ in before.pairs]
    place = next(i for i, key in enumerate(keys) if key in ("readonly", "read-only"))
    return after.with_pairs([*after.pairs[:place], ("readonly", "on"), *after.pairs[place:]])


def disks(sheet: Sheet, given: Given) -> Sheet:
    """Give the machine its own disk; attach the boot disk and the installer without writing to them."""
    sheet = sheet.remove_all(sheet.line.find("snapshot"), "the machine keeps what it writes")
    ports = free_ports(sheet.line)  # before the installer leaves: its port stays free for when it comes back
    sheet = _installer(_boot_disk(_machine_disk(sheet, given), given), given)
    sheet = _data_disks(sheet, given.placement.data_disks, ports)
    return _throwaway(sheet) if given.placement.choice.throwaway else sheet


def _machine_disk(sheet: Sheet, given: Given) -> Sheet:
    drive, place = find_disks(sheet.line).machine, given.placement
    plugs = devices_of(sheet.line, drive, "drive")
    if not plugs and drive.sub.get("if") == "none":
        raise unreadable(
            sheet.line,
            "a disk that no device shows to the guest",
            f"a -device with drive={drive.sub.get('id')}",
            "device",
        )
    value = drive.sub.with_value("file", place.disk).with_value("format", place.disk_format)
    # Threads and the page cache work on every file system (O_DIRECT does not, io_uring may be forbidden), and flushes
    # still reach the disk, so a crash of the host loses no more than on real hardware.
    for key, default in (("cache", "writeback"), ("aio", "threads")):
        value = value.with_default(key, default)
    for key, default in (("discard", "unmap"), ("detect-zeroes", "unmap")):
        value = value.with_default(key, default)
    sheet = sheet.change(
        drive, value, "the machine's own disk; host cache with flushes; what the guest trims is given back"
    )
    for plug in plugs:
        if plug.sub.head in _SOLID_STATE:
            value = plug.sub.with_default("rotation_rate", "1")
            sheet = sheet.change(plug, value, "shown as an SSD, so that the guest trims")
    return sheet


def _boot_disk(sheet: Sheet, given: Given) -> Sheet:
    drive, own = find_disks(sheet.line).boot, given.placement.boot_disk
    if drive is None:
        if own is None:
            return sheet
        raise unreadable(sheet.line, "no boot disk", "a -drive with id=OpenCoreBoot or a file OpenCore*", "drive")
    value = drive.sub if own is None else drive.sub.with_value("file", own)
    sheet = sheet.change(drive, value, given.placement.boot_disk_reason or "the machine's own boot disk")
    drive = find_disks(sheet.line).boot or drive
    return sheet.change(
        drive, _discard_writes(drive.sub), "writes are discarded: the boot disk stays as upstream made it"
    )


def _installer(sheet: Sheet, given: Given) -> Sheet:
    drive, image = find_disks(sheet.line).installer, given.placement.installer
    if drive is None:
        if image is None:
            return sheet
        raise unreadable(
            sheet.line, "no installer drive", "a -drive with id=InstallMedia or a file BaseSystem*", "drive"
        )
    if image is None:
        return _without_installer(sheet, drive, given.placement.installer_reason)
    value = _discard_writes(drive.sub.with_value("file", image))
    reason = "the recovery image; writes are discarded: machines share the one image"
    if why := given.placement.installer_reason:
        reason += f"; {why}"
    return sheet.change(drive, value, reason)


def _without_installer(sheet: Sheet, drive: Argument, why: str) -> Sheet:
    reason = why or "there is no recovery image to attach, and QEMU would not start"
    plugs = devices_of(sheet.line, drive, "drive")
    return sheet.remove_all(plugs, reason).remove(drive, reason)


def _data_disks(sheet: Sheet, files: tuple[str, ...], ports: tuple[str, ...]) -> Sheet:
    """Attach the machine's further disks: to SATA while there are ports, which every macOS knows, else to virtio."""
    for index, file in enumerate(files):
        name = f"own-data{index}"
        sheet = sheet.add("-drive", _DATA_DISK.with_value("id", name).with_value("file", file).render(), _OWN_DATA)
        if index < len(ports):
            sheet = sheet.add("-device", f"ide-hd,bus={ports[index]},drive={name},rotation_rate=1", _OWN_DATA)
        else:
            sheet = sheet.add("-device", f"virtio-blk-pci,drive={name}", f"{_OWN_DATA}; all SATA ports are taken")
    return sheet


def free_ports(line: CommandLine) -> tuple[str, ...]:
    """The SATA ports that nothing is plugged into, such as `sata.5`: those above the taken ones first."""
    found: list[str] = []
    for controller in line.find("device", where=lambda a: a.sub.head in _AHCI and a.sub.has("id")):
        prefix = f"{controller.sub.get('id')}."
        buses = [bus for a in line.find("device") if (bus := a.sub.get("bus") or "").startswith(prefix)]
        taken = {int(number) for bus in buses if (number := bus.removeprefix(prefix)).isdecimal()}
        free = [port for port in range(_AHCI_PORTS) if port not in taken]
        top = max(taken, default=-1)
        found += [f"{prefix}{port}" for port in sorted(free, key=lambda port: (port < top, port))]
    return tuple(found)


def _throwaway(sheet: Sheet) -> Sheet:
    """Discard the writes to every disk that would be kept."""
    for drive in sheet.line.find("drive", where=lambda a: a.sub.get("if") != "pflash" and a.sub.has("file")):
        if drive.sub.get("media") != "cdrom":
            sheet = sheet.change(drive, _discard_writes(drive.sub), _THROWAWAY)
    return sheet


def _discard_writes(drive: SubOptions) -> SubOptions:
    if drive.is_on("snapshot") or drive.is_on("readonly") or drive.is_on("read-only"):
        return drive
    return drive.with_value("snapshot", "on")
