"""The boot picker's disk, the stand-in for OpenCore.qcow2: a FAT file system with GRUB and our menu. Band: shell.

No partition table: OVMF boots EFI/BOOT/BOOTX64.EFI from a bare FAT disk. Needs no privilege and mounts nothing.
"""

from __future__ import annotations

from pathlib import Path

from pommel import private, process
from pommel.fat import make_fat

_MENU = Path(__file__).parent / "data" / "picker" / "grub.cfg"
# all_video is not for the menu: without it GRUB passes no framebuffer to the kernel.
MODULES = "part_gpt part_msdos fat ext2 normal linux search search_label echo test reboot halt all_video"
_BYTES = 8 << 20


def make_picker(disk: Path, scratch: Path) -> None:
    """Write the picker's qcow2 to `disk`; `scratch` is an existing directory for temporary files.

    Raises:
        MissingProgram: grub-mkstandalone, mkfs.vfat, mtools or qemu-img is not installed.
        CommandFailed: one of them failed.
        BuildError: the file system could not be made.
    """
    loader, raw = scratch / "BOOTX64.EFI", scratch / "picker.raw"
    process.run(
        [
            *("grub-mkstandalone", "-O", "x86_64-efi", "-o", loader),
            *(f"--install-modules={MODULES}", f"--modules={MODULES}"),
            *("--fonts=", "--locales=", "--themes=", f"boot/grub/grub.cfg={_MENU}"),
        ],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": str(scratch)},
    )
    make_fat(raw, {"EFI/BOOT/BOOTX64.EFI": loader}, label="TRIALBOOT", size_bytes=_BYTES)
    private.make_folder(disk.parent)
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk])
