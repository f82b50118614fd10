"""What is seen in real images of qemu-img's, and that hostile ones are only refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.machine.disk_contents import facts_of, format_of
from pommel.machine.disk_facts import DiskFacts
from pommel.machine.partitions import look
from pommel.machine.qcow2_data import Qcow2Data
from pommel.process import run

from . import images
from .images import CLOVER, LINUX, MIB, OPENCORE, OTHER, converted, gpt, mac, with_esp


@pytest.mark.parametrize(
    ("files", "loader"), [(OPENCORE, "OpenCore"), (CLOVER, "Clover"), (OTHER, "EFI"), ({"EFI/x/y": b""}, None)]
)
@pytest.mark.parametrize("size", [8 * MIB, 64 * MIB, 600 * MIB])  # FAT12, FAT16, FAT32
def test_loaders_on_a_bare_file_system(files: dict[str, bytes], loader: str | None, size: int, tmp_path: Path) -> None:
    images.make_fat(tmp_path / "x", files, label="X", size_bytes=size)
    found = facts_of(str(tmp_path / "x"), "raw")
    assert (found.loader, found.apple, found.holds_data, found.virtual_bytes) == (loader, False, True, size)


@pytest.mark.parametrize("form", ["raw", "qcow2", "qcow2 -c", "qcow2 -o cluster_size=4k", "vmdk", "vdi"])
def test_a_boot_disk_in_every_format(form: str, tmp_path: Path) -> None:
    name, *words = form.split()
    path = converted(with_esp(tmp_path / "d", OPENCORE), name, *words)
    found = facts_of(str(path))
    assert (found.format, found.loader, found.boots_macs) == (name, "OpenCore", True)


def test_a_macs_own_disk_is_no_boot_disk_even_with_opencore_on_it(tmp_path: Path) -> None:
    found = facts_of(str(mac(tmp_path / "m", OPENCORE)), "raw")
    assert found.apple and found.loader == "OpenCore" and not found.boots_macs and found.virtual_bytes == 64 << 30


@pytest.mark.parametrize(
    ("make", "holds"),
    [
        ("qemu-img create -q -f qcow2 d 80G", False),
        ("qemu-img create -q -f qcow2 -o preallocation=metadata d 8G", False),
        ("qemu-img create -q -f raw d 80G", False),
        ("fallocate -l 32M d", False),
        ("head -c 24M /dev/zero > d", False),
        (": > d", False),
        ("qemu-img create -q -f qcow2 d 80G; qemu-io -c 'write -P 7 40G 512' d", True),
        ("qemu-img create -q -f qcow2 d 80G; qemu-io -c 'write -z 0 1G' d", False),
        ("qemu-img create -q -f raw d 80G; printf x | dd of=d bs=1 seek=9000000000 conv=notrunc", True),
        ("qemu-img create -q -f qcow2 b 1G; qemu-img create -q -f qcow2 -b b -F qcow2 d", True),
        ("qemu-img create -q -f qcow2 d 1G; qemu-img snapshot -c one d", True),
    ],
)
def test_what_holds_data(make: str, holds: bool, tmp_path: Path) -> None:
    run(["sh", "-c", make], cwd=tmp_path)
    found = facts_of(str(tmp_path / "d"))
    assert (found.holds_data, found.problem) == (holds, "")


def test_an_empty_partition_table_is_data(tmp_path: Path) -> None:
    assert facts_of(str(gpt(tmp_path / "d", MIB, [(LINUX, 40, 80)]))).holds_data
    assert facts_of(str(gpt(tmp_path / "d", MIB, [(images.APFS, 6, 80)], sector=4096))).apple


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    secret = tmp_path / "lfs"
    secret.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert facts_of(str(tmp_path / "no")) == DiskFacts("missing", problem="it does not exist")
    assert facts_of(str(secret)).kind == "missing"
    assert facts_of("nbd://host/x").kind == facts_of("nbd:").kind == "network"
    for path in (str(tmp_path / "pipe"), "/dev/null", "/dev/no-such-disk"):
        assert facts_of(path).kind == "device"


def test_it_is_quick(tmp_path: Path) -> None:
    path = converted(with_esp(tmp_path / "d", OPENCORE), "qcow2")
    began = time.monotonic()
    for _ in range(20):
        facts_of(str(path))
    assert time.monotonic() - began < 2  # 20 ms each on a slow and busy host; 0.3 ms here


@settings(deadline=None)
@given(st.binary(max_size=2048))
def test_any_bytes_are_looked_at(data: bytes) -> None:
    def read(offset: int, count: int) -> bytes:
        return (data * 8)[offset : offset + count].ljust(count, b"\0")

    for start in (b"", b"EFI PART"):
        try:
            look(lambda offset, count, s=start: (s + read(offset, count))[:count], 1 << 30)  # type: ignore[misc]
        except ValueError as wrong:
            assert str(wrong)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=16))
def test_a_damaged_qcow2_is_read_or_refused(place: int, junk: bytes) -> None:
    data = bytearray(GOOD)
    place %= len(data)
    data[place : place + len(junk)] = junk
    whole = bytes(data)
    try:
        image = Qcow2Data(lambda offset, count: whole[offset : offset + count])
        look(image.read, image.virtual_bytes)
        list(image.allocated(100))
    except (ValueError, OverflowError) as wrong:
        assert str(wrong)


def good() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return converted(with_esp(Path(folder, "d"), OPENCORE, size=4 * MIB + MIB * 8), "qcow2", "-c").read_bytes()


GOOD = good()


@given(st.binary(max_size=200))
def test_formats_are_known_by_their_first_bytes(data: bytes) -> None:
    assert format_of(b"QFI\xfb" + data) == "qcow2" and format_of(b"KDMV" + data) == "vmdk"
    assert format_of(b"\0" + data) == "raw" or data[63:67] == b"\x7f\x10\xda\xbe"


@pytest.mark.parametrize("where", [2**62 // 512, 2**63 // 512, 2**64 // 512, 2**64 - 1])
def test_a_table_that_points_behind_all_files_is_no_fault_of_ours(where: int, tmp_path: Path) -> None:
    path = gpt(tmp_path / "d", 1 << 20, [(images.ESP, where, where), (LINUX, where, where)])
    found = facts_of(str(path), "raw")
    assert (found.kind, found.holds_data, found.loader) == ("file", True, None)
    data = bytearray(path.read_bytes())
    data[512 + 72 : 512 + 80] = where.to_bytes(8, "little")
    path.write_bytes(data)
    assert facts_of(str(path), "raw").holds_data


@pytest.mark.parametrize("field", [8, 40, 48, 56])  # backing file, level 1 table, refcounts, snapshots
@pytest.mark.parametrize("value", [2**62, 2**63, 2**64 - 8])
def test_a_qcow2_that_points_behind_all_files_is_no_fault_of_ours(field: int, value: int, tmp_path: Path) -> None:
    run(["qemu-img", "create", "-f", "qcow2", tmp_path / "d", "10M"])
    data = bytearray((tmp_path / "d").read_bytes())
    data[field : field + 8] = value.to_bytes(8)
    (tmp_path / "d").write_bytes(data)
    assert facts_of(str(tmp_path / "d"), "qcow2").kind == "file"
