"""Which devices a QEMU has: the installed one, and one that lacks a device as RHEL's does."""

from __future__ import annotations

import shutil
from pathlib import Path

from pommel.host.qemu_devices import lacking


def without(folder: Path, device: str) -> Path:
    """The installed QEMU, built without a device as far as it tells; it notes each time that it is started."""
    path = folder / "qemu-kvm"
    path.write_text(
        f"#!/bin/sh\necho >>{folder}/started\n{shutil.which('qemu-system-x86_64')} \"$@\" | grep -v '{device}'\n"
    )
    path.chmod(0o755)
    return path


def test_what_it_has_is_remembered_and_what_it_lacks_is_asked_again(tmp_path: Path) -> None:
    real = Path(shutil.which("qemu-system-x86_64") or "")
    assert lacking(real, ["isa-applesmc", "virtio-blk", "ide-hd", "no-such-device"], tmp_path) == ["no-such-device"]
    rhel, cache = without(tmp_path, "applesmc"), tmp_path / "cache"
    assert lacking(rhel, ["isa-applesmc", "ide-hd"], cache) == ["isa-applesmc"]
    assert lacking(rhel, ["ide-hd", "virtio-blk-pci"], cache) == []
    assert len((tmp_path / "started").read_text().splitlines()) == 1
    assert lacking(rhel, ["isa-applesmc"], cache) == ["isa-applesmc"]
    assert len((tmp_path / "started").read_text().splitlines()) == 2


def test_one_that_does_not_say_lacks_nothing(tmp_path: Path) -> None:
    mute = tmp_path / "qemu"
    mute.write_text("#!/bin/sh\nexit 1\n")
    mute.chmod(0o755)
    assert lacking(mute, ["isa-applesmc"], tmp_path) == []
