"""The programs and files that Pommel needs from the host, and commands to install them. Band: core, no I/O.

A `Need` is met by a program or a file, not by a package name: a QEMU that was built by hand counts too. The tables
are data; `packages` checks whether a need is met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from pommel import ovmf
from pommel.errors import MissingProgram
from pommel.host.distribution import Family, System


@dataclass(frozen=True, slots=True)
class Need:
    """One need. Any of `any_of` meets it: a program's name, or an absolute path with * and ?."""

    any_of: tuple[str, ...]
    packages: Mapping[Family, tuple[str, ...]]
    why: str
    optional: bool = False

    @property
    def name(self) -> str:
        """What to call it."""
        return self.any_of[0]


def _everywhere(package: str, gentoo: str) -> dict[Family, tuple[str, ...]]:
    """A package with the same name in every family; Gentoo puts a category before it."""
    named: dict[Family, tuple[str, ...]] = dict.fromkeys(get_args(Family), (package,))
    return {**named, "emerge": (f"{gentoo}/{package}",)}


BWRAP = Need(
    ("bwrap",),
    _everywhere("bubblewrap", "sys-apps"),
    "lets an upstream's boot script see the disk but not change it",
    optional=True,
)
RUN_NEEDS: tuple[Need, ...] = (
    Need(
        ("qemu-system-x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm"),
        {
            "apt": ("qemu-system-x86",),
            "dnf": ("qemu-system-x86",),
            "rhel": ("qemu-kvm",),
            "pacman": ("qemu-system-x86",),
            "zypper": ("qemu-x86",),
            "apk": ("qemu-system-x86_64",),
            "xbps": ("qemu",),
            "emerge": ("app-emulation/qemu",),
            "nix": ("qemu",),
        },
        # VNC and the vmware-svga adapter are part of the program itself in Debian, Fedora, Arch and SUSE.
        "runs the machine",
    ),
    Need(
        ("qemu-img",),
        {
            "apt": ("qemu-utils",),
            **dict.fromkeys(("dnf", "rhel", "pacman", "zypper", "apk"), ("qemu-img",)),
            **dict.fromkeys(("xbps", "nix"), ("qemu",)),
            "emerge": ("app-emulation/qemu",),
        },
        "creates and reads its disks",
    ),
    Need(
        ovmf.PATTERNS,
        {
            "apt": ("ovmf",),
            "dnf": ("edk2-ovmf",),
            "rhel": ("edk2-ovmf",),
            "pacman": ("edk2-ovmf",),
            "zypper": ("qemu-ovmf-x86_64",),
            "apk": ("ovmf",),
            "xbps": ("qemu",),  # QEMU's own copy
            "emerge": ("sys-firmware/edk2-bin",),
            "nix": ("OVMF.fd",),
        },
        "is the firmware it boots with",
    ),
    Need(
        ("ssh",),
        {
            "apt": ("openssh-client",),
            **dict.fromkeys(("dnf", "rhel", "zypper"), ("openssh-clients",)),
            "apk": ("openssh-client-default", "openssh-keygen"),
            **dict.fromkeys(("pacman", "xbps", "nix"), ("openssh",)),
            "emerge": ("net-misc/openssh",),
        },
        "opens a shell in it",
    ),
    BWRAP,
)
# Needed to share folders with a guest.
SHARE_NEEDS: tuple[Need, ...] = (
    Need(
        ("smbd",),
        {
            **_everywhere("samba", "net-fs"),
            "apt": ("samba", "samba-vfs-modules"),  # the second one keeps a Mac's resource forks
            "apk": ("samba-server",),
        },
        "shares folders of this host with a guest",
    ),
    replace(BWRAP, why="limits smbd to those folders of this host", optional=False),
)

# Reads the passphrase of an encrypted machine from the desktop's keyring.
SECRET_TOOL = Need(
    ("secret-tool",),
    {
        "apt": ("libsecret-tools",),
        **dict.fromkeys(("dnf", "rhel", "pacman", "apk", "xbps", "nix"), ("libsecret",)),
        "emerge": ("app-crypt/libsecret",),
    },
    "asks the desktop's keyring for the passphrase of an encrypted machine",
)

# Needed to get an upstream and macOS for it, in addition to the needs of a running machine.
GIT = Need(("git",), _everywhere("git", "dev-vcs"), "clones the upstream")
MACOS_NEEDS: tuple[Need, ...] = (
    GIT,
    Need(
        ("dmg2img",),
        {"apt": ("dmg2img",), "dnf": ("dmg2img",)},
        "unpacks the recovery image (qemu-img can also do this, but not for every kind)",
        optional=True,
    ),
    Need(
        ("mkfs.vfat",),
        _everywhere("dosfstools", "sys-fs"),
        "builds OpenCore's boot disk if the upstream has none",
        optional=True,
    ),
    Need(
        ("mcopy",),
        _everywhere("mtools", "sys-fs"),
        "writes the machine's own serial numbers to its boot disk",
    ),
)

# {refresh}: update the package lists. {install}: Pommel's own command, without questions, waiting for another
# package manager to finish. {typed}: the same for a person.
_INSTALL: Mapping[Family, tuple[str, ...]] = {
    "apt": (
        *("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"),
        *("apt-get", "-o", "DPkg::Lock::Timeout=120", "-y", "install", "--no-install-recommends"),
    ),
    **dict.fromkeys(("dnf", "rhel"), ("dnf", "-y", "--setopt=install_weak_deps=False", "install")),
    "pacman": ("pacman", "--noconfirm", "--needed", "-S"),
    "zypper": ("zypper", "--non-interactive", "install", "--no-recommends"),
    "apk": ("apk", "add"),
    "xbps": ("xbps-install", "-y"),
}
_TYPED: Mapping[Family, tuple[str, ...]] = {
    "apt": ("apt-get", "install", "--no-install-recommends"),
    **dict.fromkeys(("dnf", "rhel"), ("dnf", "install", "--setopt=install_weak_deps=False")),
    "pacman": ("pacman", "-S", "--needed"),
    "zypper": ("zypper", "install", "--no-recommends"),
    "apk": ("apk", "add"),
    "xbps": ("xbps-install",),
}
# dnf and zypper refresh old lists themselves.
_REFRESH: Mapping[Family, tuple[str, ...]] = {
    "apt": ("apt-get", "update"),
    "pacman": ("pacman", "-Sy"),
    "apk": ("apk", "update"),
    "xbps": ("xbps-install", "-S"),
}


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """The packages to install, the commands, and the reasons. Nothing is done yet."""

    family: Family
    needs: tuple[Need, ...]
    packages: tuple[str, ...]
    refresh: tuple[str, ...]  # empty: the package lists are fresh
    command: tuple[str, ...]
    needs_root: bool  # we are not root, so sudo is needed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Packages and their purposes, each once: `qemu-utils makes and reads its disks, and writes its log`."""
        uses: dict[str, list[str]] = {}
        for need in self.needs:
            uses.setdefault(" ".join(need.packages[self.family]), []).append(need.why)
        return tuple(f"{packages} {', and '.join(whys)}" for packages, whys in uses.items())

    @property
    def as_text(self) -> str:
        """The exact command to type, with sudo if needed."""
        return self.typed(sudo=self.needs_root)

    def typed(self, *, sudo: bool) -> str:
        """The command to type, with `sudo` or for root's own shell."""
        lines = (self.refresh, (*_TYPED[self.family], *self.packages))
        return " && ".join(" ".join((*(("sudo",) if sudo else ()), *words)) for words in lines if words)


def plan_install(missing: Sequence[Need], system: System, *, stale: bool, is_root: bool) -> InstallPlan:
    """Plan the installation of the missing needs; `stale`: the package lists are too old.

    Raises:
        MissingProgram: this distribution, or a need's package in it, is unknown, or Pommel must not install there; the
            hint is the alternative.
    """
    family = system.family
    unknown = [need for need in missing if family is None or not need.packages.get(family)]
    said = "missing here: " + "; ".join(f"{need.name} ({need.why})" for need in unknown or missing)
    if family is None:
        hint = f"install them with the package manager of {system.name}, which Pommel does not know"
        raise MissingProgram(said, hint=hint if system.instead is None else f"{system.name}: {system.instead}")
    if unknown:
        raise MissingProgram(said, hint=f"Pommel knows no package of {system.name} for it: install it by hand")
    packages = tuple(dict.fromkeys(name for need in missing for name in need.packages[family]))
    if system.instead is not None:
        raise MissingProgram(said, hint=f"{system.name}: " + system.instead.format(packages=" ".join(packages)))
    return InstallPlan(
        family=family,
        needs=tuple(missing),
        packages=packages,
        refresh=_REFRESH.get(family, ()) if stale else (),
        command=(*_INSTALL[family], *packages),
        needs_root=not is_root,
    )
