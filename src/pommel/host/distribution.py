"""Which distribution this is, from os-release(5). Band: core, no I/O.

Only tells the package manager apart; it knows no packages.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Literal

Family = Literal["apt", "dnf", "pacman", "zypper"]

_FAMILIES: Mapping[str, Family] = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "arch": "pacman",
    "suse": "zypper",
    "opensuse": "zypper",
    "sles": "zypper",
}


def parse_os_release(text: str) -> dict[str, str]:
    """Parse os-release(5): shell-like assignments. A line that is none is passed over, as the shell's readers do."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or not key.isidentifier():
            continue
        try:
            words = shlex.split(value)
        except ValueError:  # a quote that never closes
            continue
        found[key] = words[0] if words else ""
    return found


def family_of(fields: Mapping[str, str]) -> Family | None:
    """The package manager's family by ID, else by the first ID_LIKE we know; None for neither."""
    for name in (fields.get("ID", ""), *fields.get("ID_LIKE", "").split()):
        known = _FAMILIES.get(name) or _FAMILIES.get(name.split("-", 1)[0])
        if known:
            return known
    return None
