"""Exported domains are taken by a real libvirt, and run the same machine as QEMU's own command line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pommel.adopt import libvirt as adopted
from pommel.errors import UsageError
from pommel.machine.commandline import CommandLine
from pommel.machine.libvirt.domain import export
from pommel.machine.libvirt.draft import Outcome
from pommel.machine.suboptions import SubOptions

from .conftest import Virsh

GOLDEN = Path(__file__).parents[1] / "golden"
LINES = sorted(GOLDEN.glob("*.txt"))
QEMU = "/usr/bin/qemu-system-x86_64"
BASE = "-machine q35 -accel tcg -m 64 -display none -nic none"


def line(text: str) -> CommandLine:
    program, *words = shlex.split(text.replace("\\\n", " "))
    return CommandLine.parse(program, words)


def of(more: str) -> CommandLine:
    return line(f"qemu-system-x86_64 {BASE} {more}")


def test_libvirt_takes_them_all_by_its_schema(virsh: Virsh) -> None:
    for path in LINES:
        (virsh.root / f"{path.stem}.xml").write_text(export(line(path.read_text()), QEMU).xml)
    virsh.run(*(f"define --validate {virsh.root}/{path.stem}.xml; undefine --keep-nvram sonoma" for path in LINES))


@pytest.mark.parametrize("path", LINES, ids=lambda path: path.stem)
def test_every_argument_has_its_fate_in_order(path: Path) -> None:
    whole = line(path.read_text())
    domain = export(whole, QEMU)
    assert [each.argument for each in domain.account] == [each.text for each in whole.arguments]
    raw = [each.argument.split()[0] for each in domain.account if each.outcome is Outcome.RAW]
    assert raw.count("-device") == 2 and set(raw) == {"-cpu", "-device", "-smbios", "-netdev"}
    assert not [each for each in domain.account if each.outcome is Outcome.LEFT_OUT]


def test_what_adopts_a_domain_reads_what_was_exported() -> None:
    text = (GOLDEN / "code_4m-tcg-installed-knobs.txt").read_text()
    found = adopted.parse(export(line(text), QEMU).xml, "x.xml")
    assert "isa-applesmc" in " ".join(found.words) and "mac_hdd_ng.img" in str(found.found)


# --- the same machine ---


def local(text: str, folder: Path) -> CommandLine:
    """A golden line with files that exist, and little memory."""
    shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", folder / "nvram.fd")
    whole = line(text)
    for argument in whole.arguments:
        file = argument.sub.get("file")
        if argument.name == "drive" and file and not file.endswith(".fd"):
            place = folder / Path(file).name
            kind = argument.sub.get("format") or "raw"
            subprocess.run(["qemu-img", "create", "-q", "-f", kind, place, "64M"], check=True)
            whole = whole.replace(
                argument, replace(argument, value=argument.sub.with_value("file", str(place)).render())
            )
        elif file == "/machines/sonoma/nvram.fd":
            value = argument.sub.with_value("file", str(folder / "nvram.fd")).render()
            whole = whole.replace(argument, replace(argument, value=value))
        elif argument.name in ("m", "smp", "netdev"):
            value = {"m": "256", "smp": "2,cores=1,sockets=1", "netdev": "user,id=net0"}[argument.name]
            whole = whole.replace(argument, replace(argument, value=value))
    words = [word.replace("/machines/sonoma", str(folder)) for word in whole.words]
    words = [word.replace("/upstream/", "/usr/share/OVMF/") if word.endswith("CODE_4M.fd") else word for word in words]
    return CommandLine.parse(whole.program, words)


def seen_by(ask: str, whole: CommandLine) -> str:
    """What the QEMU of this line says to a monitor's question."""
    words = [*whole.argv, "-S", "-monitor", "stdio"]
    done = subprocess.run(words, input=f"{ask}\nquit\n", capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def slots(text: str) -> dict[str, str]:
    """Places and kinds of the PCI devices of the root bus."""
    found = re.findall(r"Bus +0, device +(\d+), function (\d+):\s+(.*?)\r?\n", text)
    return {f"{device}.{function}": kind for device, function, kind in found}


def test_started_it_has_the_same_devices_in_the_same_places(virsh: Virsh) -> None:
    whole = local((GOLDEN / "code_4m-tcg-installer-knobs.txt").read_text(), virsh.root)
    (virsh.root / "x.xml").write_text(export(whole, QEMU).xml)
    ask = "qemu-monitor-command sonoma --hmp"
    said = virsh.run(
        f"create --paused {virsh.root}/x.xml", f"{ask} 'info pci'", f"{ask} 'info usb'", f"{ask} 'info cpus'",
        f"{ask} 'info block'", "destroy sonoma",
    )  # fmt: skip
    own = [each for each in whole.find("monitor", "vnc", "qmp", "pidfile", "serial", "chardev")]
    for argument in own:
        whole = whole.remove(argument)
    expected = seen_by("info pci", whole)
    assert slots(said) == slots(expected) and len(slots(said)) >= 9
    usb = re.compile(r"Port (\d+),.*Product (QEMU USB \w+)")
    assert (
        usb.findall(said)
        == usb.findall(seen_by("info usb", whole))
        == [("1", "QEMU USB Keyboard"), ("2", "QEMU USB Tablet")]
    )
    assert said.count("CPU #") == 2
    for name in ("OpenCore.qcow2", "BaseSystem.img", "mac_hdd_ng.img"):
        assert name in said


# --- single arguments ---


@pytest.mark.parametrize(
    ("more", "path", "attributes"),
    [
        ("-device virtio-balloon-pci,free-page-reporting=on", "devices/memballoon", {"freePageReporting": "on"}),
        ("-vga std", "devices/video/address", {"slot": "0x1"}),
        ("-device e1000e -device VGA,xres=1920,yres=1080", "devices/video/model/resolution", {"x": "1920", "y": "1080"}),
        ("-device VGA,addr=1e", "devices/video/address", {"slot": "0x1e"}),
        ("-device vfio-pci,host=01:00.0,multifunction=on", "devices/hostdev/source/address", {"bus": "0x01"}),
        ("-rtc base=localtime", "clock", {"offset": "localtime"}),
        ("-no-reboot", "on_reboot", {}),
        ("-machine hpet=off,smm=on", "clock/timer", {"present": "no"}),
        ("-netdev bridge,id=n,br=br7 -device vmxnet3,netdev=n", "devices/interface/source", {"bridge": "br7"}),
        ("-smp 8,cores=2,sockets=1", "cpu/topology", {"cores": "2", "threads": "4"}),
        ("-smp 8", "cpu/topology", {"sockets": "1", "cores": "8"}),
        ("-drive id=d,if=none,format=raw,file=/d -device virtio-blk-pci,drive=d,bootindex=0", "devices/disk/boot", {"order": "1"}),
        ("-drive id=d,if=none,format=raw,file=/d,readonly=on -device ide-cd,bus=ide.2,drive=d", "devices/disk/address", {"unit": "2"}),
    ],
)  # fmt: skip
def test_elements(more: str, path: str, attributes: dict[str, str]) -> None:
    found = ElementTree.fromstring(export(of(more), QEMU).xml).find(path)
    assert found is not None and attributes.items() <= dict(found.attrib).items()


@pytest.mark.parametrize(
    ("more", "raw"),
    [
        ("-device qemu-xhci,id=x -device usb-host,bus=x.0,hostbus=1", "usb-host,bus=ua-x.0,hostbus=1"),
        ("-device virtio-rng-pci", "virtio-rng-pci,bus=pcie.0,addr=0x2"),
        ("-drive id=d,if=none,file=/d -device ide-hd,bus=ide.0,drive=d", "ide-hd,bus=ide.0,drive=d"),
        ("-device vfio-pci,host=01:00.0,x-vga=on", "vfio-pci,host=01:00.0,x-vga=on,bus=pcie.0,addr=0x2"),
        ("-device qemu-xhci,p2=7", "qemu-xhci,p2=7,bus=pcie.0,addr=0x2"),
        ("-global ICH9-LPC.disable_s3=1", "ICH9-LPC.disable_s3=1"),
        ("-machine vmport=off,i8042=off", "i8042=off"),
        ("-object rng-random,id=r", "rng-random,id=r"),
    ],
)
def test_what_stays_as_it_is_keeps_its_place_and_finds_its_bus(more: str, raw: str) -> None:
    domain = export(of(more), QEMU)
    words = [each.get("value") for each in ElementTree.fromstring(domain.xml).iter() if each.tag.endswith("}arg")]
    assert raw in words
    assert all(each.reason for each in domain.account if each.outcome is Outcome.RAW)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("disk.img", "disk.img"),
        ("-snapshot", "-snapshot"),
        ("-machine pc", "q35"),
        ("-device no-such-device", "no-such-device"),
        ("-m 64,slots=2,maxmem=1G", "slots, maxmem"),
        ("-smp 3,cores=2,sockets=1,threads=1", "3 processors"),
        ("-nic user", "-nic user"),
        ("-virtfs local,path=/x,mount_tag=x,security_model=none", "-virtfs"),
        ("-drive if=virtio,file=/d", "virtio-blk-pci"),
        ("-accel tcg,thread=single", "thread"),
        ("-object secret,id=s,file=/dev/stdin", "encrypted"),
        ("-vga tcx", "display"),
        ("-device VGA,addr=zz", "zz"),
    ],
)
def test_what_cannot_be_written_is_refused_by_its_name(more: str, named: str) -> None:
    with pytest.raises(UsageError, match=re.escape(named)):
        export(of(more), QEMU)


def test_a_drive_that_qemu_adds_by_itself_is_there_too() -> None:
    found = ElementTree.fromstring(export(of(""), QEMU).xml).find("devices/disk[@device='cdrom']/address")
    assert found is not None and (found.get("controller"), found.get("unit")) == ("0", "2")
    assert "ide2-cd0: [not inserted]" in seen_by("info block", of("")).replace(" (#block", "").replace("\r", "")
    assert "cdrom" not in export(of("-nodefaults"), QEMU).xml


def test_slots_are_those_that_qemu_gives(virsh: Virsh) -> None:
    more = "-device e1000e -device virtio-rng-pci,addr=7 -device qemu-xhci -device ich9-ahci -device virtio-balloon-pci"
    for other in ("", "-nic none", "-vga std -nic none", "-device bochs-display", "-nic none -vga none", "-nodefaults"):
        whole = line(f"qemu-system-x86_64 {BASE.removesuffix('-nic none')} {more} {other}")
        xml = ElementTree.fromstring(export(whole, QEMU).xml)
        places = {a.get("slot") for a in xml.iterfind("devices/*/address[@type='pci']")}
        values = [each.get("value") or "" for each in xml.iter() if each.tag.endswith("}arg")]
        places |= {SubOptions.parse(value).get("addr") for value in values} - {None}
        expected = {f"{int(at.partition('.')[0]):#x}" for at in slots(seen_by("info pci", whole))} - {"0x0", "0x1f"}
        assert places == expected, other
