"""Folders of other tools with an installed Mac in them, made of real images. No tests here."""

from __future__ import annotations

import plistlib
import shutil
from pathlib import Path

from machine.guests import make_disk
from pommel.fat import make_fat
from pommel.machine.smbios import AppleIdentity, new_apple_identity
from pommel.process import run

OVMF = Path("/usr/share/OVMF")
MAC = "52:54:00:c9:18:27"
UUID = "007076a6-f2a2-4461-bbe5-bad019f8025a"
APPLE: AppleIdentity = new_apple_identity("iMacPro1,1", b"0123456789abcdef", uuid=UUID, mac=MAC)
SCRIPT = """#!/usr/bin/env bash
args=(
  -enable-kvm -m 512 -cpu Penryn,kvm=on,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on,+ssse3
  -machine q35
  -smp 4,cores=2,sockets=1
  -drive if=pflash,format=raw,readonly=on,file="./OVMF_CODE.fd"
  -drive if=pflash,format=raw,file="./OVMF_VARS.fd"
  -smbios type=2
  -device ich9-ahci,id=sata
  -drive id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file="./OpenCore/OpenCore.qcow2"
  -device ide-hd,bus=sata.2,drive=OpenCoreBoot
  -device ide-hd,bus=sata.3,drive=InstallMedia
  -drive id=InstallMedia,if=none,file="./BaseSystem.img",format=raw
  -drive id=MacHDD,if=none,file="./mac_hdd_ng.img",format=qcow2
  -device ide-hd,bus=sata.4,drive=MacHDD
  -netdev user,id=net0,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=net0,id=net0,mac=52:54:00:c9:18:27
  -monitor stdio -device vmware-svga
)
qemu-system-x86_64 "${args[@]}"
"""


def boot_disk(path: Path) -> Path:
    """A boot disk with APPLE's numbers in it."""
    generic = {
        "SystemProductName": APPLE.model,
        "SystemSerialNumber": APPLE.serial,
        "MLB": APPLE.mlb,
        "SystemUUID": APPLE.uuid,
        "ROM": bytes.fromhex(APPLE.rom),
    }
    raw = path.with_suffix(".raw")
    config = plistlib.dumps({"Misc": {}, "PlatformInfo": {"Generic": generic}})
    make_fat(raw, {"EFI/OC/config.plist": config}, label="OPENCORE")
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path])
    raw.unlink()
    return path


def firmware(folder: Path) -> None:
    """A 2 MiB build, and variables in which something stands."""
    shutil.copyfile(OVMF / "OVMF_CODE.fd", folder / "OVMF_CODE.fd")
    shutil.copyfile(OVMF / "OVMF_VARS.fd", folder / "OVMF_VARS.fd")
    with (folder / "OVMF_VARS.fd").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"kept by ")


def osx_kvm(folder: Path) -> Path:
    """As OSX-KVM's checkout is after an installation."""
    (folder / "OpenCore").mkdir(parents=True)
    make_disk(folder / "mac_hdd_ng.img")
    boot_disk(folder / "OpenCore" / "OpenCore.qcow2")
    firmware(folder)
    script = folder / "OpenCore-Boot.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return folder
