"""The folder that is shaped like OSX-KVM, and its boot script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pommel.errors import FirmwareError
from pommel.trial import upstream
from pommel.trial.base import BaseImage

DEVICES = (
    *("qemu-xhci,id=xhci", "usb-kbd,bus=xhci.0", "usb-tablet,bus=xhci.0", "usb-ehci,id=ehci", "isa-applesmc,osk="),
    *("ich9-intel-hda", "hda-duplex", "ich9-ahci,id=sata", "virtio-net-pci", "vmware-svga"),
    *("ide-hd,bus=sata.2", "ide-hd,bus=sata.3", "ide-hd,bus=sata.4"),
)
RECORD = '#!/bin/sh\nprintf "%s\\n" "$@" > "$RECORD"\n'


def recorded(script: Path, scratch: Path, *, cwd: Path | None = None) -> list[str]:
    """Run the boot script with a stand-in for QEMU, and say what it was given."""
    (scratch / "bin").mkdir(exist_ok=True)
    (scratch / "bin" / "qemu-system-x86_64").write_text(RECORD)
    (scratch / "bin" / "qemu-system-x86_64").chmod(0o755)
    env = {"PATH": f"{scratch}/bin:{os.environ['PATH']}", "RECORD": str(scratch / "argv")}
    subprocess.run(["bash", script], check=True, env=env, cwd=cwd)
    return (scratch / "argv").read_text().splitlines()


def test_the_script_asks_for_a_macs_devices(tmp_path: Path) -> None:
    script = Path(upstream.__file__).parent / "data" / "upstream" / upstream.SCRIPT
    subprocess.run(["bash", "-n", script], check=True)
    argv = recorded(script, tmp_path, cwd=Path("/"))
    text = " ".join(argv)
    assert argv[0] == "-enable-kvm"
    assert "-monitor stdio" in text
    for device in DEVICES:
        assert f"-device {device}" in text
    assert sum(word.startswith("if=pflash") for word in argv) == 2


def base_of(tmp_path: Path) -> BaseImage:
    made = BaseImage(tmp_path / "base")
    made.directory.mkdir()
    made.picker.write_bytes(b"picker")
    return made


def test_made_once_and_again_when_it_is_stale(tmp_path: Path) -> None:
    base, target = base_of(tmp_path), tmp_path / "up" / "trial"
    assert upstream.materialise(target, base) == target
    assert (target / "OpenCore" / "OpenCore.qcow2").read_bytes() == b"picker"
    code, variables = (target / name for name in ("OVMF_CODE_4M.fd", "OVMF_VARS-1280x800.fd"))
    assert code.stat().st_size + variables.stat().st_size == 4 << 20
    before = target.stat().st_ino
    upstream.materialise(target, base)
    assert target.stat().st_ino == before
    newer = BaseImage(base.directory.rename(tmp_path / "newer"))
    upstream.materialise(target, newer)
    assert target.stat().st_ino != before


def test_halves_of_unequal_firmware_are_refused(tmp_path: Path) -> None:
    (folder := tmp_path / "usr/share/OVMF").mkdir(parents=True)
    (folder / "OVMF_CODE_4M.fd").write_bytes(bytes(3653632))
    (folder / "OVMF_VARS_4M.fd").write_bytes(bytes(131072))
    with pytest.raises(FirmwareError, match="no matching pair") as refusal:
        upstream.firmware_pair(tmp_path)
    assert "ovmf" in (refusal.value.hint or "")
