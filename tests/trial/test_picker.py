"""The boot picker's disk: GRUB where OVMF looks for it, in a sound file system of the size it always had."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pommel.trial.picker import make_picker


def test_grub_lies_where_ovmf_looks(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    make_picker(tmp_path / "new" / "OpenCore.qcow2", tmp_path / "scratch")
    subprocess.run(
        ["qemu-img", "convert", "-O", "raw", tmp_path / "new" / "OpenCore.qcow2", tmp_path / "raw"], check=True
    )
    assert (tmp_path / "raw").stat().st_size == 8 << 20
    assert subprocess.run(["/usr/sbin/fsck.vfat", "-n", tmp_path / "raw"], capture_output=True).returncode == 0
    words = ["mtype", "-i", tmp_path / "raw", "::/EFI/BOOT/BOOTX64.EFI"]
    loader = subprocess.run(words, env={**os.environ, "MTOOLSRC": os.devnull}, capture_output=True, check=True).stdout
    assert loader[:2] == b"MZ"
    assert b"Trial Base System" in loader
