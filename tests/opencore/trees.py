"""An EFI folder and a config.plist such as an upstream has, with nothing of OpenCore in them."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

BOOT_ARGS = "7C436110-AB2A-4BBB-A880-FE41995C9F82"


def config() -> dict[str, Any]:
    """A configuration with one entry of each kind that is there, one that is off, and one that is missing."""
    return {
        "#WARNING - 1": "kept",
        "ACPI": {
            "Add": [path("SSDT-EC.aml"), path("DSDT.aml", on=False), path("SSDT-GONE.aml")],
            "Quirks": {"A": False},
        },
        "Kernel": {
            "Add": [
                kext("Lilu.kext", "Contents/MacOS/Lilu"),
                kext("USBPorts.kext"),
                kext("IntelMausi.kext", "Contents/MacOS/IntelMausi", on=False),
                kext("AppleMCEReporterDisabler.kext"),
                kext("Half.kext", "Contents/MacOS/Half"),
            ]
        },
        "Misc": {
            "Boot": {"PickerMode": "External", "Timeout": 45},
            "Tools": [path("Shell.efi"), path("memtest86\\BOOTX64.efi"), path("GONE.efi")],
        },
        "NVRAM": {
            "Add": {BOOT_ARGS: {"boot-args": "-v keepsyms=1 vti=9", "csr-active-config": b"&\x0f"}},
            "Delete": {},
        },
        "PlatformInfo": {"Generic": {"ROM": "0022412e3d4a", "SystemProductName": "iMac19,1"}},
        "UEFI": {
            "Drivers": [path("OPENRUNTIME.EFI"), path("Ext4Dxe.efi")],
            "Output": {"Resolution": "1920x1080@32", "UIScale": -1},
        },
    }


FILES = (
    *("BOOT/BOOTx64.efi", "OC/OpenCore.efi", "OC/ACPI/SSDT-EC.aml", "OC/Drivers/OpenRuntime.efi"),
    *("OC/Kexts/Lilu.kext/Contents/Info.plist", "OC/Kexts/Lilu.kext/Contents/MacOS/Lilu"),
    *("OC/Kexts/USBPorts.kext/Contents/Info.plist", "OC/Kexts/MCEReporterDisabler.kext/Contents/Info.plist"),
    *("OC/Kexts/Half.kext/Contents/Info.plist", "OC/Tools/Shell.efi", "OC/Tools/memtest86/BOOTX64.efi"),
)
MISSING = ["SSDT-GONE.aml", "AppleMCEReporterDisabler.kext", "Half.kext", "Ext4Dxe.efi", "GONE.efi"]


def path(name: str, *, on: bool = True) -> dict[str, Any]:
    return {"Comment": "", "Enabled": on, "Path": name}


def kext(name: str, executable: str = "", *, on: bool = True) -> dict[str, Any]:
    return {
        "Arch": "Any",
        "BundlePath": name,
        "Enabled": on,
        "ExecutablePath": executable,
        "PlistPath": "Contents/Info.plist",
    }


def lay(folder: Path) -> tuple[Path, Path]:
    """Write both; return the EFI folder and the configuration."""
    efi, plist = folder / "EFI", folder / "config.plist"
    for name in FILES:
        (efi / name).parent.mkdir(parents=True, exist_ok=True)
        (efi / name).write_bytes(name.encode())
    plist.write_bytes(plistlib.dumps(config(), sort_keys=False))
    return efi, plist
