"""A boot disk made from another: only its configuration changes, in place."""

from __future__ import annotations

import os
import plistlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pommel.errors import BuildError, StateError
from pommel.fat import make_fat
from pommel.opencore import apple_services, config, reading, rework
from pommel.opencore.options import Options, Smbios
from pommel.process import run

from .test_reading import CONFIG, fat, partitioned

OWN = Smbios(product_name="iMac20,1", serial="C02W40GWHX87", rom=bytes.fromhex("525400AABBCC"))
FILES = {
    "EFI/BOOT/BOOTx64.efi": b"MZ loader",
    "EFI/OC/Kexts/Lilu.kext/Contents/Info.plist": b"<plist/>",
    "EFI/OC/config.plist": plistlib.dumps({"Kernel": {"Patch": [{"Comment": "upstream's"}]}, **CONFIG}),
}


def read(disk: Path) -> dict[str, Any]:
    return reading.read_config(disk)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A partitioned boot disk, as OSX-KVM's script makes."""
    volume = tmp_path / "volume"
    make_fat(volume, FILES, label="OPENCORE")
    raw = partitioned(tmp_path / "raw", volume)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "OpenCore.qcow2"])
    return tmp_path / "OpenCore.qcow2"


def test_all_but_the_configuration_stays(image: Path, tmp_path: Path) -> None:
    before = image.read_bytes()
    options = Options(smbios=OWN, hide_hypervisor=True, add_boot_args="-v")
    changes = rework.rework(image, tmp_path / "own" / "disk", options=options)
    assert image.read_bytes() == before and os.listdir(tmp_path / "own") == ["disk"]
    assert (tmp_path / "own" / "disk").stat().st_mode & 0o777 == 0o600
    new, old = read(tmp_path / "own" / "disk"), read(image)
    assert reading.numbers(new) == {
        **reading.numbers(old),
        "model": "iMac20,1",
        "serial": OWN.serial,
        "rom": "525400AABBCC",
    }
    assert new["Kernel"]["Patch"] == [{"Comment": "upstream's"}, *apple_services.entries()]
    assert {change.place for change in changes} >= {"PlatformInfo/Generic/SystemSerialNumber", "Kernel/Patch"}
    raws = []
    for disk in (image, tmp_path / "own" / "disk"):
        raw = disk.with_suffix(".out")
        run(["qemu-img", "convert", "-O", "raw", disk, raw])
        raws.append(raw.read_bytes())
        place = f"{raw}@@{4096 * 512}"
        for name in ("EFI/BOOT/BOOTx64.efi", "EFI/OC/Kexts/Lilu.kext/Contents/Info.plist"):
            told = subprocess.run(
                ["mtype", "-i", place, f"::/{name}"], capture_output=True, check=True, env=reading.ENV
            )
            assert told.stdout == FILES[name]
    assert len(raws[0]) == len(raws[1]) and raws[0][: 4096 * 512] == raws[1][: 4096 * 512], "the partition table"


def test_a_disk_may_be_made_over_itself(image: Path) -> None:
    rework.rework(image, image, options=Options(smbios=OWN))
    assert reading.numbers(read(image))["serial"] == OWN.serial


def test_switched_off_again_it_is_as_before(image: Path, tmp_path: Path) -> None:
    rework.rework(image, tmp_path / "hidden", options=Options(hide_hypervisor=True))
    rework.rework(image, tmp_path / "seen", options=Options())
    assert len(read(tmp_path / "hidden")["Kernel"]["Patch"]) == 3 and read(tmp_path / "seen") == read(image)


def test_the_key_stands_for_image_and_options(image: Path, tmp_path: Path) -> None:
    keys = [
        rework.key([image], Options()),
        rework.key([image], Options(smbios=OWN)),
        rework.key([image, image], Options()),
    ]
    image.write_bytes(image.read_bytes() + b"\0")
    keys.append(rework.key([image], Options()))
    assert len(set(keys)) == 4
    with pytest.raises(BuildError, match="gone cannot be read"):
        rework.key([tmp_path / "gone"], Options())


def test_what_cannot_be_reworked_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    clover = tmp_path / "clover"
    make_fat(clover, {"EFI/CLOVER/config.plist": plistlib.dumps(CONFIG)}, label="CLOVER")
    with pytest.raises(StateError, match="boots with Clover"):
        rework.rework(clover, tmp_path / "out" / "disk", options=Options(smbios=OWN), image_format="raw")
    with pytest.raises(StateError, match=r"contains no readable EFI/OC/config.plist"):
        empty = tmp_path / "empty"
        empty.write_bytes(bytes(1 << 20))
        rework.rework(empty, tmp_path / "out" / "disk", options=Options(smbios=OWN), image_format="raw")
    assert os.listdir(tmp_path / "out") == []


def test_a_boot_disk_without_room_for_the_configuration(tmp_path: Path) -> None:
    volume = fat(tmp_path / "volume", plistlib.dumps(CONFIG))
    filler = tmp_path / "filler"
    for size in (4 << 20, 1 << 20, 64 << 10, 8 << 10, 2048, 512):  # until nothing more fits
        filler.write_bytes(os.urandom(size))
        number = 0
        while (
            subprocess.run(
                ["mcopy", "-i", volume, filler, f"::/{size}.{number}"], env=reading.ENV, capture_output=True
            ).returncode
            == 0
        ):
            number += 1
    long = Options(add_boot_args=" ".join(f"word{number}=1" for number in range(4000)))
    before = volume.read_bytes()
    with pytest.raises(BuildError, match=r"config\.plist (cannot be written on|on) the boot disk"):
        rework.rework(volume, tmp_path / "out" / "disk", options=long, image_format="raw")
    assert os.listdir(tmp_path / "out") == [] and volume.read_bytes() == before


def test_patches_that_are_there_are_not_added_twice() -> None:
    first = apple_services.entries()[:1]
    changed, _ = config.adjust({"Kernel": {"Patch": first}}, Options(hide_hypervisor=True))
    assert changed["Kernel"]["Patch"] == [*first, apple_services.entries()[1]]
    off = [{**entry, "Enabled": False} for entry in apple_services.entries()]
    changed, _ = config.adjust({"Kernel": {"Patch": off}}, Options(hide_hypervisor=True))
    assert changed["Kernel"]["Patch"] == [*off, *apple_services.entries()]
    assert all(len(entry["Find"]) == len(entry["Replace"]) for entry in apple_services.entries())
