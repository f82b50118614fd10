"""Parses a quickemu configuration (`macos-sonoma.conf`): shell assignments, without a shell. Band: core, no I/O.

The keys are those of quickemu's own script (quickemu-project/quickemu, `quickemu`, in its list of defaults). A value
that needs a shell is refused, with its line.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping

from pommel.adopt.found import QEMU_MAC, InstalledMac, TakenValue, checked_mac, machine_name, no_disk
from pommel.errors import UsageError

KIND = "a quickemu machine"
# The time of shlex grows with the square of a word's length: part of a second for this many characters.
TEXT_MAX = 1 << 16
_ASSIGNMENT = re.compile(r"(?:export\s+|declare\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)\Z")
_RAM = re.compile(r"([1-9][0-9]{0,8})\s*([MG])?(?:i?B)?\Z", re.IGNORECASE)
_LOST = ("tpm", "usb_devices", "extra_args", "port_forwards", "network", "bridge", "fixed_iso", "floppy")
_QEMU = re.compile(r"(.*/)?qemu-system-x86_64\Z|(.*/)?qemu-kvm\Z")


def parse(text: str, where: str) -> dict[str, str]:
    """The assignments of a configuration; a list's words are joined by blanks.

    Raises:
        UsageError: a line is something else, or needs a shell; the message names the line.
    """
    if len(text) > TEXT_MAX:
        raise UsageError(f"{where} is too large for a quickemu configuration")
    if "\0" in text:
        raise UsageError(f"{where} is not a text file: it contains a NUL")
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _ASSIGNMENT.match(line)
        if match is None:
            raise UsageError(
                f"{where}:{number}: {line[:60]!r} is not an assignment, and Pommel does not execute this file"
            )
        found[match["key"]] = _value(match["value"], f"{where}:{number}")
    return found


def machine(conf: Mapping[str, str], name: str, where: str, *, names: frozenset[str]) -> InstalledMac:
    """The contents of the configuration `conf` of machine `name`. `names` are the files in the folder of its disk.

    Raises:
        UsageError: it is for another guest, or a value cannot be read.
        StateError: it names no disk.
    """
    if (guest := conf.get("guest_os", "linux")) != "macos":
        raise UsageError(f"{where} is for {guest[:60]}, but only machines with macOS can be adopted")
    disk = conf.get("disk_img")
    if not disk:
        raise no_disk(where)
    folder = posixpath.dirname(disk)
    settings = {}
    if ram := conf.get("ram"):
        settings["memory"] = TakenValue(_ram(ram, where), f"{where}: ram")
    if cores := conf.get("cpu_cores"):
        if not re.fullmatch(r"[1-9][0-9]{0,3}", cores):
            raise UsageError(f"{where}: cpu_cores is {cores[:60]!r}, no number")
        settings["threads"] = TakenValue(int(cores), f"{where}: cpu_cores")
    facts = {"mac": TakenValue(QEMU_MAC, "QEMU's default, because quickemu sets none")}
    if conf.get("macaddr") and conf.get("network"):
        facts["mac"] = TakenValue(checked_mac(conf["macaddr"], where), f"{where}: macaddr")
    if conf.get("macos_release"):
        facts["macos"] = TakenValue(conf["macos_release"], f"{where}: macos_release")
    variables = ("OVMF_VARS-1024x768.fd", "OVMF_VARS-1920x1080.fd", "OVMF_VARS.fd")
    return InstalledMac(
        KIND, machine_name(name), disk, conf.get("disk_format"),
        nvram=_first(folder, names, variables),
        firmware=_first(folder, names, ("OVMF_CODE.fd",)),
        boot_disk=_first(folder, names, ("OpenCore.qcow2", "ESP.qcow2")),
        facts=facts, settings=settings,
        warnings=tuple(f"{key} = {conf[key]} of quickemu is not adopted" for key in _LOST if _says(conf.get(key))),
    )  # fmt: skip


def argv_of(script: str) -> list[str] | None:
    """QEMU's arguments in the script that quickemu leaves of its last start; None: there are none."""
    if len(script) > TEXT_MAX:
        return None
    try:
        # A backslash at the end of a line continues the command, as in the shell.
        words = shlex.split(script.replace("\\\n", " "), comments=True)
    except ValueError:
        return None
    place = next((number for number, word in enumerate(words) if _QEMU.match(word)), None)
    if place is None:
        return None
    # The redirection is for the script's shell, and not an argument of QEMU.
    return [word for word in words[place + 1 :] if word != "2>/dev/null"]


def _value(text: str, where: str) -> str:
    listed = text.startswith("(")
    inner = text[1:].rstrip().removesuffix(")") if listed else text
    if re.search(r"[$`]", re.sub(r"'[^']*'", "", inner)):
        raise UsageError(f"{where}: {text[:60]!r} needs a shell to compute", hint="write the value itself there")
    try:
        words = shlex.split(inner, comments=True)
    except ValueError as wrong:
        raise UsageError(f"{where}: {text[:60]!r} cannot be read: {wrong}") from None
    if len(words) > 1 and not listed:
        raise UsageError(f"{where}: {text[:60]!r} is more than a value, and Pommel does not execute this file")
    return " ".join(words)


def _ram(text: str, where: str) -> str:
    match = _RAM.match(text)
    if match is None:
        raise UsageError(f"{where}: ram is {text[:60]!r}, no size such as 8G")
    return f"{match[1]}{(match[2] or 'M').upper()}"


def _first(folder: str, names: frozenset[str], wanted: tuple[str, ...]) -> str | None:
    return next((posixpath.join(folder, name) for name in wanted if name in names), None)


def _says(value: str | None) -> bool:
    return value not in (None, "", "off")
