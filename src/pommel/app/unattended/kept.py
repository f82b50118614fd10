"""The file with which an unattended installation continues after a kill; in the machine's folder. Band: app.

Only this user can read it: it has the hash of the password, and the token of the reports.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pommel import json_file
from pommel.app.unattended.script_disk import CheckedAccount
from pommel.paths import MachinePaths
from pommel.unattended.wishes import Wishes


@dataclass(frozen=True)
class Kept:
    """An installation in progress. `since` is the time of its begin, when the licence was accepted: ISO 8601 in UTC.

    The scripts report to `port` on this host. `again`: the installation failed before its first restart, so it may
    erase the disk again. `flags` are the settings for its starts.
    """

    token: str = field(repr=False)
    port: int
    since: str
    account: CheckedAccount
    recipe: str
    snapshot: bool
    full_installer: bool = False
    again: bool = False
    flags: Mapping[str, Any] = field(default_factory=dict)


def load(paths: MachinePaths) -> Kept | None:
    """The installation in progress; None: there is none, or the file is damaged."""
    return json_file.read_or(file_of(paths), _from_dict, None)


def save(paths: MachinePaths, kept: Kept) -> None:
    """Write the file, completely or not at all.

    Raises:
        OSError: the disk is full, or cannot be written to.
    """
    found = {key: value for key, value in vars(kept).items() if key != "account"}
    shadow = kept.account.shadow
    found |= {"wishes": asdict(kept.account.wishes), "shadow": base64.b64encode(shadow).decode() if shadow else None}
    json_file.write(file_of(paths), found)


def forget(paths: MachinePaths) -> None:
    """Delete all files of a finished installation, because they contain secrets."""
    for path in (file_of(paths), disk_of(paths), picture_of(paths)):
        path.unlink(missing_ok=True)


def file_of(paths: MachinePaths) -> Path:
    """The path of the file (JSON, 0600)."""
    return paths.directory / "unattended.json"


def disk_of(paths: MachinePaths) -> Path:
    """The disk with the scripts of the present stage (0600)."""
    return paths.directory / "unattended.img"


def picture_of(paths: MachinePaths) -> Path:
    """The picture of the screen at a failure."""
    return paths.directory / "unattended.png"


def lock_of(paths: MachinePaths) -> Path:
    """The lock file that a process holds while it installs."""
    return paths.directory / "unattended.lock"


def _from_dict(found: dict[str, Any]) -> Kept:
    wishes, shadow = found.pop("wishes"), found.pop("shadow")
    checked = CheckedAccount(
        Wishes(**{**wishes, "ssh_keys": tuple(wishes["ssh_keys"])}), base64.b64decode(shadow) if shadow else None
    )
    return Kept(account=checked, **found)
