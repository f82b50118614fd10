"""The host's programs and files for building the trial machine, with packages and reasons. Band: core.

Data only; other rooms check and install them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pommel import ovmf


@dataclass(frozen=True, slots=True)
class Requirement:
    """One need: any of `any_of` (a program, or an absolute path with * and ?) meets it."""

    any_of: tuple[str, ...]
    package: str  # Debian's and Ubuntu's name
    why: str
    only_without_root: bool = False


BUILD_PROGRAMS: tuple[Requirement, ...] = (
    Requirement(("mmdebstrap",), "mmdebstrap", "builds the trial guest from Debian's packages"),
    Requirement(
        ("/usr/share/keyrings/debian-archive-keyring.gpg",),
        "debian-archive-keyring",
        "checks that those packages are Debian's",
    ),
    Requirement(("setpriv",), "util-linux", "ends the build when Pommel is killed"),
    Requirement(("mke2fs",), "e2fsprogs", "creates the guest's file system without mounting it"),
    Requirement(("debugfs",), "e2fsprogs", "writes a machine's own keys to it"),
    Requirement(("resize2fs",), "e2fsprogs", "grows it to the size of the machine's disk"),
    Requirement(("mkfs.vfat",), "dosfstools", "creates the boot picker's disk"),
    Requirement(("mcopy",), "mtools", "fills the boot picker's disk"),
    Requirement(("grub-mkstandalone",), "grub-common", "builds the boot picker"),
    Requirement(("/usr/lib/grub/x86_64-efi/linux.mod",), "grub-efi-amd64-bin", "is the boot picker"),
    Requirement(("qemu-img",), "qemu-utils", "writes the disks"),
    Requirement(ovmf.PATTERNS, "ovmf", "is the firmware it boots with"),
    Requirement(("ssh-keygen",), "openssh-client", "creates each machine's keys"),
    Requirement(("newuidmap",), "uidmap", "allows the build without root", only_without_root=True),
)


def build_programs(*, is_root: bool) -> tuple[Requirement, ...]:
    """The needs of a build by root, or by another user."""
    return tuple(r for r in BUILD_PROGRAMS if not (is_root and r.only_without_root))
