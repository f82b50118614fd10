"""A boot disk's configuration, from boot disks that are packed here and from a partitioned one."""

from __future__ import annotations

import plistlib
import struct
from pathlib import Path

import pytest

from pommel.errors import StateError, UpstreamError
from pommel.fat import make_fat
from pommel.opencore import reading
from pommel.process import run

CONFIG = {
    "Misc": {},
    "PlatformInfo": {
        "Generic": {
            "SystemProductName": "iMacPro1,1",
            "SystemSerialNumber": "C02TM2ZBHX87",
            "MLB": "C02717306J9JG361M",
            "SystemUUID": "007076A6-F2A2-4461-BBE5-BAD019F8025A",
            "ROM": bytes.fromhex("112233445566"),
        }
    },
}


def fat(path: Path, data: bytes) -> Path:
    make_fat(path, {"EFI/OC/config.plist": data}, label="OPENCORE")
    return path


def partitioned(path: Path, volume: Path) -> Path:
    """A GPT disk with the volume as its second partition, the first being nothing that is known."""
    start, blocks = 4096, volume.stat().st_size // 512
    entries = b""
    for first, last in ((2048, 4095), (start, start + blocks - 1)):
        entries += struct.pack("<16s16sQQQ72s", b"T" * 16, b"U" * 16, first, last, 0, b"")
    head = bytearray(512)
    head[:8] = b"EFI PART"
    struct.pack_into("<QII", head, 72, 2, 128, 128)
    with path.open("wb") as disk:
        disk.write(bytes(510) + b"\x55\xaa" + head + entries)
        disk.seek(start * 512)
        disk.write(volume.read_bytes())
    return path


def test_numbers_of_a_packed_boot_disk(tmp_path: Path) -> None:
    raw = fat(tmp_path / "raw", plistlib.dumps(CONFIG))
    image = tmp_path / "OpenCore.qcow2"
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image])
    before = image.read_bytes()
    assert reading.numbers(reading.read_config(image)) == {
        "model": "iMacPro1,1",
        "serial": "C02TM2ZBHX87",
        "mlb": "C02717306J9JG361M",
        "uuid": "007076A6-F2A2-4461-BBE5-BAD019F8025A",
        "rom": "112233445566",
    }
    assert image.read_bytes() == before


def test_a_partitioned_disk(tmp_path: Path) -> None:
    image = partitioned(tmp_path / "disk", fat(tmp_path / "raw", plistlib.dumps(CONFIG)))
    assert reading.read_config(image, image_format="raw") == CONFIG


def test_what_holds_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(bytes(1 << 20))
    with pytest.raises(StateError, match=r"contains no readable EFI/OC/config.plist"):
        reading.read_config(empty, image_format="raw")
    with pytest.raises(UpstreamError, match=r"config.plist on raw is not a property list"):
        reading.read_config(fat(tmp_path / "raw", b"junk"), image_format="raw")


def test_placeholders_are_no_numbers() -> None:
    generic = {"SystemUUID": "00000000-0000-0000-0000-000000000000", "ROM": bytes(6), "MLB": "", "SystemProductName": 1}
    assert reading.numbers({"PlatformInfo": {"Generic": generic}}) == {}
    assert reading.numbers({}) == {} and reading.numbers({"PlatformInfo": []}) == {}


@pytest.mark.parametrize(
    ("start", "count", "size", "first"),
    [
        (2**64 - 1, 128, 128, 0),
        (2**63, 2**32 - 1, 128, 0),
        (2, 128, 128, 2**64 - 1),
        (2, 1, 2**32 - 1, 0),
        (2, 1, 0, 0),
    ],
)
def test_a_partition_table_that_points_anywhere_is_no_fault_of_ours(
    start: int, count: int, size: int, first: int, tmp_path: Path
) -> None:
    head = bytearray(512)
    head[:8] = b"EFI PART"
    struct.pack_into("<QII", head, 72, start, count, size)
    entry = struct.pack("<16s16sQQQ72s", b"T" * 16, b"U" * 16, first, 0, 0, b"")
    path = tmp_path / "raw"
    path.write_bytes(bytes(512) + head + entry * 4)
    with pytest.raises(StateError, match=r"contains no readable EFI/OC/config.plist|partition table is damaged"):
        reading.read_config(path, image_format="raw")


@pytest.mark.parametrize("size", [1, 511, 513, 600, 4096 + 80])
def test_a_disk_that_ends_within_its_partition_table(size: int, tmp_path: Path) -> None:
    data = bytearray(bytes(510) + b"\x55\xaa" + b"EFI PART" + bytes(8192))
    path = tmp_path / "raw"
    path.write_bytes(data[:size])
    with pytest.raises(StateError):
        reading.read_config(path, image_format="raw")
