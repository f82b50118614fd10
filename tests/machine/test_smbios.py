"""Numbers of the right shape, from given randomness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine.smbios import MODELS, RANDOM_BYTES, AppleIdentity, check_mlb, check_serial, new_apple_identity

UUID = "0b5a1f5e-7c1d-4c58-9d9e-3d1c6f0a9b11"
MAC = "52:54:00:0a:0b:0c"
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
BASE34 = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
# Board serials that are published with every copy of a config.plist or a recovery script.
PUBLISHED_MLBS = ["00000000000000000", "00000000000J80300", "00000000000KXPG00", "00000000000PHCD00"]


def made(model: str, random: bytes) -> AppleIdentity:
    return new_apple_identity(model, random, uuid=UUID, mac=MAC)


@given(st.sampled_from(sorted(MODELS)), RANDOM)
def test_the_shape_is_that_of_the_model(model: str, random: bytes) -> None:
    numbers = made(model, random)
    assert numbers == made(model, random)
    assert check_serial(numbers.serial, model) is None and check_mlb(numbers.mlb) is None
    assert numbers.serial[:3] == numbers.mlb[:3] == MODELS[model].place
    assert numbers.mlb[11:15] == MODELS[model].board
    assert (numbers.uuid, numbers.rom) == (UUID.upper(), "5254000A0B0C")


@given(st.sampled_from(sorted(MODELS)), RANDOM)
def test_the_board_is_a_week_older_than_the_mac(model: str, random: bytes) -> None:
    numbers = made(model, random)
    half = "CDFGHJKLMNPQRSTVWXYZ".index(numbers.serial[3])
    week = 1 + "123456789CDFGHJKLMNPQRTVWX".index(numbers.serial[4]) + 26 * (half % 2)
    older = (half // 2, week - 1) if week > 1 else ((half // 2 - 1) % 10, 52)
    assert (int(numbers.mlb[3]), int(numbers.mlb[4:6])) == older


@given(st.sampled_from(sorted(MODELS)), RANDOM)
def test_the_line_is_in_its_first_spelling(model: str, random: bytes) -> None:
    first, second, third = (BASE34.index(char) for char in made(model, random).serial[5:8])
    line = 68 * first + 34 * second + third
    assert line < 3400
    assert all(not 0 <= line - 68 * lower <= 34 * 33 + 33 for lower in range(first))


def test_known_bytes() -> None:
    numbers = made("iMacPro1,1", bytes(range(16)))
    assert (numbers.serial, numbers.mlb) == ("C02W40GWHX87", "C02803643J9JG36NQ")


def test_much_randomness_gives_many_numbers() -> None:
    many = [made("iMac20,1", bytes([high, low]) * 8) for high in range(0, 256, 16) for low in range(256)]
    assert len({numbers.serial for numbers in many}) > 3500 and len({numbers.mlb for numbers in many}) > 3500


@given(st.sampled_from(sorted(MODELS)), RANDOM, st.integers(0, 16), st.sampled_from(BASE34))
def test_one_wrong_character_of_a_board_serial_is_noticed(model: str, random: bytes, place: int, char: str) -> None:
    mlb = made(model, random).mlb
    wrong = mlb[:place] + char + mlb[place + 1 :]
    assert (check_mlb(wrong) is None) == (wrong == mlb)


@pytest.mark.parametrize("mlb", PUBLISHED_MLBS)
def test_published_board_serials_have_their_checksum_and_no_date(mlb: str) -> None:
    assert check_mlb(mlb) == "there is no week 00"


# The samples that macserial publishes for its models.
@pytest.mark.parametrize(
    ("model", "serial"),
    [
        ("iMacPro1,1", "C02VV5RFHX87"),
        ("iMac19,1", "C02Y90H3JV3Q"),
        ("iMac20,1", "C02D38RCPN5T"),
        ("MacPro7,1", "F5KZN00HP7QM"),
        ("MacBookPro16,1", "C02ZKJWAMD6N"),
    ],
)
def test_published_serials_have_the_shape(model: str, serial: str) -> None:
    assert check_serial(serial, model) is None


@pytest.mark.parametrize(
    ("serial", "model", "wrong"),
    [
        ("C02VV5RFHX8", None, "12 of"),
        ("C02VV5RFHX8O", None, "12 of"),
        ("c02vv5rfhx87", None, "12 of"),
        ("C02AV5RFHX87", None, "half-year"),
        ("C02VA5RFHX87", None, "week"),
        ("C02VV5RFHX87", "iMac19,1", "product code"),
        ("C02PV5RFHX87", "iMacPro1,1", "not made"),
    ],
)
def test_what_is_wrong_with_a_serial(serial: str, model: str | None, wrong: str) -> None:
    assert wrong in (check_serial(serial, model) or "")


@pytest.mark.parametrize("mlb", ["", "C02", "C02X01123GUJG360", "C02X01123GUJG36OO"])
def test_what_is_no_board_serial(mlb: str) -> None:
    assert "17 characters" in (check_mlb(mlb) or "")


@given(st.text(max_size=20))
def test_any_text_is_judged(text: str) -> None:
    check_serial(text, "iMac20,1")
    check_mlb(text)


def test_what_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="not a Mac model that numbers can be created for"):
        made("iMac4,1", bytes(16))
    with pytest.raises(ValueError, match="16 random bytes"):
        made("iMac20,1", bytes(15))
