"""libvirt's domains, in the words of `virsh dumpxml`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.adopt import libvirt
from pommel.errors import PommelError, StateError, UsageError

DOMAIN = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>macOS Sonoma</name>
  <uuid>2aca0dd6-cec9-4717-9ab2-0b7b13d111c3</uuid>
  <memory unit='KiB'>8388608</memory>
  <currentMemory unit='KiB'>4194304</currentMemory>
  <vcpu placement='static'>8</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/vms/OVMF_CODE.fd</loader>
    <nvram template='/vms/OVMF_VARS.fd'>/vms/OVMF_VARS-1920x1080.fd</nvram>
  </os>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>Penryn</model>
    <topology sockets='1' dies='1' cores='4' threads='2'/>
  </cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='cdrom'><target dev='sdz' bus='sata'/></disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='writeback'/>
      <source file='/vms/OpenCore/OpenCore.qcow2' index='3'/>
      <target dev='sda' bus='sata'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='/vms/BaseSystem.img'/><target dev='sdb' bus='sata'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/vms/mac_hdd_ng.img'/>
      <target dev='sdc' bus='sata'/>
    </disk>
    <disk type='file' device='disk'><driver type='raw'/><source file='/vms/data.img'/><target dev='sdd'/></disk>
    <interface type='bridge'><mac address='52:54:00:0E:0D:20'/><model type='vmxnet3'/></interface>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-device'/>
    <qemu:arg value='isa-applesmc,osk=x'/>
    <qemu:arg value='-cpu'/>
    <qemu:arg value='Haswell-noTSX,kvm=on,+invtsc'/>
    <qemu:env name='A' value='b'/>
  </qemu:commandline>
</domain>
"""


def test_a_domain() -> None:
    domain = libvirt.parse(DOMAIN, "mac.xml")
    found = domain.found
    assert (found.name, found.disk, found.disk_format) == ("macos-sonoma", "/vms/mac_hdd_ng.img", "qcow2")
    assert (found.firmware, found.nvram) == ("/vms/OVMF_CODE.fd", "/vms/OVMF_VARS-1920x1080.fd")
    assert (found.boot_disk, found.further) == ("/vms/OpenCore/OpenCore.qcow2", ("/vms/data.img",))
    assert {key: taken.value for key, taken in found.facts.items()} == {
        "uuid": "2aca0dd6-cec9-4717-9ab2-0b7b13d111c3",
        "mac": "52:54:00:0e:0d:20",
    }
    assert {key: taken.value for key, taken in found.settings.items()} == {
        "memory": "8G",
        "threads": 8,
        "sockets": 1,
        "cores": 4,
        "cpu": "Penryn",
    }
    assert domain.words == ("-device", "isa-applesmc,osk=x", "-cpu", "Haswell-noTSX,kvm=on,+invtsc")


@pytest.mark.parametrize(("unit", "number", "size"), [("MiB", 4096, "4G"), ("G", 6, "6G"), ("MB", 4096, "3906M")])
def test_units_of_memory(unit: str, number: int, size: str) -> None:
    text = DOMAIN.replace("<memory unit='KiB'>8388608", f"<memory unit='{unit}'>{number}")
    assert libvirt.parse(text, "x").found.settings["memory"].value == size


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("<!DOCTYPE d [<!ENTITY a 'b'>]>" + DOMAIN, UsageError, "x has a document type"),
        ("<a>" * 70, UsageError, "nested too deeply"),
        ("<network/>", UsageError, "x is <network>, no libvirt domain"),
        ("no xml", UsageError, "x is not XML"),
        ("<domain/>", StateError, "x contains no disk of a Mac"),
        (DOMAIN.replace("8388608", "lots"), UsageError, "memory is 'lots', no number"),
        (DOMAIN.replace("unit='KiB'>8", "unit='cups'>8"), UsageError, "the unit 'cups'"),
        (DOMAIN.replace("2aca0dd6", "x"), UsageError, "is not a UUID"),
        (" " * (libvirt.TEXT_MAX + 1), UsageError, "too large for a domain"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, error: type[PommelError], said: str) -> None:
    with pytest.raises(error) as refused:
        libvirt.parse(text, "x")
    assert said in str(refused.value)


@given(st.text(max_size=80), st.integers(0, len(DOMAIN)), st.integers(0, 40))
def test_any_text_is_read_or_refused(text: str, at: int, cut: int) -> None:
    with contextlib.suppress(UsageError, StateError):
        libvirt.parse(DOMAIN[:at] + text + DOMAIN[at + cut :], "x")


@pytest.mark.parametrize(("unit", "number"), [("b", "5"), ("KiB", "1023"), ("bytes", "\u0661")])
def test_memory_that_is_none(unit: str, number: str) -> None:
    with pytest.raises(UsageError, match=r"too little|no number"):
        libvirt.parse(DOMAIN.replace("<memory unit='KiB'>8388608", f"<memory unit='{unit}'>{number}"), "mac.xml")
