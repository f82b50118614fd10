"""dockur's storage folder."""

from __future__ import annotations

import pytest

from pommel.adopt import dockur
from pommel.errors import StateError, UsageError

WORDS = {
    "macos.id": "0F0E0D0C-1111-4222-8333-444455556666\n",
    "macos.mac": "02:16:8D:AA:BB:CC\n",
    "macos.sn": "C02TM2ZBHX87\n",
    "macos.mlb": "C02717306J9JG361M\n",
}
NAMES = frozenset({*WORDS, "data.img", "macos.rom", "macos.vars", "boot.img", "data2.qcow2", "base.dmg"})


def test_identity_firmware_and_disk_are_found() -> None:
    assert dockur.is_one(NAMES)
    found = dockur.machine("/s", NAMES, WORDS)
    assert (found.disk, found.disk_format, found.nvram, found.firmware, found.boot_disk) == (
        "/s/data.img",
        "raw",
        "/s/macos.vars",
        "/s/macos.rom",
        "/s/boot.img",
    )
    assert {key: taken.value for key, taken in found.facts.items()} == {
        "uuid": "0f0e0d0c-1111-4222-8333-444455556666",
        "mac": "02:16:8d:aa:bb:cc",
        "rom": "02168DAABBCC",
        "serial": "C02TM2ZBHX87",
        "mlb": "C02717306J9JG361M",
        "model": "iMacPro1,1",
    }
    assert found.further == ("/s/data2.qcow2",)


def test_a_qcow2_disk_goes_before_a_raw_one() -> None:
    assert dockur.machine("/s", NAMES | {"data.qcow2"}, {}).disk_format == "qcow2"


def test_what_it_is_not() -> None:
    assert not dockur.is_one(frozenset({"data.img"})) and not dockur.is_one(frozenset({"macos.id"}))
    with pytest.raises(StateError, match="contains no disk"):
        dockur.machine("/s", frozenset({"macos.id"}), {})
    with pytest.raises(UsageError, match=r"macos.mac: 'x' is not a MAC address"):
        dockur.machine("/s", NAMES, {"macos.mac": "x\n"})
