"""Finds which of the upstream's arguments names which file. Band: core, no I/O.

The rules need this to insert the machine's own files, and the app needs it to know which files to inspect. A boot disk
is found by its contents; the machine's disk by its id, its use, its contents and its size; names are only used without
these facts. Two drives that could both be the machine's are an error: a wrong guess could destroy a disk.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pommel.errors import UpstreamError
from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.disk_facts import DiskFacts, Facts
from pommel.machine.drives import Drive, drives_in, with_drives_spelled_out, without_drive
from pommel.machine.keyed import Keyed

_MACHINE = re.compile(r"machdd|mac_?hdd.*|systemdisk", re.IGNORECASE)
_BOOT = re.compile(r"opencore.*|esp|clover.*|bootloader", re.IGNORECASE)
_INSTALLER = re.compile(r"installmedia|install.*|basesystem.*|recovery.*", re.IGNORECASE)
_CODE, _VARIABLES = re.compile(r"code", re.IGNORECASE), re.compile(r"vars", re.IGNORECASE)
_URL_LIKE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # nbd://…, fat:rw:…, json:…: QEMU's block protocols
_FOLDER = re.compile(r"fat:((floppy|rw|12|16|32):)*")
_SYSTEM_BYTES = 20 << 30  # no current macOS is installed on less
_FLASHES_MAX = 2
_DRIVE_WORDS = ("drive", "blockdev", "hda", "hdb", "hdc", "hdd")


@dataclass(frozen=True, slots=True)
class Firmware:
    """The source of the firmware: a pair of flash drives, one flash drive, -bios, or none.

    One flash drive is `code` if it is read-only, else `variables`: it has both.
    """

    code: Drive | None = None
    variables: Drive | None = None
    bios: Argument | None = None


@dataclass(frozen=True, slots=True)
class UpstreamDisks:
    """The drives of a macOS machine, by their purpose. `further` are the other drives that the guest sees."""

    machine: Drive | None
    boot: Drive | None = None
    installer: Drive | None = None
    further: tuple[Drive, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """One of the upstream's further drives: the name of the machine's copy, the file, and whether a copy is needed."""

    key: str
    file: str
    format: str | None
    needs_copy: bool
    text: str


@dataclass(frozen=True, slots=True)
class UpstreamFiles:
    """The files that the upstream names, as absolute paths. `disk_drive` identifies the drive of the machine's disk."""

    firmware_code: str | None
    firmware_variables: str | None
    disk: str | None
    boot_disk: str | None
    installer: str | None
    bios: str | None = None
    disk_format: str | None = None
    disk_drive: str | None = None
    boot_disk_format: str | None = None
    further: tuple[Named, ...] = field(default=())


def upstream_files(
    line: CommandLine, folder: str, facts: Facts | None = None, wanted: str | None = None
) -> UpstreamFiles:
    """The files that the upstream's command line names; `folder` is the start of its relative paths.

    `wanted` names the machine's drive, by id or file, if the user has set it.

    Raises:
        UpstreamError: the firmware, or the machine's drive, cannot be determined.
    """
    line = with_drives_spelled_out(line)
    drives = drives_in(line)
    firmware = _firmware(line, drives, folder, facts)
    disks = _disks(drives, folder, facts, wanted)

    def path(drive: Drive | None) -> str | None:
        return absolute(drive.file, folder) if drive else None

    return UpstreamFiles(
        firmware_code=path(firmware.code),
        firmware_variables=path(firmware.variables),
        disk=path(disks.machine),
        boot_disk=path(disks.boot),
        installer=path(disks.installer),
        bios=firmware.bios.value if firmware.bios else None,
        disk_format=disks.machine.format if disks.machine else None,
        disk_drive=disks.machine.name or disks.machine.file if disks.machine else None,
        boot_disk_format=disks.boot.format if disks.boot else None,
        further=tuple(
            Named(key, absolute(drive.file, folder), drive.format, is_kept(drive), drive.text)
            for key, drive in keys_of(disks.further).items()
        ),
    )


def files_in(line: CommandLine, folder: str) -> dict[str, str | None]:
    """Every file that a drive names, as an absolute path, with its format if it is given."""
    return {absolute(d.file, folder): d.format for d in drives_in(with_drives_spelled_out(line))}


def absolute(path: str, folder: str) -> str:
    """Make a path absolute, unless it uses one of QEMU's block protocols."""
    path = path.removeprefix("file:")
    if not path or _URL_LIKE.match(path):
        return path
    return posixpath.normpath(posixpath.join(folder, path))


def find_firmware(line: CommandLine, folder: str = "", facts: Facts | None = None) -> Firmware:
    """Find the firmware's code and variables, in any form.

    Raises:
        UpstreamError: there are more flash drives than a PC has.
    """
    return _firmware(line, drives_in(line), folder, facts)


def _firmware(line: CommandLine, drives: Sequence[Drive], folder: str, facts: Facts | None) -> Firmware:
    flashes = sorted((d for d in drives if d.flash is not None), key=lambda d: d.flash or 0)
    if len(flashes) > _FLASHES_MAX:
        what = "more flash drives than a PC supports"
        raise unreadable(line, what, "one drive with the firmware's code and one with its variables", "drive", "pflash")
    if len(flashes) == 1:
        only = flashes[0]
        return Firmware(code=only) if only.is_readonly else Firmware(variables=only)
    if not flashes:
        bios = line.find("bios")
        return Firmware(bios=bios[-1] if bios else None)
    code = _code_of(flashes, lambda d: _fact(d, folder, facts))
    return Firmware(code, next(drive for drive in flashes if drive is not code))


def find_disks(
    line: CommandLine, folder: str = "", facts: Facts | None = None, wanted: str | None = None
) -> UpstreamDisks:
    """Find the machine's own disk, the boot disk, the installer, and the other drives that the guest sees.

    `wanted` is the id or the file of the machine's drive.

    Raises:
        UpstreamError: more than one drive could be the machine's, or none has the name `wanted`.
    """
    return _disks(drives_in(line), folder, facts, wanted)


def _disks(found: Sequence[Drive], folder: str, facts: Facts | None, wanted: str | None) -> UpstreamDisks:
    def fact(drive: Drive) -> DiskFacts | None:
        return _fact(drive, folder, facts)

    drives = [drive for drive in found if drive.flash is None]
    _refuse_twins(drives)
    said = [d for d in drives if wanted in (d.name, d.file, absolute(d.file, folder))] if wanted else []
    if wanted and len(said) != 1:
        raise _not_called(wanted, drives)
    rest = [drive for drive in drives if drive not in said]
    boot = _boot(rest, fact)
    installer = _first([d for d in rest if d is not boot], _INSTALLER)
    rest = [drive for drive in drives if drive is not boot and drive is not installer]
    machine = said or _machine(rest, fact)
    if len(machine) > 1:
        raise _several(machine)
    further = tuple(d for d in rest if d not in machine and d.is_shown)
    return UpstreamDisks(machine[0] if machine else None, boot, installer, further)


def is_kept(drive: Drive) -> bool:
    """Whether the guest's writes to a drive are stored."""
    return not (drive.is_readonly or drive.discards or drive.is_removable or _is_folder(drive, writable=False))


def keys_of(further: Sequence[Drive]) -> dict[str, Drive]:
    """The upstream's further drives by the names of the machine's copies."""
    found: dict[str, Drive] = {}
    for drive in further:
        stem = re.sub(r"[^a-z0-9_-]+", "-", (drive.name or posixpath.basename(drive.file)).lower()).strip("-")
        key = f"upstream-{stem[:20].strip('-') or 'drive'}"
        number = next(n for n in range(1, 99) if (key if n == 1 else f"{key}-{n}") not in found)
        found[key if number == 1 else f"{key}-{number}"] = drive
    return found


def unreadable(line: CommandLine, what: str, wanted: str, *names: str, hint: str | None = None) -> UpstreamError:
    """The error for an upstream that cannot be understood: what was looked for, and what was found."""
    found = [argument.text for argument in line.find(*names)]
    there = "".join(f"\n  {text}" for text in found) or " none"
    return UpstreamError(
        f"the upstream's command line has {what}; looked for {wanted}, found:{there}",
        hint=hint or "another boot script of the upstream may work: set boot_script in pommel.toml",
    )


def no_disk(line: CommandLine) -> UpstreamError:
    """The error for an upstream without a disk for the machine."""
    hint = 'disk_file = "own" in pommel.toml gives the machine its own disk, and disk_file = "none" gives it no disk'
    if lost := without_drive(line):
        name = Keyed.parse("device", lost[0].value or "").get("drive")
        return UpstreamError(
            f"the upstream's command line has no disk for the machine: {lost[0].text} refers to the drive {name}, "
            "which is not defined",
            hint=f"write its -drive id={name} into the boot script; or {hint}",
        )
    return unreadable(
        line,
        "no disk for the machine",
        "one -drive with id=MacHDD or a file called mac_hdd*, or the only disk that keeps what is written",
        *_DRIVE_WORDS,
        "cdrom",
        hint=hint,
    )


def _fact(drive: Drive, folder: str, facts: Facts | None) -> DiskFacts | None:
    return (facts or {}).get(absolute(drive.file, folder))


def _code_of(flashes: Sequence[Drive], fact: Callable[[Drive], DiskFacts | None]) -> Drive:
    """Of two flash drives, the one with the code: the read-only one, else by size, by name, by QEMU's order."""
    locked = [drive for drive in flashes if drive.is_readonly]
    if len(locked) == 1:
        return locked[0]
    sizes = [seen.virtual_bytes if (seen := fact(drive)) else 0 for drive in flashes]
    if all(sizes) and sizes[0] != sizes[1]:
        return flashes[sizes.index(max(sizes))]
    names = [posixpath.basename(drive.file) for drive in flashes]
    called = [bool(_CODE.search(name)) and not _VARIABLES.search(name) for name in names]
    return flashes[called.index(True)] if sum(called) == 1 else flashes[0]


def _boot(drives: Sequence[Drive], fact: Callable[[Drive], DiskFacts | None]) -> Drive | None:
    """The boot disk: by its contents, by its name, or a small disk with a loader that is first in the boot order."""
    disks = [drive for drive in drives if not drive.is_removable]
    seen = {id(drive): fact(drive) for drive in disks}

    def order(drive: Drive) -> tuple[bool, int]:
        by_name = _is_called(drive, _BOOT)
        return not by_name, drive.boot_index if drive.boot_index is not None else 1 << 16

    sure = [d for d in disks if (f := seen[id(d)]) and f.boots_macs and not _is_a_system(d, f)]
    if sure:
        return min(sure, key=order)
    named = _first([d for d in disks if not ((f := seen[id(d)]) and f.apple)], _BOOT)
    if named is not None:
        return named
    first = min(disks, key=order, default=None)
    if first is None or first.boot_index is None or not (found := seen[id(first)]):
        return None
    return first if found.only_boots and not _is_called(first, _MACHINE) else None


def _is_folder(drive: Drive, *, writable: bool | None = None) -> bool:
    """Whether it is a folder of the host that QEMU shows as a disk (`fat:`, writable with `rw:`)."""
    kind = _FOLDER.match(drive.file)
    return kind is not None and writable in (None, "rw:" in kind[0])


def _is_a_system(drive: Drive, seen: DiskFacts) -> bool:
    """Whether its name and its size are those of a machine's disk: then its boot loader was added later."""
    return _is_called(drive, _MACHINE) and not _is_called(drive, _BOOT) and seen.virtual_bytes >= _SYSTEM_BYTES


def _machine(drives: Sequence[Drive], fact: Callable[[Drive], DiskFacts | None]) -> list[Drive]:
    """The drives that could be the machine's disk: only one, if this can be determined."""
    disks = [drive for drive in drives if not drive.is_removable and not _is_folder(drive)]
    named = [d for d in disks if _MACHINE.fullmatch(d.name or "")] or [d for d in disks if _is_called(d, _MACHINE)]
    found = named or [d for d in disks if is_kept(d) and not ((f := fact(d)) and f.boots_macs)]
    narrower: tuple[Callable[[Drive], bool], ...] = (
        lambda d: d.is_shown,
        lambda d: not d.is_on_usb,
        lambda d: bool((f := fact(d)) and f.apple),
        lambda d: bool((f := fact(d)) and f.virtual_bytes >= _SYSTEM_BYTES),
    )
    for fits in narrower:
        fitting = [drive for drive in found if fits(drive)]
        if len(found) > 1 and fitting:
            found = fitting
    return found


def _refuse_twins(drives: Sequence[Drive]) -> None:
    names = [drive.name for drive in drives if drive.name is not None]
    if twin := next((name for name in names if names.count(name) > 1), None):
        raise UpstreamError(
            f"the upstream's command line has two drives called {twin}, and QEMU does not start with them",
            hint="give one of them another id in the boot script, or remove it",
        )


def _several(drives: Sequence[Drive]) -> UpstreamError:
    there = "".join(f"\n  {drive.text}" for drive in drives)
    name = drives[0].name or drives[0].file
    return UpstreamError(
        f"the upstream's command line has more than one disk that could be the machine's:{there}",
        hint=f'name it in pommel.toml: disk_file = "own:{name}" (a new disk in its place), or "upstream:{name}" '
        "(this disk itself); the other disks are copied",
    )


def _not_called(wanted: str, drives: Sequence[Drive]) -> UpstreamError:
    there = "".join(f"\n  {drive.text}" for drive in drives) or " none"
    return UpstreamError(
        f"disk_file names the drive {wanted}, but the upstream's command line has:{there}",
        hint="set it to the id or the file of one of them",
    )


def _first(drives: Sequence[Drive], names: re.Pattern[str]) -> Drive | None:
    by_id = (d for d in drives if names.fullmatch(d.name or ""))
    by_file = (d for d in drives if _is_called(d, names) and not _is_called(d, _MACHINE))
    return next(by_id, None) or next(by_file, None)


def _is_called(drive: Drive, names: re.Pattern[str]) -> bool:
    return any(names.fullmatch(name) for name in (drive.name or "", posixpath.basename(drive.file)))
