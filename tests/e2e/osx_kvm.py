"""A stand-in for kholia/OSX-KVM that boots: its files and layouts, the host's firmware, and GRUB where OpenCore is."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path

from overlay.repos import NEW, OLD, SCRIPT, Upstream, sh

OVMF = Path("/usr/share/OVMF")
MENU = """\
set timeout=-1
set menu_color_normal=light-gray/black
set menu_color_highlight=white/blue
menuentry "macOS Base System (stand-in)" { echo; }
menuentry "MacHDD (stand-in)" { echo; }
"""


def loader(folder: Path) -> bytes:
    """A GRUB for UEFI with our menu in it."""
    folder.mkdir(parents=True, exist_ok=True)
    menu, made = folder / "grub.cfg", folder / "BOOTx64.efi"
    menu.write_text(MENU)
    subprocess.run(
        [
            *("grub-mkstandalone", "-O", "x86_64-efi", "-o", made, "--install-modules=normal echo all_video gfxterm"),
            *("--modules=normal echo all_video", "--fonts=", "--locales=", "--themes=", f"boot/grub/grub.cfg={menu}"),
        ],
        check=True,
        capture_output=True,
    )
    return made.read_bytes()


def config(*kexts: str) -> bytes:
    """A config.plist that names these kexts."""
    return plistlib.dumps(
        {
            "ACPI": {"Add": []},
            "Kernel": {
                "Add": [{"BundlePath": kext, "Enabled": True, "PlistPath": "Contents/Info.plist"} for kext in kexts]
            },
            "Misc": {"Boot": {"Timeout": 45}, "Tools": []},
            "NVRAM": {"Add": {}, "Delete": {}},
            "PlatformInfo": {
                "Generic": {"SystemProductName": "iMac19,1", "SystemSerialNumber": "SHARED", "MLB": "SHARED"}
            },
            "UEFI": {"Drivers": []},
        }
    )


class OsxKvm(Upstream):
    """The repository, with a commit of each layout."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        efi = loader(folder / "loader")
        self.boot = {
            "OpenCore/EFI/BOOT/BOOTx64.efi": efi,
            "OpenCore/EFI/OC/OpenCore.efi": b"MZ stand-in",
            "OpenCore/EFI/OC/Kexts/Lilu.kext/Contents/Info.plist": b"<plist/>",
            "OpenCore/config.plist": config("Lilu.kext", "Missing.kext"),
        }
        self.notes = {"notes.md": "one\ntwo\nthree\n"}

    def october(self) -> str:
        """The older layout: firmware of the 2 MiB build, a pair that matches."""
        files = {
            SCRIPT: OLD / SCRIPT,
            "OVMF_CODE.fd": OVMF / "OVMF_CODE.fd",
            "OVMF_VARS-1920x1080.fd": OVMF / "OVMF_VARS.fd",
        }
        return self.commit({**self.boot, **self.notes, **files})

    def january(self, *, force: bool = False) -> str:
        """The newer layout: firmware of the 4 MiB build with variables of the 2 MiB one."""
        files = {
            SCRIPT: NEW / SCRIPT,
            "OVMF_CODE.fd": None,
            "OVMF_CODE_4M.fd": OVMF / "OVMF_CODE_4M.fd",
            "OVMF_VARS-1920x1080.fd": OVMF / "OVMF_VARS.fd",
        }
        if not (self.work / "OVMF_CODE.fd").exists():
            files.pop("OVMF_CODE.fd")
        return self.commit({**self.boot, **self.notes, **files}, force=force)

    def toml(self, commit: str, machine: str = "") -> str:
        """A pommel.toml that stands on `commit`."""
        return f'[upstream]\nurl = "{self.url}"\ncommit = "{commit}"\nsha256 = {{}}\n\n{machine}'

    def tip(self) -> str:
        """The commit that the branch is at."""
        return sh(self.bare, "rev-parse", "master")
