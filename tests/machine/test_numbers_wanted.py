"""`identity`: what may be written, what is made of it, and when a machine differs from it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine import smbios
from pommel.machine.numbers_wanted import differs, give, parse

UUID = "0b5a1f5e-7c1d-4c58-9d9e-3d1c6f0a9b11"
MAC = "52:54:00:0a:0b:0c"
REAL = smbios.new_apple_identity("iMac20,1", bytes(range(16)), uuid=UUID, mac=MAC)
RANDOM = bytes(range(100, 116))


def test_words_and_tables() -> None:
    assert parse("own") == "own" and parse("upstream") == "upstream"
    table = {
        "model": "iMac20,1",
        "serial": REAL.serial,
        "mlb": REAL.mlb,
        "rom": "52:54:00:aa:bb:cc",
        "uuid": UUID.upper(),
    }
    assert parse(table) == {**table, "rom": "525400AABBCC", "uuid": UUID}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("mine", '"own", "upstream", or a table'),
        ({}, "or a table"),
        (7, "or a table"),
        ({"board": "x"}, "there is no board"),
        ({"serial": 12}, "serial is not a text"),
        ({"serial": "C02FPBZPHX8"}, "it is not 12"),
        ({"serial": REAL.serial, "model": "iMacPro1,1"}, "is not the product code of iMacPro1,1"),
        ({"mlb": REAL.mlb[:-1] + ("A" if REAL.mlb[-1] != "A" else "B")}, "checksum"),
        ({"rom": "0123"}, "12 hexadecimal digits"),
        ({"uuid": "0b5a1f5e"}, "no UUID"),
        ({"model": "PowerMac"}, "no model such as"),
        ({"model": "iMac9,1"}, "serial and mlb too"),
    ],
)
def test_what_is_wrong_is_refused_by_name(raw: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(raw)


@given(st.sampled_from(sorted(smbios.MODELS)), st.binary(min_size=16, max_size=16))
def test_own_numbers_are_right_and_belong_together(model: str, random: bytes) -> None:
    born = give("own", model=model, uuid=UUID, mac=MAC, random=random)
    assert born.apple is not None and (born.uuid, born.mac) == (UUID, MAC)
    assert smbios.check_serial(born.apple.serial, model) is None and smbios.check_mlb(born.apple.mlb) is None
    assert born.apple.rom == MAC.replace(":", "").upper() and born.apple.uuid == UUID.upper()
    assert smbios.why_public({"serial": born.apple.serial, "uuid": born.apple.uuid}) is None
    assert differs(born.apple, "own") is None and differs(born.apple, None) is None


def test_written_numbers_stand_and_the_rest_is_made() -> None:
    wanted = parse({"model": "iMac20,1", "serial": REAL.serial, "rom": "001122334455"})
    born = give(wanted, model="iMacPro1,1", uuid=UUID, mac=MAC, random=RANDOM)
    assert born.apple is not None
    assert (born.apple.model, born.apple.serial, born.apple.rom) == ("iMac20,1", REAL.serial, "001122334455")
    assert born.mac == "00:11:22:33:44:55" and smbios.check_mlb(born.apple.mlb) is None
    assert differs(born.apple, wanted) is None
    other = parse({"uuid": "11111111-2222-4333-8444-555555555555"})
    assert "its uuid is" in (differs(born.apple, other) or "")
    assert "its own numbers" in (differs(born.apple, "upstream") or "")
    assert "of its boot disk" in (differs(None, "own") or "") and differs(None, "upstream") is None


def test_an_address_of_a_group_of_cards_is_a_rom_and_no_mac() -> None:
    born = give(parse({"rom": "010203040506"}), model="iMac20,1", uuid=UUID, mac=MAC, random=RANDOM)
    assert born.mac == MAC and born.apple is not None and born.apple.rom == "010203040506"


def test_a_model_without_tables_takes_its_written_numbers() -> None:
    wanted = parse({"model": "iMac9,1", "serial": REAL.serial, "mlb": REAL.mlb})
    born = give(wanted, model="iMac20,1", uuid=UUID, mac=MAC, random=RANDOM)
    assert born.apple is not None and (born.apple.model, born.apple.mlb) == ("iMac9,1", REAL.mlb)


@pytest.mark.parametrize(
    ("macos", "wanted", "model"),
    [
        ("14", "iMacPro1,1", "iMacPro1,1"),
        ("26", "iMacPro1,1", "iMac20,1"),
        ("26", "MacPro7,1", "MacPro7,1"),
        ("10.13", "iMac19,1", "iMacPro1,1"),
        ("14", "iMac18,3", "iMacPro1,1"),
        ("15", "iMac19,1", "iMac19,1"),
        ("14", "iMac99,9", "iMacPro1,1"),
        (None, None, "iMacPro1,1"),
        (None, "iMac18,3", "iMac18,3"),
    ],
)
def test_the_model_fits_the_macos(macos: str | None, wanted: str | None, model: str) -> None:
    assert smbios.model_for(macos, wanted) == model


def test_public_numbers_are_known() -> None:
    for serial, said in (("C02FPBZPHX87", "OSX-KVM"), ("W00000000001", "placeholder"), ("", "no serial")):
        assert said in (smbios.why_public({"serial": serial, "uuid": UUID}) or "")
    assert "no UUID" in (smbios.why_public({"serial": REAL.serial}) or "")
    assert smbios.offered("iMac99,9", "14") is None and smbios.offered("iMac20,1", "zebra") is None
