"""Two kernel patches that hide from macOS that it runs in a virtual machine. Band: core, no I/O.

From macOS 15 on, Apple's services refuse a sign-in when the sysctl `kern.hv_vmm_present` answers 1. The patches swap
two names of equal length in the kernel's table of sysctls, so that `hv_vmm_present` is answered by what belongs to
`hibernatecount`, which is 0. Both are needed: with the first alone there are two of that name, and the answer stays 1.
Facts: kholia/OSX-KVM pull request 264 and thenickdude/KVM-Opencore pull request 79; keys as in OpenCore's
Configuration.pdf, section Kernel/Patch. They match the kernels of macOS 15 (Darwin 24) and later; on another kernel
OpenCore logs that nothing was found, and goes on.
"""

from __future__ import annotations

from typing import Any

_MIN_KERNEL = "24.0.0"
_SWAPS = (
    (b"hibernatehidready\0hibernatecount\0", b"hibernatehidready\0hv_vmm_present\0"),
    (b"boot session UUID\0hv_vmm_present\0", b"boot session UUID\0hibernatecount\0"),
)


def entries() -> list[dict[str, Any]]:
    """The entries of Kernel/Patch, in the order that they must be applied in."""
    return [
        {
            "Arch": "x86_64",
            "Base": "",
            "Comment": f"Pommel: apple_services, {number} of {len(_SWAPS)}",
            "Count": 1,
            "Enabled": True,
            "Find": find,
            "Identifier": "kernel",
            "Limit": 0,
            "Mask": b"",
            "MaxKernel": "",
            "MinKernel": _MIN_KERNEL,
            "Replace": replacement,
            "ReplaceMask": b"",
            "Skip": 0,
        }
        for number, (find, replacement) in enumerate(_SWAPS, 1)
    ]


def lacking(patches: list[Any]) -> list[dict[str, Any]]:
    """The `entries` that `patches` does not already have turned on."""
    there = {
        (bytes(entry["Find"]), bytes(entry["Replace"]))
        for entry in patches
        if isinstance(entry, dict)
        and entry.get("Enabled") is True
        and isinstance(entry.get("Find"), bytes)
        and isinstance(entry.get("Replace"), bytes)
    }
    return [entry for entry in entries() if (entry["Find"], entry["Replace"]) not in there]
