"""`vfio`: what QEMU gets for it. QEMU itself is asked whether it knows the words; no device is given to a guest here."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from pommel.errors import ConfigError
from pommel.machine.spec import SETTINGS
from pommel.settings import ConfigFile, resolve

from .given import TCG, line_with, overlaid

CARD = ("0000:01:00.0", "0000:01:00.1")


def devices(*said: str, vfio: tuple[str, ...] = CARD, machine: str = "q35") -> list[str]:
    line = line_with("-machine", machine, *said, without=("-machine",))
    return [
        a.value or ""
        for a in overlaid(line, facts=TCG, vfio=vfio).command_line.find("device")
        if "vfio" in (a.value or "")
    ]


def test_a_card_and_its_sound_stand_in_one_slot_behind_a_port_of_their_own() -> None:
    assert devices() == [
        "pcie-root-port,id=pommel-vfio0,chassis=64",
        "vfio-pci,host=0000:01:00.1,bus=pommel-vfio0,addr=0.1",
        "vfio-pci,host=0000:01:00.0,bus=pommel-vfio0,addr=0.0,multifunction=on",
    ]
    two = devices(vfio=("0000:01:00.0,romfile=/a,b.rom", "0000:02:00.0"))
    assert two[1] == "vfio-pci,host=0000:01:00.0,bus=pommel-vfio0,addr=0.0,romfile=/a,,b.rom"
    assert two[2:] == [
        "pcie-root-port,id=pommel-vfio1,chassis=65",
        "vfio-pci,host=0000:02:00.0,bus=pommel-vfio1,addr=0.0",
    ]
    assert devices(machine="pc") == ["vfio-pci,host=0000:01:00.1", "vfio-pci,host=0000:01:00.0"]


def test_what_the_script_passes_through_stays_and_is_not_given_twice() -> None:
    own = ("-device", "vfio-pci,host=01:00.0,bus=pcie.0,multifunction=on,x-vga=on")
    assert devices(*own) == [own[1], "pcie-root-port,id=pommel-vfio0,chassis=64",
                             "vfio-pci,host=0000:01:00.1,bus=pommel-vfio0,addr=0.1"]  # fmt: skip
    assert devices(*own, vfio=CARD[:1]) == [own[1]]


def value(raw: Any) -> Any:
    file = ConfigFile(None, "", {"mac": {"vfio": raw}})
    return resolve(SETTINGS, file, "mac", env={})["vfio"].value


def test_addresses_are_read_as_lspci_writes_them() -> None:
    assert value(["01:00.0", "0000:01:00.1"]) == CARD
    assert value("01:00.0 01:00.1") == CARD
    assert value(["0A:00.0,romfile=/x/y.rom"]) == ("0000:0a:00.0,romfile=/x/y.rom",)
    for wrong in (["01:00"], ["01:00.0,x-vga=on"], ["01:00.0,romfile=rel"], [1], 5, ["01:00.0", "0000:01:00.0"]):
        with pytest.raises(ConfigError, match="vfio must be a list of PCI addresses"):
            value(wrong)


def test_qemu_knows_the_words_and_says_what_is_missing_here() -> None:
    words = [word for device in devices() for word in ("-device", device)]
    done = subprocess.run(
        ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", *words],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "0000:01:00.1" in done.stderr and "no such host device" in done.stderr, done.stderr
