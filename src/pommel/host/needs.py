"""What Pommel needs from the host's packages, why, and the commands that bring it. Band: core, no I/O.

A `Need` is met by a program or a file, not by a package name: who built QEMU by hand has what we need. The tables
are data; whether a need is met is for `packages` to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pommel.errors import MissingProgram
from pommel.host.distribution import Family


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that must be there. Any one of `any_of` will do: a program's name, or an absolute path with * and ?."""

    any_of: tuple[str, ...]
    packages: Mapping[Family, tuple[str, ...]]
    why: str
    optional: bool = False

    @property
    def name(self) -> str:
        """What to call it."""
        return self.any_of[0]


RUN_NEEDS: tuple[Need, ...] = (
    Need(
        ("qemu-system-x86_64",),
        {
            "apt": ("qemu-system-x86",),
            "dnf": ("qemu-system-x86",),
            "pacman": ("qemu-system-x86",),
            "zypper": ("qemu-x86",),
        },
        # VNC and the vmware-svga adapter are part of the program itself in all four families: no display package.
        "runs the machine",
    ),
    Need(
        ("qemu-img",),
        {"apt": ("qemu-utils",), "dnf": ("qemu-img",), "pacman": ("qemu-img",), "zypper": ("qemu-img",)},
        "makes and reads its disks",
    ),
    Need(
        (
            "/usr/share/OVMF/OVMF_CODE*.fd",
            "/usr/share/edk2/ovmf/OVMF_CODE*.fd",
            "/usr/share/edk2/x64/OVMF_CODE*.fd",
            "/usr/share/edk2-ovmf/x64/OVMF_CODE*.fd",
            "/usr/share/qemu/ovmf-x86_64*code.bin",
        ),
        {"apt": ("ovmf",), "dnf": ("edk2-ovmf",), "pacman": ("edk2-ovmf",), "zypper": ("qemu-ovmf-x86_64",)},
        "is the firmware it boots with",
    ),
    Need(
        ("ssh",),
        {
            "apt": ("openssh-client",),
            "dnf": ("openssh-clients",),
            "pacman": ("openssh",),
            "zypper": ("openssh-clients",),
        },
        "opens a shell in it",
    ),
    Need(
        ("bwrap",),
        {"apt": ("bubblewrap",), "dnf": ("bubblewrap",), "pacman": ("bubblewrap",), "zypper": ("bubblewrap",)},
        "lets an upstream's boot script see the disk but not change it",
        optional=True,
    ),
)

# What it takes to get an upstream and macOS for it, on top of what a machine runs with.
GIT = Need(("git",), dict.fromkeys(("apt", "dnf", "pacman", "zypper"), ("git",)), "clones the upstream")
MACOS_NEEDS: tuple[Need, ...] = (
    GIT,
    Need(
        ("dmg2img",),
        {"apt": ("dmg2img",), "dnf": ("dmg2img",)},
        "unpacks the recovery image (qemu-img does too, but not every kind)",
        optional=True,
    ),
    Need(
        ("mkfs.vfat",),
        dict.fromkeys(("apt", "dnf", "pacman", "zypper"), ("dosfstools",)),
        "packs OpenCore's boot disk where upstream's is missing",
        optional=True,
    ),
    Need(
        ("mcopy",),
        dict.fromkeys(("apt", "dnf", "pacman", "zypper"), ("mtools",)),
        "packs OpenCore's boot disk where upstream's is missing",
        optional=True,
    ),
)

# {refresh}: fetch the package lists. {install}: what Pommel runs, asking nothing and waiting for another
# package manager to finish. {typed}: the same, as a person would type it.
_INSTALL: Mapping[Family, tuple[str, ...]] = {
    "apt": (
        *("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"),
        *("apt-get", "-o", "DPkg::Lock::Timeout=120", "-y", "install", "--no-install-recommends"),
    ),
    "dnf": ("dnf", "-y", "--setopt=install_weak_deps=False", "install"),
    "pacman": ("pacman", "--noconfirm", "--needed", "-S"),
    "zypper": ("zypper", "--non-interactive", "install", "--no-recommends"),
}
_TYPED: Mapping[Family, tuple[str, ...]] = {
    "apt": ("apt-get", "install", "--no-install-recommends"),
    "dnf": ("dnf", "install", "--setopt=install_weak_deps=False"),
    "pacman": ("pacman", "-S", "--needed"),
    "zypper": ("zypper", "install", "--no-recommends"),
}
# dnf and zypper refresh what is old by themselves.
_REFRESH: Mapping[Family, tuple[str, ...]] = {"apt": ("apt-get", "update"), "pacman": ("pacman", "-Sy")}


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What would be installed, by which commands, and why. Nothing has happened yet."""

    family: Family
    needs: tuple[Need, ...]
    packages: tuple[str, ...]
    refresh: tuple[str, ...]  # empty: the package lists are fresh
    command: tuple[str, ...]
    needs_root: bool  # we are not root, so sudo it must be

    @property
    def reasons(self) -> tuple[str, ...]:
        """Packages and what they are for, each once: `qemu-utils makes and reads its disks, and writes its log`."""
        uses: dict[str, list[str]] = {}
        for need in self.needs:
            uses.setdefault(" ".join(need.packages[self.family]), []).append(need.why)
        return tuple(f"{packages} {', and '.join(whys)}" for packages, whys in uses.items())

    @property
    def as_text(self) -> str:
        """The exact command to type, sudo included when it takes one."""
        return self.typed(sudo=self.needs_root)

    def typed(self, *, sudo: bool) -> str:
        """The command to type, with `sudo` or for root's own shell."""
        lines = (self.refresh, (*_TYPED[self.family], *self.packages))
        return " && ".join(" ".join((*(("sudo",) if sudo else ()), *words)) for words in lines if words)


def plan_install(missing: Sequence[Need], family: Family | None, *, stale: bool, is_root: bool) -> InstallPlan:
    """Plan how to install what is missing; `stale` says that the package lists are too old to be trusted.

    Raises:
        MissingProgram: this distribution, or a need's package in it, is not one we know.
    """
    unknown = [need for need in missing if family is None or not need.packages.get(family)]
    if family is None or unknown:
        raise MissingProgram(
            "missing here: " + "; ".join(f"{need.name} ({need.why})" for need in unknown or missing),
            hint="install them with this system's package manager, which Pommel does not know",
        )
    packages = tuple(dict.fromkeys(name for need in missing for name in need.packages[family]))
    return InstallPlan(
        family=family,
        needs=tuple(missing),
        packages=packages,
        refresh=_REFRESH.get(family, ()) if stale else (),
        command=(*_INSTALL[family], *packages),
        needs_root=not is_root,
    )
