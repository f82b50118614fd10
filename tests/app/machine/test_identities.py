"""Whose numbers a Mac gets when it is made, that it keeps them, and how it gets others."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.argv.test_machine_disk import DISK, LINE, Place
from app.macs import APPLE
from machine.images import OPENCORE, with_esp
from pommel.app.argv import commandline
from pommel.app.host import doctor
from pommel.app.machine import clones, identities, making, power
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, PommelError, StateError, UsageError
from pommel.machine import record, smbios
from pommel.opencore import apple_services, reading
from pommel.process import run
from pommel.progress import Progress, ignore

PUBLIC = {"SystemProductName": "iMac19,1", "SystemSerialNumber": "C02FPBZPHX87", "MLB": "C02119700QXJG36JC",
          "SystemUUID": "213FA768-A62C-4299-8598-47AA666E436F", "ROM": "0022412e3d4a"}  # fmt: skip
SOMEBODYS = {"SystemProductName": APPLE.model, "SystemSerialNumber": APPLE.serial, "MLB": APPLE.mlb,
             "SystemUUID": APPLE.uuid, "ROM": bytes.fromhex(APPLE.rom)}  # fmt: skip


def boot_disk(path: Path, generic: Mapping[str, Any]) -> None:
    """A boot disk such as OSX-KVM's, with these numbers on it."""
    config = plistlib.dumps({"Kernel": {"Patch": []}, "PlatformInfo": {"Generic": dict(generic)}})
    raw = with_esp(path.with_suffix(".raw"), {**OPENCORE, "EFI/OC/config.plist": config})
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path])
    raw.unlink()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.script(LINE + DISK.format("qcow2"))
    boot_disk(place.upstream / "OpenCore.qcow2", PUBLIC)
    return place


def make(workspace: Workspace, said: list[Progress] | None = None) -> record.MachineRecord:
    making.make(workspace, workspace.spec("mac"), report=ignore if said is None else said.append)
    return record.load(workspace.paths("mac").record)


def started_from(workspace: Workspace) -> Path:
    """The boot disk of the machine's next start, made if need be."""
    planned = commandline.prepare(workspace, "mac", None, report=ignore)
    words = planned.overlaid.command_line.words
    drive = next(word for word in words if "id=OpenCoreBoot" in word)
    return Path(drive.partition("file=")[2].partition(",")[0])


def on(disk: Path) -> dict[str, str]:
    return reading.numbers(reading.read_config(disk))


def test_public_numbers_are_replaced_before_the_first_start_and_then_kept(place: Place) -> None:
    upstreams = place.sums()["OpenCore.qcow2"]
    said: list[Progress] = []
    kept = make(place.workspace(), said)
    assert kept.model == "iMac19,1" and kept.serial not in (None, PUBLIC["SystemSerialNumber"])
    assert any(f"serial number {kept.serial}" in event.text and "C02FPBZPHX87" in event.text for event in said)
    own = started_from(place.workspace())
    told = on(own)
    assert (told["model"], told["serial"], told["mlb"]) == (kept.model, kept.serial, kept.mlb)
    assert told["rom"] == kept.mac.replace(":", "").upper() and told["uuid"] == kept.uuid.upper()
    assert started_from(place.workspace()) == own and place.sums()["OpenCore.qcow2"] == upstreams
    (place.upstream / "OpenCore.qcow2").unlink()
    boot_disk(place.upstream / "OpenCore.qcow2", {**PUBLIC, "SpoofVendor": True})
    newer = started_from(place.workspace())
    assert newer != own and on(newer) == told, "an upstream that moves on changes no number"


@pytest.mark.parametrize(
    ("generic", "settings", "disk", "why"),
    [
        (SOMEBODYS, (), None, "which may be yours"),
        (PUBLIC, ('identity = "upstream"',), None, "asked for"),
        (PUBLIC, ('boot_disk = "mine.qcow2"',), None, "which may be yours"),
    ],
)
def test_numbers_that_somebody_wrote_stand(
    generic: Mapping[str, Any], settings: tuple[str, ...], disk: str | None, why: str, place: Place
) -> None:
    (place.upstream / "OpenCore.qcow2").unlink()
    boot_disk(place.upstream / "OpenCore.qcow2", generic)
    boot_disk(place.root / "mine.qcow2", SOMEBODYS)
    said: list[Progress] = []
    kept = make(place.workspace(*settings), said)
    assert kept.apple is None and any(why in event.text for event in said)
    named = place.root / "mine.qcow2" if "boot_disk" in "".join(settings) else place.upstream / "OpenCore.qcow2"
    assert started_from(place.workspace(*settings)) == named


def test_a_disk_with_macos_on_it_keeps_the_numbers_that_it_knows(place: Place) -> None:
    from machine.images import mac

    mac(place.upstream / "raw")
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", place.upstream / "raw", place.upstream / "mac_hdd_ng.img"])
    (place.upstream / "raw").unlink()
    said: list[Progress] = []
    assert make(place.workspace('disk_file = "upstream"'), said).apple is None
    assert any("the macOS on its disk already uses those" in event.text for event in said)


def test_numbers_in_pommel_toml(place: Place) -> None:
    table = (
        f'identity = {{ model = "{APPLE.model}", serial = "{APPLE.serial}", mlb = "{APPLE.mlb}", rom = "{APPLE.rom}" }}'
    )
    kept = make(place.workspace(table))
    assert kept.apple == replace(APPLE, uuid=kept.uuid.upper()) and kept.mac == "52:54:00:c9:18:27"
    assert on(started_from(place.workspace(table)))["serial"] == APPLE.serial
    for said, why in (
        ('identity = "upstream"', "its own numbers"),
        ('identity = { rom = "001122334455" }', "its rom is"),
    ):
        with pytest.raises(StateError, match=f"mac keeps the numbers with which it was created: .*{why}") as refusal:
            power.start("mac", workspace=place.workspace(said))
        assert "pommel identity mac --new" in str(refusal.value.hint)
        assert any(why in line for line in commandline.command_line(place.workspace(said), "mac").warnings)
    with pytest.raises(ConfigError, match=r"pommel.toml:4: identity must be .*serial = 'C02' is not valid"):
        place.workspace('identity = { serial = "C02" }').spec("mac")


def test_other_numbers_on_request(place: Place) -> None:
    workspace = place.workspace()
    first = make(workspace)
    planned = identities.change("mac", dry_run=True, workspace=workspace)
    assert planned.serial != first.serial and record.load(workspace.paths("mac").record) == first
    second = identities.change("mac", model="MacPro7,1", workspace=workspace)
    assert second.model == "MacPro7,1" and not {second.serial, second.uuid, second.mac} & {
        first.serial,
        first.uuid,
        first.mac,
    }
    assert on(started_from(workspace))["serial"] == second.serial
    back = identities.change("mac", workspace=place.workspace('identity = "upstream"'))
    assert back.apple is None and on(started_from(place.workspace('identity = "upstream"')))["serial"] == "C02FPBZPHX87"
    with pytest.raises(UsageError, match="no serial numbers can be created for 'iMac1'"):
        identities.change("mac", model="iMac1", workspace=workspace)
    with pytest.raises(UsageError, match="conflicts with identity"):
        identities.change("mac", model="iMac20,1", workspace=place.workspace('identity = { rom = "001122334455" }'))


def test_doctor_and_show_tell_of_public_numbers(place: Place) -> None:
    workspace = place.workspace('identity = "upstream"')
    make(workspace)
    told = identities.show("mac", workspace=workspace)
    assert (told["serial"], told["source"]) == ("C02FPBZPHX87", "boot disk") and "OSX-KVM" in told["public"]
    check = next(check for check in doctor.doctor("mac", workspace=workspace) if check.name == "numbers")
    assert check.level == "warn" and "pommel identity mac --new" in (check.fix or "")
    identities.change("mac", workspace=place.workspace())
    check = next(check for check in doctor.doctor("mac", workspace=place.workspace()) if check.name == "numbers")
    assert check.level == "ok" and str(record.load(workspace.paths("mac").record).serial) in check.text


def patches(disk: Path) -> list[Any]:
    return list(reading.read_config(disk)["Kernel"]["Patch"])


def test_the_virtual_machine_is_hidden_once_macos_is_installed_and_where_it_helps(place: Place) -> None:
    hidden = ('macos = "sequoia"', "apple_services = true")
    make(place.workspace())
    path = place.workspace().paths("mac").record
    for settings, installed, because in (
        (hidden, False, "macOS is not installed yet"),
        (('macos = "sonoma"', "apple_services = true"), True, "macOS 14 can sign in without it"),
        (("apple_services = true",), True, "set macos"),
    ):
        record.save(path, replace(record.load(path), installed=installed))
        workspace = place.workspace(*settings)
        warned = commandline.command_line(workspace, "mac").warnings
        assert any(f"apple_services has no effect: {because}" in line for line in warned) or because in str(warned)
        assert patches(started_from(workspace)) == []
    record.save(path, replace(record.load(path), installed=True))
    assert patches(started_from(place.workspace(*hidden))) == apple_services.entries()
    assert patches(started_from(place.workspace())) == []


def test_what_cannot_be_had_is_said_before_anything_is_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda n, path=None: None if n == "mcopy" else which(n, path=path))
    with pytest.raises(PommelError, match="mcopy") as refusal:
        make(place.workspace())
    assert 'identity = "upstream"' in str(refusal.value.hint) and not place.workspace().paths("mac").directory.exists()
    with pytest.raises(ConfigError, match="trial machine is not a Mac"):
        trial = place.workspace()
        identities.decide(trial, replace(trial.spec("trial"), identity={"rom": "001122334455"}), None)


def test_models_that_apple_does_not_offer_a_macos_to(place: Place) -> None:
    said: list[Progress] = []
    made = replace(make(place.workspace()), macos="26")
    decision = identities.Decision("own", "iMacPro1,1", "asked for")
    identities.give(made, replace(place.workspace().spec("mac"), macos="26"), decision, report=said.append)
    assert any(event.warning and "does not offer macOS 26" in event.text for event in said)
    assert smbios.offered("iMacPro1,1", "26") is False


def test_a_clone_without_a_boot_disk_for_its_numbers_starts_as_its_base_does(tmp_path: Path) -> None:
    place = Place(tmp_path)
    opencore = LINE[LINE.index("-drive id=OpenCoreBoot") : LINE.index("-drive id=InstallMedia")]
    place.script(LINE.replace(opencore, "") + DISK.format("qcow2"))
    make(place.workspace())
    said: list[Progress] = []
    made = clones.clone("mac", "twin", workspace=place.workspace(), report=said.append)
    assert made.apple is None and any("no boot disk with Apple's serial numbers is known" in each.text for each in said)
    with pytest.raises(UsageError, match="cannot become a iMac19,1"):
        clones.clone("mac", "other", model="iMac19,1", workspace=place.workspace())


def test_a_clone_of_a_mac_on_its_upstream_s_numbers_has_its_own(place: Place) -> None:
    workspace = place.workspace('identity = "upstream"')
    assert make(workspace).apple is None
    assert clones.clone("mac", "twin", workspace=workspace).apple is not None
