"""Which of the upstream's arguments names which file. Band: core, no I/O.

The rules need it to put the machine's own files there, and the app asks it what to look for on the disk. Drives are
known by the ids that OSX-KVM gives them, else by their file's name, else by being the only one left.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from pommel.errors import UpstreamError
from pommel.machine.commandline import Argument, CommandLine

_MACHINE = re.compile(r"machdd|mac_?hdd.*", re.IGNORECASE)
_BOOT = re.compile(r"opencore.*|esp", re.IGNORECASE)
_INSTALLER = re.compile(r"installmedia|install.*|basesystem.*|recovery.*", re.IGNORECASE)
_URL_LIKE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # nbd://…, fat:rw:…, json:…: QEMU's block protocols


@dataclass(frozen=True, slots=True)
class Pflash:
    """The two flash drives of a firmware pair."""

    code: Argument
    variables: Argument


@dataclass(frozen=True, slots=True)
class Disks:
    """The drives of a macOS machine, by their part."""

    machine: Argument
    boot: Argument | None
    installer: Argument | None


@dataclass(frozen=True, slots=True)
class UpstreamFiles:
    """The files that the upstream names, as absolute paths."""

    firmware_code: str
    firmware_variables: str
    disk: str
    boot_disk: str | None
    installer: str | None


def upstream_files(line: CommandLine, folder: str) -> UpstreamFiles:
    """Say which files the upstream's command line names; `folder` is where its relative paths start.

    Raises:
        UpstreamError: firmware or machine disk cannot be told.
    """
    pflash, disks = find_pflash(line), find_disks(line)
    return UpstreamFiles(
        firmware_code=file_of(pflash.code, folder),
        firmware_variables=file_of(pflash.variables, folder),
        disk=file_of(disks.machine, folder),
        boot_disk=file_of(disks.boot, folder) if disks.boot else None,
        installer=file_of(disks.installer, folder) if disks.installer else None,
    )


def file_of(drive: Argument, folder: str) -> str:
    """The absolute path of a drive's file."""
    return absolute(drive.sub.get("file") or "", folder)


def absolute(path: str, folder: str) -> str:
    """Make a path absolute, unless it is one of QEMU's block protocols rather than a path."""
    if _URL_LIKE.match(path):
        return path
    return posixpath.normpath(posixpath.join(folder, path))


def find_pflash(line: CommandLine) -> Pflash:
    """Find the firmware's code (read-only) and variables.

    Raises:
        UpstreamError: there is not exactly one of each.
    """
    drives = line.find("drive", where=lambda a: a.sub.get("if") == "pflash" and a.sub.has("file"))
    code = [drive for drive in drives if _is_readonly(drive)]
    variables = [drive for drive in drives if not _is_readonly(drive)]
    if len(code) != 1 or len(variables) != 1:
        raise unreadable(
            line,
            "no firmware pair",
            "one -drive if=pflash with readonly=on (code) and one without (variables)",
            "drive",
            "pflash",
            "bios",
        )
    return Pflash(code[0], variables[0])


def find_disks(line: CommandLine) -> Disks:
    """Find the machine's own disk, and the boot disk and the installer where there are any.

    Raises:
        UpstreamError: there is no disk for the machine, or more than one.
    """
    drives = list(line.find("drive", where=lambda a: a.sub.get("if") != "pflash" and a.sub.has("file")))
    boot, installer = _first(drives, _BOOT), _first(drives, _INSTALLER)
    rest = [drive for drive in drives if drive is not boot and drive is not installer]
    machine = [drive for drive in rest if _is_called(drive, _MACHINE)] or [d for d in rest if _is_kept(d)]
    if len(machine) != 1:
        raise unreadable(
            line,
            "no disk for the machine" if not machine else "more than one disk that could be the machine's",
            "one -drive with id=MacHDD or a file called mac_hdd*",
            "drive",
            "blockdev",
            "hda",
            "hdb",
            "hdc",
            "hdd",
        )
    return Disks(machine[0], boot, installer)


def devices_of(line: CommandLine, backend: Argument, key: str) -> tuple[Argument, ...]:
    """The devices that are plugged into a backend, by `drive=ID` or `netdev=ID`."""
    name = backend.sub.get("id")
    return line.find("device", where=lambda a: name is not None and a.sub.get(key) == name)


def unreadable(line: CommandLine, what: str, wanted: str, *names: str) -> UpstreamError:
    """The error for an upstream that cannot be read: what was looked for, and what is there."""
    found = [argument.text for argument in line.find(*names)]
    there = "".join(f"\n  {text}" for text in found) or " nothing of the kind"
    return UpstreamError(
        f"the upstream's command line has {what}; looked for {wanted}, found:{there}",
        hint="another boot script of the upstream may fit: set boot_script in pommel.toml",
    )


def _first(drives: list[Argument], names: re.Pattern[str]) -> Argument | None:
    by_id = (d for d in drives if names.fullmatch(d.sub.get("id") or ""))
    by_file = (d for d in drives if _is_called(d, names) and not _is_called(d, _MACHINE))
    return next(by_id, None) or next(by_file, None)


def _is_called(drive: Argument, names: re.Pattern[str]) -> bool:
    called = drive.sub.get("id") or "", posixpath.basename(drive.sub.get("file") or "")
    return any(names.fullmatch(name) for name in called)


def _is_readonly(drive: Argument) -> bool:
    return drive.sub.is_on("readonly") or drive.sub.is_on("read-only")


def _is_kept(drive: Argument) -> bool:
    sub = drive.sub
    return not _is_readonly(drive) and not sub.is_on("snapshot") and sub.get("media") != "cdrom"
