"""What was found of an installed Mac, whichever tool kept it. Band: core, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pommel.errors import StateError, UsageError

# Names that tools give to a boot disk and to an installer; every other disk may be the Mac's.
BOOT = re.compile(r"opencore.*|esp\b.*|clover.*", re.IGNORECASE)
INSTALLER = re.compile(r"basesystem.*|install.*|recovery.*", re.IGNORECASE)
QEMU_MAC = "52:54:00:12:34:56"  # what QEMU gives the first card of a machine when nobody says another (net/net.c)
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_NAME_MAX = 40


@dataclass(frozen=True, slots=True)
class Taken:
    """One value that is taken over, and where it stood."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """An installed Mac. Paths are as the tool wrote them, made absolute by whoever reads the files.

    `facts` are mac, uuid, macos, model, serial, mlb, rom; `settings` those of a [machine.NAME]. `script` is the boot
    script of `folder`, where the tool is one that starts its machine by a script of its own.
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
    facts: Mapping[str, Taken] = field(default_factory=dict)
    settings: Mapping[str, Taken] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def machine_name(text: str) -> str:
    """A name for a machine out of any text."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")
    return name[:_NAME_MAX].rstrip("-._") or "adopted"


def checked_mac(text: str, where: str) -> str:
    """A MAC address as the record has it.

    Raises:
        UsageError: it is none.
    """
    if not _MAC.match(text):
        raise UsageError(f"{where}: {text[:60]!r} is not a MAC address")
    return text.lower().replace("-", ":")


def checked_uuid(text: str, where: str) -> str:
    """A UUID as the record has it.

    Raises:
        UsageError: it is none.
    """
    if not _UUID.match(text):
        raise UsageError(f"{where}: {text[:60]!r} is not a UUID")
    return text.lower()


def size_text(size_bytes: int) -> str:
    """A size in the words of a setting, exact to the MiB."""
    mib = size_bytes >> 20
    return f"{mib >> 10}G" if mib % 1024 == 0 else f"{mib}M"


def no_disk(what: str) -> StateError:
    """The error for a tool's folder in which no Mac's disk is named."""
    return StateError(f"{what} contains no disk of a Mac", hint="give the disk itself: pommel adopt DISK")
