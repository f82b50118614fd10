"""A Mac's numbers: model, serial number, board serial (MLB), ROM, system UUID. Band: core, no I/O.

The numbers have the form, the dates and the checksum that the guest's software checks, and no more: none of them is
known to belong to a real Mac, and two machines with the same numbers disturb each other. Facts from
acidanthera/OpenCorePkg, Utilities/macserial (FORMAT.md and its tables). Randomness is an argument.

    serial (12)   LLL Y W SSS PPPP           place, half-year, week, production line, product
    MLB    (17)   LLL Y WW III AA EEEE CC    place, year, week, item, infix, board, suffix with the checksum
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

RANDOM_BYTES = 16  # the number of bytes that `new_apple_identity` needs

_BASE34 = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # neither I nor O
_HALF_YEARS = "CDFGHJKLMNPQRSTVWXYZ"  # two a year, from 2010 and again from 2020
_WEEKS = "123456789CDFGHJKLMNPQRTVWX"  # of the half-year; week 53 is Y
_WEEK_53 = "Y"
_LINES = 3400
_TWO_DIGIT_LINES = 1155  # the largest line that the last two digits can express alone: 34 × 33 + 33
_INFIXES = ("GU", "4N", "J9", "QX", "CD")
_SERIAL = re.compile(rf"[{_BASE34}]{{12}}\Z")
_MLB = re.compile(rf"[{_BASE34}]{{3}}(?P<year>\d)(?P<week>\d\d)\d{{3}}[{_BASE34}]{{8}}\Z")


@dataclass(frozen=True, slots=True)
class SmbiosModel:
    """The parts of one model's numbers: place of manufacture, product code, board code, years of manufacture."""

    place: str
    product: str
    board: str
    years: tuple[int, ...]


# A board code of 0000 is macserial's value for an unknown one.
MODELS = {
    "MacBookPro15,1": SmbiosModel("C02", "KGYG", "JP4F", (2018, 2019)),
    "MacBookPro16,1": SmbiosModel("C02", "MD6N", "N9PR", (2019, 2020, 2021)),
    "MacBookPro16,2": SmbiosModel("C02", "ML7H", "P8PG", (2020, 2021)),
    "MacBookPro16,4": SmbiosModel("C02", "MD6T", "0000", (2020, 2021)),
    "MacPro7,1": SmbiosModel("F5K", "P7QM", "K3F7", (2019, 2020, 2021, 2022, 2023)),
    "Macmini8,1": SmbiosModel("C07", "JYVX", "KXPG", (2018, 2019, 2020, 2021, 2022, 2023)),
    "iMac18,3": SmbiosModel("C02", "J1GJ", "J0PG", (2017, 2018, 2019)),
    "iMac19,1": SmbiosModel("C02", "JV3Q", "LNV9", (2019, 2020)),
    "iMac20,1": SmbiosModel("C02", "PN5T", "PHC1", (2020, 2021, 2022)),
    "iMac20,2": SmbiosModel("C02", "046M", "0000", (2020, 2021, 2022)),
    "iMacPro1,1": SmbiosModel("C02", "HX87", "JG36", (2017, 2018, 2019, 2020, 2021)),
}


# The first and the last macOS, by major number, that Apple offers for a model: its pages "macOS … is compatible with
# these computers" (support.apple.com, for each version) and, for the first, the system that the model was sold with.
_OFFERED: dict[str, tuple[float, int]] = {
    "MacBookPro15,1": (10.13, 15),
    "MacBookPro16,1": (10.15, 26),
    "MacBookPro16,2": (10.15, 26),
    "MacBookPro16,4": (10.15, 26),
    "MacPro7,1": (10.15, 26),
    "Macmini8,1": (10.14, 15),
    "iMac18,3": (10.12, 13),
    "iMac19,1": (10.14, 15),
    "iMac20,1": (10.15, 26),
    "iMac20,2": (10.15, 26),
    "iMacPro1,1": (10.13, 15),
}
_USUAL = ("iMacPro1,1", "iMac20,1")  # the first of these that supports a macOS is chosen for it

# Numbers in public projects: many machines share them, and Apple's services refuse them or confuse the machines.
PUBLIC_SERIALS = {
    "C02FPBZPHX87": "kholia/OSX-KVM's configuration of October 2025",
    "C02TM2ZBHX87": "kholia/OSX-KVM's configuration of before, and sickcodes/Docker-OSX's",
}


@dataclass(frozen=True, slots=True)
class AppleIdentity:
    """One Mac's own numbers. `uuid` is in upper case; `rom` is 12 hexadecimal digits, the network card's address."""

    model: str
    serial: str
    mlb: str
    uuid: str
    rom: str


def new_apple_identity(model: str, random: bytes, *, uuid: str, mac: str) -> AppleIdentity:
    """Make the numbers of a `model` from 16 random bytes, the machine's UUID and its MAC address.

    Raises:
        ValueError: the model is unknown, or there are not 16 bytes.
    """
    if model not in MODELS:
        raise ValueError(
            f"{model!r} is not a Mac model that numbers can be created for; possible models are {', '.join(MODELS)}"
        )
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"the numbers take {RANDOM_BYTES} random bytes, not {len(random)}")
    draw = _Draw(random)
    made, week = MODELS[model], 1 + draw.below(52)
    year = made.years[draw.below(len(made.years))]
    return AppleIdentity(
        model=model,
        serial=_serial(made, year, week, draw.below(_LINES)),
        mlb=_mlb(made, year, week, draw),
        uuid=uuid.upper(),
        rom=mac.replace(":", "").upper(),
    )


def check_serial(serial: str, model: str | None = None) -> str | None:
    """What is wrong with a serial number, compared with those we make for `model` if given; None: its form is right."""
    if not _SERIAL.match(serial):
        return "it is not 12 of 0-9 A-Z without I and O"
    if serial[3] not in _HALF_YEARS:
        return f"{serial[3]} is not a valid half-year"
    if serial[4] not in _WEEKS + _WEEK_53:
        return f"{serial[4]} is not a valid week"
    known = MODELS.get(model) if model else None
    if known is None:
        return None
    if serial[8:] != known.product:
        return f"{serial[8:]} is not the product code of {model}, {known.product}"
    if _HALF_YEARS.index(serial[3]) // 2 not in {year % 10 for year in known.years}:
        return f"{model} was not made in that year"
    return None


def check_mlb(mlb: str) -> str | None:
    """What is wrong with a board serial of 17 characters; None: form and checksum are right."""
    found = _MLB.match(mlb)
    if not found:
        return "it is not 17 characters: place, year and week, three digits, then 0-9 A-Z without I and O"
    if not 1 <= int(found["week"]) <= 53:
        return f"there is no week {found['week']}"
    return None if _checksum(mlb) == 0 else "its checksum is wrong"


def why_public(numbers: Mapping[str, str]) -> str | None:
    """Why these numbers (`serial` and `uuid` of a boot disk) are not unique; None: they may be."""
    serial = numbers.get("serial", "")
    if not serial:
        return "there is no serial number"
    if serial in PUBLIC_SERIALS:
        return f"{serial} is published in {PUBLIC_SERIALS[serial]}"
    if wrong := check_serial(serial):
        return f"{serial} is a placeholder: {wrong}"
    return None if numbers.get("uuid") else f"there is no UUID beside {serial}"


def offered(model: str, macos: str) -> bool | None:
    """Whether Apple offers that macOS (a number such as 14 or 10.15) for the model; None: unknown."""
    if model not in _OFFERED or (number := _major(macos)) is None:
        return None
    first, last = _OFFERED[model]
    return first <= number <= last


def model_for(macos: str | None, wanted: str | None = None) -> str:
    """The Mac for a machine with that macOS: `wanted`, if numbers can be made for it and it supports that macOS."""
    if wanted in MODELS and (macos is None or offered(wanted, macos) is not False):
        return wanted
    return next((model for model in _USUAL if macos is None or offered(model, macos)), _USUAL[0])


def _major(macos: str) -> float | None:
    found = re.match(r"(10\.\d+|\d+)", macos)
    return float(found[1]) if found else None


class _Draw:
    """Takes numbers from given bytes; every byte has an influence."""

    def __init__(self, random: bytes) -> None:
        self._pool = int.from_bytes(random, "big")

    def below(self, bound: int) -> int:
        self._pool, drawn = divmod(self._pool, bound)
        return drawn


def _serial(made: SmbiosModel, year: int, week: int, line: int) -> str:
    half = week > len(_WEEKS)
    when = _HALF_YEARS[year % 10 * 2 + half] + _WEEKS[(week - 1) % len(_WEEKS)]
    return made.place + when + _spell_line(line) + made.product


def _spell_line(line: int) -> str:
    """The production line in its first form: 68 × first + 34 × second + third, with the smallest possible first."""
    first = max(0, -(-(line - _TWO_DIGIT_LINES) // 68))
    return "".join(_BASE34[digit] for digit in (first, *divmod(line - first * 68, 34)))


def _mlb(made: SmbiosModel, year: int, week: int, draw: _Draw) -> str:
    year, week = (year, week - 1) if week > 1 else (year - 1, 52)  # a board is made shortly before the Mac
    item = f"{100 + draw.below(900)}"
    infix = _INFIXES[draw.below(len(_INFIXES))]
    body = f"{made.place}{year % 10}{week:02d}{item}{infix}{made.board}{_BASE34[draw.below(34)]}"
    return body + _BASE34[-_checksum(body + "0") % 34]


def _checksum(mlb: str) -> int:
    """The sum of the board serial's characters modulo 34; those at odd places count three times; 0 is right."""
    return sum((3 if place % 2 else 1) * _BASE34.index(char) for place, char in enumerate(mlb)) % 34
