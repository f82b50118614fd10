"""The facts about an installed Mac, from any tool. Band: core, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pommel.errors import StateError, UsageError

# Usual names of a boot disk and of an installer; any other disk may be the Mac's.
BOOT = re.compile(r"opencore.*|esp\b.*|clover.*", re.IGNORECASE)
INSTALLER = re.compile(r"basesystem.*|install.*|recovery.*", re.IGNORECASE)
QEMU_MAC = "52:54:00:12:34:56"  # QEMU's address for a machine's first card if none is given (net/net.c)
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_NAME_MAX = 40


@dataclass(frozen=True, slots=True)
class TakenValue:
    """One adopted value, and its source."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class InstalledMac:
    """An installed Mac. Paths are the tool's own; the code that reads the files makes them absolute.

    `facts` are mac, uuid, macos, model, serial, mlb, rom; `settings` those of a [machine.NAME]. `script` is the boot
    script in `folder`, if the tool starts its machine with its own script.
    """

    kind: str
    name: str
    disk: str
    disk_format: str | None = None
    nvram: str | None = None
    firmware: str | None = None
    boot_disk: str | None = None
    folder: str | None = None
    script: str | None = None
    facts: Mapping[str, TakenValue] = field(default_factory=dict)
    settings: Mapping[str, TakenValue] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def machine_name(text: str) -> str:
    """A machine's name, made from any text."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")
    return name[:_NAME_MAX].rstrip("-._") or "adopted"


def checked_mac(text: str, where: str) -> str:
    """A MAC address in the record's form.

    Raises:
        UsageError: it is not valid.
    """
    if not _MAC.match(text):
        raise UsageError(f"{where}: {text[:60]!r} is not a MAC address")
    return text.lower().replace("-", ":")


def checked_uuid(text: str, where: str) -> str:
    """A UUID in the record's form.

    Raises:
        UsageError: it is not valid.
    """
    if not _UUID.match(text):
        raise UsageError(f"{where}: {text[:60]!r} is not a UUID")
    return text.lower()


def size_text(size_bytes: int) -> str:
    """A size in the form of a setting, exact to the MiB."""
    mib = size_bytes >> 20
    return f"{mib >> 10}G" if mib % 1024 == 0 else f"{mib}M"


def no_disk(what: str) -> StateError:
    """The error for a tool's folder without a Mac's disk."""
    return StateError(f"{what} contains no disk of a Mac", hint="give the disk itself: pommel adopt DISK")
