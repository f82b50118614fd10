"""The distribution, from os-release(5), and its way to install packages. Band: core, no I/O.

It knows package managers but no packages. It uses ID, else the first known ID_LIKE: a distribution that is based on
another uses that one's packages. Into some nothing can be installed; then `instead` is the advice for the owner.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_VALUE_MAX = 4096  # the time of shlex grows with the square of the length
# The source of the package names. RHEL and its rebuilds have dnf too, but a single QEMU, called qemu-kvm.
Family = Literal["apt", "dnf", "rhel", "pacman", "zypper", "apk", "xbps", "emerge", "nix"]

_FAMILIES: Mapping[str, Family] = {
    "debian": "apt",
    "ubuntu": "apt",
    "raspbian": "apt",
    "fedora": "dnf",
    "rhel": "rhel",
    "centos": "rhel",
    "almalinux": "rhel",
    "rocky": "rhel",
    "ol": "rhel",  # Oracle Linux says ID_LIKE=fedora
    "arch": "pacman",
    "suse": "zypper",
    "opensuse": "zypper",
    "sles": "zypper",
    "alpine": "apk",
    "void": "xbps",
    "gentoo": "emerge",
    "nixos": "nix",
}
_READ_ONLY = "its system files are read-only and are replaced by each update: run Pommel in a container (distrobox)"
_BY_HAND: Mapping[Family, str] = {
    "emerge": "sudo emerge --ask --noreplace {packages}   (QEMU with USE=vnc and QEMU_SOFTMMU_TARGETS=x86_64)",
    "nix": "nix-shell -p {packages}   (or add them to environment.systemPackages)",
}
_OSTREE = "sudo rpm-ostree install --idempotent {packages}, then restart: systemctl reboot"
_TRANSACTIONAL = "sudo transactional-update pkg install {packages}, then restart: sudo systemctl reboot"


@dataclass(frozen=True, slots=True)
class System:
    """A distribution: its name, its package family, and the advice if Pommel installs nothing itself.

    `instead` is for people; `{packages}` in it stands for the packages' names.
    """

    name: str = "this system"
    family: Family | None = None
    instead: str | None = None


def parse_os_release(text: str) -> dict[str, str]:
    """Parse os-release(5): shell-like assignments. Other lines are skipped, as readers in a shell do."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or not key.isidentifier() or len(value) > _VALUE_MAX:
            continue
        try:
            words = shlex.split(value)
        except ValueError:  # an unclosed quote
            continue
        found[key] = words[0] if words else ""
    return found


def family_of(fields: Mapping[str, str]) -> Family | None:
    """The package manager's family by ID, else by the first known ID_LIKE; None for neither."""
    for name in _ids(fields):
        known = _FAMILIES.get(name) or _FAMILIES.get(name.split("-", 1)[0])
        if known:
            return known
    return None


def system_of(fields: Mapping[str, str], *, ostree: bool = False, transactional: bool = False) -> System:
    """The distribution for os-release's `fields`.

    `ostree`: it was booted from an OSTree commit (/run/ostree-booted). `transactional`: it is changed by
    transactional-update(8). Both have read-only system files, and a new package needs a restart.
    """
    family = family_of(fields)
    name = fields.get("PRETTY_NAME") or fields.get("NAME") or fields.get("ID") or "this system"
    if ostree:
        return System(name, family, _OSTREE if family in ("dnf", "rhel") else _READ_ONLY)
    if transactional or any(each.endswith("microos") for each in _ids(fields)):
        return System(name, family, _TRANSACTIONAL)
    if "steamos" in _ids(fields):
        return System(name, family, _READ_ONLY)
    return System(name, family, _BY_HAND.get(family) if family else None)


def _ids(fields: Mapping[str, str]) -> tuple[str, ...]:
    return (fields.get("ID", "").lower(), *fields.get("ID_LIKE", "").lower().split())
