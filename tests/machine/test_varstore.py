"""The size of the firmware's picture, in variables as OVMF ships them. That the firmware heeds it: e2e/test_displays."""

from __future__ import annotations

import contextlib
import struct
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import FirmwareError
from pommel.machine import firmware
from pommel.machine.varstore import picture_size, with_picture_size, without_numbers

OVMF = Path("/usr/share/OVMF")
IMAGES = ("OVMF_VARS_4M.fd", "OVMF_VARS.fd", "OVMF_VARS_4M.ms.fd")
STORE_AT, STORE_BYTES = 0x48, 28


def image(name: str = IMAGES[0]) -> bytes:
    return (OVMF / name).read_bytes()


@pytest.mark.parametrize("name", IMAGES)
def test_a_size_is_put_in_and_changed_in_its_place(name: str) -> None:
    empty = image(name)
    assert picture_size(empty) is None
    told = with_picture_size(empty, 1920, 1080)
    assert (len(told), picture_size(told)) == (len(empty), (1920, 1080))
    again = with_picture_size(told, 1280, 720)
    assert picture_size(again) == (1280, 720)
    assert sum(a != b for a, b in zip(told, again, strict=True)) <= 8
    assert with_picture_size(again, 1280, 720) == again


def test_only_the_room_after_the_last_variable_is_written_to() -> None:
    told = with_picture_size(image(IMAGES[2]), 1920, 1080)  # which holds keys
    differs = [at for at, (a, b) in enumerate(zip(image(IMAGES[2]), told, strict=True)) if a != b]
    assert set(image(IMAGES[2])[differs[0] : differs[-1] + 1]) == {0xFF}
    assert differs[-1] - differs[0] < 60 + 30 + 8


def test_a_store_of_the_plain_kind() -> None:
    plain = bytearray(image())
    plain[STORE_AT : STORE_AT + 16] = uuid.UUID("ddcf3616-3275-4164-98b6-fe85707ffe7d").bytes_le
    assert picture_size(with_picture_size(bytes(plain), 800, 600)) == (800, 600)


def test_a_value_of_another_length_is_given_up_and_written_anew() -> None:
    told = bytearray(with_picture_size(image(), 800, 600))
    length_at = STORE_AT + STORE_BYTES + 60 - 20
    assert struct.unpack_from("<I", told, length_at) == (8,)
    struct.pack_into("<I", told, length_at, 12)  # a newer firmware's
    assert picture_size(bytes(told)) == (800, 600)
    again = with_picture_size(bytes(told), 640, 480)
    assert picture_size(again) == (640, 480) and again[STORE_AT + STORE_BYTES + 2] == 0x3D


def test_a_full_store_and_what_is_no_store_are_told() -> None:
    full, told = bytearray(image()), with_picture_size(image(), 800, 600)
    variable = told[STORE_AT + STORE_BYTES : STORE_AT + STORE_BYTES + 100].replace(b"P\0", b"Q\0")
    (size,) = struct.unpack_from("<I", full, STORE_AT + 16)
    for at in range(STORE_AT + STORE_BYTES, STORE_AT + size - 100, 100):
        full[at : at + 100] = variable
    with pytest.raises(ValueError, match="no space"):
        with_picture_size(bytes(full), 800, 600)
    for wrong in (b"", b"\xff" * 4096, image()[:100], bytes(len(image()))):
        with pytest.raises(ValueError):
            with_picture_size(wrong, 800, 600)


@given(st.binary(max_size=300), st.integers(0, 0x400))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int) -> None:
    start = STORE_AT + at
    spoilt = image()[:start] + noise + image()[start + len(noise) : 8192]
    struct_length = struct.pack("<Q", len(spoilt))
    spoilt = spoilt[:32] + struct_length + spoilt[40:]
    with contextlib.suppress(ValueError):
        assert len(with_picture_size(spoilt, 800, 600)) == len(spoilt)


def test_the_machines_own_variables_are_told_whole_or_not_at_all(tmp_path: Path) -> None:
    nvram = tmp_path / "nvram.fd"
    assert "stores no variables" in (firmware.tell_size(nvram, (800, 600)) or "")
    nvram.write_bytes(image())
    assert firmware.tell_size(nvram, (800, 600)) is None
    assert picture_size(nvram.read_bytes()) == (800, 600)
    written = nvram.stat().st_mtime_ns
    assert firmware.tell_size(nvram, (800, 600)) is None
    assert nvram.stat().st_mtime_ns == written, "nothing to write"
    nvram.write_bytes(b"no variables")
    assert "unusual format" in (firmware.tell_size(nvram, (800, 600)) or "")
    nvram.unlink()
    nvram.mkdir()
    with pytest.raises(FirmwareError):
        firmware.tell_size(nvram, (800, 600))


def test_a_macs_numbers_go_wherever_they_stand() -> None:
    apple = uuid.UUID("4d1ede05-38c7-4a6a-9cc6-4bcca8b38c14").bytes_le
    name, value = "MLB\0".encode("utf-16-le"), b"C02717306J9JG361M"
    told = bytearray(with_picture_size(image(), 800, 600))
    at = STORE_AT + STORE_BYTES
    struct.pack_into("<HBBIQ16sIII16s", told, at, 0x55AA, 0x3F, 0, 7, 0, bytes(16), 0, len(name), len(value), apple)
    told[at + 60 : at + 60 + len(name) + len(value)] = name + value
    told[-100 : -100 + len(value)] = value  # an older copy, outside the variables
    clean = without_numbers(bytes(told), [value])
    assert len(clean) == len(told) and value not in clean and clean[at + 2] & 0x02 == 0
    untouched = with_picture_size(image(), 800, 600)
    assert without_numbers(untouched, [value]) == untouched and picture_size(untouched) == (800, 600)
