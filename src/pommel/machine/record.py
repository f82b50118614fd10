"""machine.json: the choices at a machine's creation, which must stay. Band: shell.

It does not contain the settings, which the user may change at any time in pommel.toml. It is read strictly: a record of
a newer Pommel, or a damaged one, is an error and never read in part. It is written completely or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pommel.errors import MachineError, StateError, UsageError
from pommel.machine.smbios import AppleIdentity, check_mlb, check_serial
from pommel.paths import check_name, write_atomic

FORMAT = 1
_APPLE = ("model", "serial", "mlb", "rom")
_OPTIONAL = {"base", "macos", "recovery", "config", *_APPLE, "clone_of", "golden", "installed"}
_OPTIONAL |= {"adopted", "disk_format", "settings", "encrypted"}
_DISK_FORMATS = ("qcow2", "raw")
_MODEL = re.compile(r"[A-Za-z]+\d+,\d+\Z")
_ROM = re.compile(r"[0-9A-F]{12}\Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """One machine as it was created.

    `created` is ISO 8601 in UTC; `base` is the trial base image's key; `recovery` the recovery image's; `macos` the
    version's number; `config` the pommel.toml with which it was made. `model` to `rom` are the Mac's numbers: all of
    them or none. `clone_of` names the machine that it was cloned from. `golden` marks a machine that is only cloned and
    never written to. `installed` is the user's mark whether macOS is installed, None without a mark. `adopted` is the
    folder or file of another tool from which it was adopted, `disk_format` the format of its disk if not qcow2, and
    `settings` are the values that pommel.toml, environment and flags can override. `encrypted`: its disks are
    encrypted, and this is the UUID under which the keyring has their passphrase, even if the machine's own UUID
    changes; None: they are not encrypted.
    """

    name: str
    upstream: str
    uuid: str
    mac: str
    ssh_port: int
    created: str
    base: str | None = None
    macos: str | None = None
    recovery: str | None = None
    config: str | None = None
    model: str | None = None
    serial: str | None = None
    mlb: str | None = None
    rom: str | None = None
    clone_of: str | None = None
    golden: bool = False
    installed: bool | None = None
    adopted: str | None = None
    disk_format: str | None = None
    settings: Mapping[str, Any] | None = None
    encrypted: str | None = None

    @property
    def apple(self) -> AppleIdentity | None:
        """The Mac's numbers; None: the boot disk's own numbers are used."""
        if self.model is None or self.serial is None or self.mlb is None or self.rom is None:
            return None
        return AppleIdentity(self.model, self.serial, self.mlb, self.uuid.upper(), self.rom)


def load(path: Path) -> MachineRecord:
    """Read the record `path`.

    Raises:
        StateError: it does not exist.
        MachineError: it cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as gone:
        raise StateError(f"there is no machine at {path.parent}", hint="to list the machines: pommel list") from gone
    except (OSError, UnicodeDecodeError) as failure:
        raise MachineError(f"{path} cannot be read: {failure}") from failure
    try:
        return parse(text)
    except ValueError as wrong:
        raise MachineError(f"{path} cannot be used: {wrong}", hint=_hint(text)) from wrong


def save(path: Path, record: MachineRecord) -> None:
    """Write the record `path`, completely or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    try:
        write_atomic(path, render(record))
    except OSError as failure:
        raise MachineError(f"{path} cannot be written: {failure}") from failure


def render(record: MachineRecord) -> str:
    """The record as JSON text."""
    return json.dumps({"format": FORMAT, **asdict(record)}, indent=2, ensure_ascii=False) + "\n"


def parse(text: str) -> MachineRecord:
    """Parse a record.

    Raises:
        ValueError: with the error, for the user.
    """
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as failure:
        raise ValueError(f"it is not JSON ({failure})") from failure
    if not isinstance(document, dict):
        raise ValueError("it does not contain a JSON object")
    found = dict(document)
    version = found.pop("format", None)
    if version != FORMAT or isinstance(version, bool):
        raise ValueError(f"its format is {version!r}, but this Pommel supports {FORMAT}")
    known = {field.name for field in fields(MachineRecord)}
    if unknown := sorted(found.keys() - known):
        raise ValueError(f"unknown key {unknown[0]!r}")
    if lacking := sorted(known - _OPTIONAL - found.keys()):
        raise ValueError(f"{lacking[0]!r} is missing")
    for key, value in found.items():
        _check(key, value)
    if 0 < len(said := [key for key in _APPLE if found.get(key) is not None]) < len(_APPLE):
        raise ValueError(f"{', '.join(_APPLE)} are needed together, but there is only {', '.join(said)}")
    return MachineRecord(**found)


def _check(key: str, value: Any) -> None:
    if key in ("golden", "installed"):
        if not isinstance(value, bool) and not (key == "installed" and value is None):
            raise ValueError(f"{key} is {value!r}, not true or false")
    elif key == "ssh_port":
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
            raise ValueError(f"ssh_port is {value!r}, no port")
    else:
        _check_text(key, value)


def _check_text(key: str, value: Any) -> None:
    if key in _OPTIONAL and value is None:
        return
    if key == "settings" and isinstance(value, dict):
        return
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is {value!r}, no text")
    if key == "mac" and not _MAC.match(value):
        raise ValueError(f"mac is {value!r}, no MAC address")
    if key in ("uuid", "encrypted") and not _UUID.match(value):
        raise ValueError(f"{key} is {value!r}, no UUID in lower case")
    if wrong := _problem(key, value):
        raise ValueError(f"{key} is {value!r}: {wrong}")


def _problem(key: str, value: str) -> str | None:
    """The error in a Mac's number or in a machine's name."""
    if key == "serial":
        return check_serial(value)
    if key == "mlb":
        return check_mlb(value)
    if key == "disk_format":
        return None if value in _DISK_FORMATS else f"none of {', '.join(_DISK_FORMATS)}"
    if key == "model":
        return None if _MODEL.match(value) else "no model such as iMacPro1,1"
    if key == "rom":
        return None if _ROM.match(value) else "not 12 hexadecimal digits in upper case"
    if key == "clone_of":
        try:
            check_name(value)
        except UsageError as wrong:
            return wrong.message
    return None


def _hint(text: str) -> str:
    try:
        version = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        version = None
    if isinstance(version, int) and version > FORMAT:
        return "a newer Pommel created this machine: update this Pommel"
    return "restore the file from a backup, or delete the machine and create it again"
