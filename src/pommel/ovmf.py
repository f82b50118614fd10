"""The paths of OVMF, UEFI for QEMU's PCs, in each distribution: code and variables. Band: core ground, no I/O.

In order of preference. Two files of one folder may not match: the caller compares their sizes.
"""

from __future__ import annotations

PAIRS: tuple[tuple[str, str, str], ...] = (
    ("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),  # Debian, Ubuntu
    ("/usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"),  # the same before 2023; Alpine
    ("/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),  # Fedora, RHEL and what is built from it
    ("/usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),  # Arch
    ("/usr/share/edk2/x64", "OVMF_CODE.fd", "OVMF_VARS.fd"),
    ("/usr/share/edk2-ovmf/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
    ("/usr/share/edk2-ovmf/x64", "OVMF_CODE.fd", "OVMF_VARS.fd"),
    ("/usr/share/qemu", "ovmf-x86_64-4m-code.bin", "ovmf-x86_64-4m-vars.bin"),  # openSUSE, SLES
    ("/usr/share/qemu", "ovmf-x86_64-code.bin", "ovmf-x86_64-vars.bin"),
    ("/usr/share/edk2/OvmfX64", "OVMF_CODE.fd", "OVMF_VARS.fd"),  # Gentoo
    ("/usr/share/edk2-ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),  # the same before 2024
    ("/run/libvirt/nix-ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),  # NixOS with libvirt
    ("/usr/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"),  # QEMU's own copy: Void, Alpine, QEMU from source
    ("/usr/local/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
)
# All code files, to find out whether there is any OVMF.
PATTERNS = tuple(dict.fromkeys(f"{folder}/{code}" for folder, code, _ in PAIRS))
INSTALL = "install the firmware: OVMF, which is called ovmf, edk2-ovmf, edk2-bin or qemu-ovmf-x86_64"
