"""`identity` in pommel.toml: the Mac's numbers, and the result for its record. Band: core, no I/O.

    identity = "own"                                        the machine's own numbers, made when it is made
    identity = "upstream"                                   the numbers on the boot disk
    identity = { model = "iMac20,1", serial = "…", … }      these numbers; missing ones are made

The user's numbers are checked for form, date and checksum as macserial checks them, and never changed.
"""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pommel.machine import smbios
from pommel.machine.smbios import AppleIdentity

KEYS = ("model", "serial", "mlb", "rom", "uuid")
_MODEL = re.compile(r"[A-Za-z]+\d+,\d+\Z")
# "own", "upstream", or the user's numbers, by KEYS' names and in the spelling of the record.
Wanted = str | Mapping[str, str]
_WANTED = f'"own", "upstream", or a table of {", ".join(KEYS)}'


@dataclass(frozen=True, slots=True)
class Born:
    """A machine's identity: its UUID, its network card's address, and a Mac's numbers; None: no own numbers."""

    uuid: str
    mac: str
    apple: AppleIdentity | None


def parse(raw: Any) -> Wanted:
    """Parse the setting.

    Raises:
        ValueError: with the allowed form, or with what is wrong with a number.
    """
    if raw in ("own", "upstream"):
        return str(raw)
    if not isinstance(raw, Mapping):
        raise ValueError(_WANTED)
    if unknown := [str(key) for key in raw if key not in KEYS]:
        raise ValueError(f"{_WANTED}; there is no {unknown[0]}")
    if not raw:
        raise ValueError(_WANTED)
    for key, value in raw.items():
        if not isinstance(value, str):
            raise ValueError(f"{_WANTED}, each a text; {key} is not a text")
    given = {key: _as_kept(key, raw[key]) for key in KEYS if key in raw}
    for key, value in given.items():
        if wrong := _problem(key, value, given.get("model")):
            raise ValueError(f"a table of valid numbers; {key} = {value!r} is not valid: {wrong}")
    if given.get("model") not in (None, *smbios.MODELS) and not {"serial", "mlb"} <= given.keys():
        raise ValueError(
            f"a table with serial and mlb too, because numbers can be created only for {', '.join(smbios.MODELS)}"
        )
    return given


def give(wanted: Wanted, *, model: str, uuid: str, mac: str, random: bytes) -> Born:
    """The numbers of a machine with this UUID and MAC address; `model` is the Mac's model if the user gives none.

    `random` is `smbios.RANDOM_BYTES` bytes. If the user gives `rom`, the network card gets that address, because
    Apple's services expect both to be equal; but not a multicast address, which no card may have.
    """
    if wanted == "upstream":
        return Born(uuid, mac, None)
    given = _written(wanted)
    uuid = given.get("uuid", uuid)
    if "rom" in given and not int(given["rom"][:2], 16) & 1:
        mac = bytes.fromhex(given["rom"]).hex(":")
    chosen = given.get("model", model)
    base = chosen if chosen in smbios.MODELS else model  # for a model without tables, the user has given serial and mlb
    made = smbios.new_apple_identity(base, random, uuid=uuid, mac=mac)
    apple = replace(
        made,
        model=chosen,
        serial=given.get("serial", made.serial),
        mlb=given.get("mlb", made.mlb),
        rom=given.get("rom", made.rom),
    )
    return Born(uuid, mac, apple)


def differs(apple: AppleIdentity | None, wanted: Wanted | None) -> str | None:
    """The difference of a machine's numbers from the setting; None: there is none.

    Without the setting there is none either: an existing machine keeps its numbers.
    """
    if wanted is None:
        return None
    if wanted == "upstream":
        return f"it has its own numbers ({apple.model}, {apple.serial})" if apple else None
    if apple is None:
        return "it has the numbers of its boot disk"
    for key, value in _written(wanted).items():
        if (kept := getattr(apple, key)) != (value.upper() if key == "uuid" else value):
            return f"its {key} is {kept}, but {value} is set"
    return None


def _written(wanted: Wanted) -> Mapping[str, str]:
    return {} if isinstance(wanted, str) else wanted


def _as_kept(key: str, value: str) -> str:
    """The value in the spelling of the record."""
    if key == "rom":
        return value.replace(":", "").upper()
    return value.lower() if key == "uuid" else value


def _problem(key: str, value: str, model: str | None) -> str | None:
    if key == "model":
        return None if _MODEL.match(value) else "no model such as iMacPro1,1"
    if key == "serial":
        return smbios.check_serial(value, model)
    if key == "mlb":
        return smbios.check_mlb(value)
    if key == "rom":
        return None if re.fullmatch(r"[0-9A-F]{12}", value) else "not 12 hexadecimal digits"
    try:
        return None if str(uuids.UUID(value)) == value else "no UUID"
    except ValueError:
        return "no UUID"
