"""Giving a PCI device to a guest: trees such as /sys has on real hosts, and what is said of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pommel.app.argv import passthrough as app
from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.host import pci_devices
from pommel.host.passthrough import Card, Host, PciFinding, about_host, card, cards, parse_address
from pommel.machine.spec import MachineSpec
from pommel.paths import Home


@dataclass(frozen=True)
class Function:
    """One device as its folder in /sys has it."""

    address: str
    ids: str
    kind: str
    group: int | None = None
    driver: str | None = None
    reset: str | None = ""
    rom: int | None = None
    boot_vga: str | None = None


# A desktop with an Intel processor, a Radeon RX 580 bound to vfio-pci, and the processor's own graphics for the host.
BOUND = (
    Function("0000:00:01.0", "8086:1901", "060400", 1, "pcieport", "pm"),
    Function("0000:00:02.0", "8086:3e98", "030000", 0, "i915", "flr", None, "1"),
    Function("0000:00:1f.6", "8086:15bc", "020000", 9, "e1000e", "flr pm"),
    Function("0000:01:00.0", "1002:67df", "030000", 1, "vfio-pci", "bus", 131072, "0"),
    Function("0000:01:00.1", "1002:aaf0", "040300", 1, "vfio-pci", "bus"),
)
# The same card as the host's only one, with its usual drivers, behind a chipset whose devices share its group.
SHARED = (
    Function("0000:03:00.0", "1022:43ee", "0c0330", 15, "xhci_hcd", "pm"),
    Function("0000:03:00.1", "1022:43eb", "010601", 15, "ahci", "pm"),
    Function("0000:0a:00.0", "1002:67df", "030000", 15, "amdgpu", None, None, "1"),
    Function("0000:0a:00.1", "1002:aaf0", "040300", 15, "snd_hda_intel", "bus"),
)
# A laptop whose firmware has the IOMMU off.
OFF = (Function("0000:01:00.0", "10de:1c03", "030200", None, "nouveau", "pm", 524288),)


def tree(
    root: Path, functions: tuple[Function, ...], *, iommu: str | None = "dmar0", modules: str = "vfio_pci"
) -> Path:
    """A root folder with these devices, as the kernel lays them out."""
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text("BOOT_IMAGE=/vmlinuz root=/dev/sda2 quiet\n")
    (root / "sys/bus/pci/devices").mkdir(parents=True)
    for module in modules.split():
        (root / "sys/module" / module).mkdir(parents=True)
    if iommu:
        (root / "sys/class/iommu" / iommu).mkdir(parents=True)
    for each in functions:
        real = root / "sys/devices/pci0000:00" / each.address
        real.mkdir(parents=True)
        vendor, _, device = each.ids.partition(":")
        texts = {"vendor": f"0x{vendor}", "device": f"0x{device}", "class": f"0x{each.kind}", "boot_vga": each.boot_vga}
        texts["reset_method"] = each.reset
        for name, text in texts.items():
            if text is not None:
                (real / name).write_text(f"{text}\n")
        if each.rom is not None:
            (real / "rom").write_bytes(b"")
            os.truncate(real / "rom", each.rom)
        for name, target in (
            ("driver", f"sys/bus/pci/drivers/{each.driver}"),
            ("iommu_group", f"sys/kernel/iommu_groups/{each.group}"),
        ):
            if not target.endswith("/None"):
                (root / target).mkdir(parents=True, exist_ok=True)
                (real / name).symlink_to(root / target)
        (root / "sys/bus/pci/devices" / each.address).symlink_to(real)
    return root


def nodes(root: Path, *groups: int) -> None:
    (root / "dev/vfio").mkdir(parents=True)
    for group in groups:
        (root / "dev/vfio" / str(group)).touch()


def by_name(found: Card | list[PciFinding]) -> Mapping[str, PciFinding]:
    return {finding.name: finding for finding in (found.findings if isinstance(found, Card) else found)}


def test_a_card_that_is_ready(tmp_path: Path) -> None:
    nodes(tree(tmp_path, BOUND), 1)
    host = pci_devices.read_host(tmp_path)
    builtin, radeon = cards(host)
    assert builtin.device.address == "0000:00:02.0" and not builtin.ready
    assert radeon.ready and [each.address for each in radeon.functions] == ["0000:01:00.1"] and radeon.others == ()
    found = by_name(radeon)
    assert "group 1, alone" in found["group"].text and "128 KiB" in found["ROM"].text and "bus" in found["reset"].text
    assert {name: by_name(list(about_host(host)))[name].level for name in ("IOMMU", "vfio-pci")} == {
        "IOMMU": "ok",
        "vfio-pci": "ok",
    }


def test_what_stands_in_the_way_is_told_with_what_to_type(tmp_path: Path) -> None:
    host = pci_devices.read_host(tree(tmp_path, SHARED))
    (radeon,) = cards(host)
    found = by_name(radeon)
    assert not radeon.ready
    assert "0000:03:00.0 1022:43ee (xhci_hcd), 0000:03:00.1 1022:43eb (ahci)" in found["group"].text
    assert "0000:0a:00.0 has amdgpu; 0000:0a:00.1 has snd_hda_intel" in found["driver"].text
    assert "options vfio-pci ids=1002:67df,1002:aaf0\\nsoftdep amdgpu pre: vfio-pci" in (found["driver"].fix or "")
    assert found["reset"].level == "warn" and "vendor-reset" in (found["reset"].fix or "")
    assert "firmware shows the host's screen on it" in found["console"].text
    assert 'vfio = ["0a:00.0,romfile=' in (found["console"].fix or "") and found["ROM"].level == "warn"


def test_an_iommu_that_is_off(tmp_path: Path) -> None:
    host = pci_devices.read_host(tree(tmp_path, OFF, iommu=None, modules="pci"))
    told = by_name(list(about_host(replace(host, vendor="intel"))))
    assert (
        told["IOMMU"].level == "fail"
        and "VT-d" in (told["IOMMU"].fix or "")
        and "intel_iommu=on iommu=pt" in (told["IOMMU"].fix or "")
    )
    assert told["vfio-pci"].fix == "sudo modprobe vfio-pci"
    already = replace(host, vendor="intel", cmdline="quiet intel_iommu=on iommu=pt")
    assert "command line" not in (by_name(list(about_host(already)))["IOMMU"].fix or "")
    (nvidia,) = cards(host)
    assert by_name(nvidia)["group"].level == "fail" and "NVIDIA" in by_name(nvidia)["macOS"].text


def test_rights_and_locked_memory(tmp_path: Path) -> None:
    host = pci_devices.read_host(tree(tmp_path, BOUND))
    radeon = card(host, host.devices["0000:01:00.0"])
    assert by_name(radeon)["rights"].level == "fail" and "70-pommel-vfio.rules" in (by_name(radeon)["rights"].fix or "")
    little = replace(host, memlock_bytes=8 << 20)
    told = by_name(list(about_host(little, 8 << 30)))["memory"]
    assert told.level == "fail" and "8 MiB" in told.text and str((8 << 20) + (1 << 18)) in (told.fix or "")
    assert "memory" not in by_name(list(about_host(replace(host, memlock_bytes=16 << 30), 8 << 30)))


def test_names_come_from_pci_ids_and_kernels_of_before_tell_no_resets(tmp_path: Path) -> None:
    old = tuple(replace(each, reset=None) for each in BOUND)
    tree(tmp_path, old)
    (tmp_path / "usr/share/misc").mkdir(parents=True)
    ids = "# comment\n1002  Advanced Micro Devices\n\t67df  Ellesmere [Radeon RX 580]\n\t\t1002 0b37  a subsystem\n8086  Intel\n\t67df  Other\n"
    (tmp_path / "usr/share/misc/pci.ids").write_text(ids)
    host = pci_devices.read_host(tmp_path)
    assert str(host.devices["0000:01:00.0"]) == "0000:01:00.0 Advanced Micro Devices Ellesmere [Radeon RX 580]"
    assert host.devices["0000:01:00.0"].resets is None
    assert "5.15" in by_name(card(host, host.devices["0000:01:00.0"]))["reset"].text


def test_a_host_without_any_of_it_and_one_whose_files_are_odd(tmp_path: Path) -> None:
    assert pci_devices.read_host(tmp_path / "nowhere").devices == {}
    root = tree(tmp_path, BOUND)
    broken = root / "sys/devices/pci0000:00/0000:01:00.0"
    (broken / "vendor").write_text("junk")
    (broken.parent / "0000:01:00.1" / "iommu_group").unlink()
    (broken.parent / "0000:01:00.1" / "iommu_group").symlink_to("/x/ten")
    host = pci_devices.read_host(root)
    assert "0000:01:00.0" not in host.devices and host.devices["0000:01:00.1"].group is None


@pytest.mark.parametrize("text", ["", "1:0.0", "01:00", "01:20.0", "01:00.8", "gg:00.0", "0000:01:00.0 "])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="address of a PCI device"):
        parse_address(text)
    assert parse_address("01:1F.7") == "0000:01:1f.7"


def spec(*vfio: str) -> MachineSpec:
    workspace = Workspace(Home(Path("/nowhere"), Path("/nowhere"), Path("/nowhere")), Path("/"), {})
    return replace(workspace.spec("sonoma"), vfio=vfio, memory_bytes=4 << 30)


@pytest.mark.parametrize(
    ("functions", "ready", "vfio", "said"),
    [
        (BOUND, True, ("0000:01:00.0", "0000:01:00.1"), None),
        (BOUND, True, (), None),
        (BOUND, False, ("0000:01:00.0",), "rights: you have no permission to open /dev/vfio/1"),
        (BOUND, True, ("0000:07:00.0",), "no such PCI device"),
        (SHARED, True, ("0000:0a:00.0",), "group: group 15 contains devices that the host uses"),
    ],
)
def test_a_start_is_refused_by_name(
    functions: tuple[Function, ...], ready: bool, vfio: tuple[str, ...], said: str | None,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    nodes(tree(tmp_path, functions), *((1, 15) if ready else ()))
    seen: Host = replace(pci_devices.read_host(tmp_path), memlock_bytes=None)
    monkeypatch.setattr(pci_devices, "read_host", lambda: seen)
    if said is None:
        app.must_start(spec(*vfio))
        return
    with pytest.raises(StateError, match=said) as refusal:
        app.must_start(spec(*vfio))
    assert refusal.value.hint
