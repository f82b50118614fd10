"""The files of the disk with the scripts for Apple's Recovery. Band: core, no I/O.

The scripts in data/ never change; the differences are in `values`, a file of shell assignments with quoted values. One
short line starts them: `sh /Volumes/POMMEL/i`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pommel.unattended.wishes import KEYBOARDS, Wishes

LABEL = "POMMEL"
LINE = f"sh /Volumes/{LABEL}/i"
SCRIPTS = ("i", "common.sh", "install.sh", "provision.sh")
# The words of the scripts' reports. `alive` comes every 20 s.
STARTED, ALIVE, FAILED = "started", "alive", "failed"
PREPARED, NOT_FINISHED, DONE = "prepared", "not-finished", "done"
WORDS = (STARTED, ALIVE, FAILED, PREPARED, NOT_FINISHED, DONE)


@dataclass(frozen=True, slots=True)
class Reporting:
    """The target of the scripts' reports: the host's address for the guest, and a secret. No address: a disk file."""

    address: str | None  # such as 10.0.2.2:34567
    token: str


@dataclass(frozen=True, slots=True)
class Package:
    """A disk with Apple's full installer: its label, the number of the package's pieces on it, and its size."""

    label: str
    pieces: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class InstallTarget:
    """The disk to install on, identified by its exact size in bytes. `volume` is the name of the new volume.

    With `package` nothing is downloaded during the installation.
    """

    size_bytes: int
    volume: str
    package: Package | None = None


@dataclass(frozen=True, slots=True)
class UserRecord:
    """The account's record from `account.record`, and the identifier in it."""

    data: bytes
    guid: str


def files(
    stage: Literal["install", "provision"],
    target: InstallTarget,
    reporting: Reporting,
    wishes: Wishes,
    user: UserRecord,
    *,
    licence_accepted: bool,
    again: bool = False,
    sources: Mapping[str, bytes],
) -> dict[str, bytes]:
    """The files of the script disk for one stage.

    `sources` are the scripts in data/ by name. `again`: an interrupted installation on this volume
    may be erased.
    """
    package = target.package
    values: dict[str, str] = {
        "stage": stage,
        "size": str(target.size_bytes),
        "volume": target.volume,
        "address": reporting.address or "",
        "token": reporting.token,
        "licence": "accepted" if licence_accepted else "",
        "again": "yes" if again else "no",
        "package_label": package.label if package else "",
        "package_pieces": str(package.pieces) if package else "",
        "package_bytes": str(package.size_bytes) if package else "",
    }
    made = {name: sources[name] for name in SCRIPTS}
    if stage == "provision":
        keyboard = KEYBOARDS[wishes.keyboard] if wishes.keyboard else ("", "")
        values |= {
            "user": wishes.user,
            "guid": user.guid,
            "locale": wishes.locale or "",
            "language": (wishes.locale or "").replace("_", "-"),
            "keyboard_name": keyboard[0],
            "keyboard_number": str(keyboard[1]),
            "timezone": wishes.timezone or "",
        }
        made["user.plist"] = user.data
        made["authorized_keys"] = "".join(f"{key}\n" for key in wishes.ssh_keys).encode()
    lines = (f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return {**made, "values": "".join(lines).encode()}
