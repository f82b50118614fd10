"""The qcow2 header: those that qemu-img writes, and any bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine import disk
from pommel.machine.qcow2 import MAGIC, Header, read_header
from pommel.process import run

MIB = 1 << 20


def parse(data: bytes) -> Header:
    return read_header(lambda offset, count: data[offset : offset + count])


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("cluster", [512, 65536, 2 * MIB])
def test_what_qemu_img_writes(tmp_path: Path, compat: str, cluster: int) -> None:
    image = tmp_path / "a.img"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={compat},cluster_size={cluster}", image, "3M"])
    assert disk.header(image) == Header(3 * MIB, cluster, 0, None, None)
    run(["qemu-img", "snapshot", "-c", "one", image])
    assert disk.header(image).snapshots == 1


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("name", ["base.img", "b" * 200, "ünï,code", "with blank"])
def test_what_it_lies_over(tmp_path: Path, name: str, compat: str) -> None:
    run(["qemu-img", "create", "-q", "-f", "raw", tmp_path / name, "1M"])
    image = tmp_path / "a.img"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "-b", name, "-F", "raw", image])
    assert disk.header(image) == Header(MIB, 65536, 0, name, "raw")


def test_a_data_file_is_no_backing_file(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", image, "1M"])
    assert disk.header(image).backing is None


@pytest.mark.parametrize("data", [b"", b"QFI", MAGIC, bytes(4096), b"<html>" * 99])
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a qcow2 image"):
        parse(data)


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(tail: bytes) -> None:
    try:
        assert parse(MAGIC + tail).cluster_bytes in {1 << bits for bits in range(9, 22)}
    except ValueError as refusal:
        assert str(refusal)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=9))
def test_a_damaged_header_is_read_or_refused(place: int, damage: bytes) -> None:
    good = bytearray(SAMPLE)
    good[place : place + len(damage)] = damage
    for data in (bytes(good), bytes(good[:place])):
        try:
            parse(data)
        except ValueError as refusal:
            assert str(refusal)


def sample() -> bytes:
    """A header of version 3 over `base`, of format `qcow2`, with QEMU's table of feature names after it."""
    extensions = b"\x68\x03\xf8\x57" + (48).to_bytes(4, "big") + bytes(48)
    extensions += b"\xe2\x79\x2a\xca" + (5).to_bytes(4, "big") + b"qcow2\0\0\0" + bytes(8)
    name_at = 104 + len(extensions)
    fixed = MAGIC + (3).to_bytes(4, "big") + name_at.to_bytes(8, "big") + (4).to_bytes(4, "big")
    fixed += (16).to_bytes(4, "big") + (5 * MIB).to_bytes(8, "big") + bytes(28) + (2).to_bytes(4, "big") + bytes(8)
    return fixed + bytes(24) + (4).to_bytes(4, "big") + (104).to_bytes(4, "big") + extensions + b"base"


SAMPLE = sample()


def test_the_sample() -> None:
    assert parse(SAMPLE) == Header(5 * MIB, 65536, 2, "base", "qcow2")
