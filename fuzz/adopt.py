"""What other tools wrote of their Macs (`adopt`): libvirt's domains, quickemu's files, dockur's storage."""

from __future__ import annotations

import re

from fuzz.engine import Fuzzer, expect, expect_words, mixed
from fuzz.recovery import XML_TOKENS
from pommel.adopt import dockur, libvirt, quickemu
from pommel.adopt.found import InstalledMac
from pommel.errors import ConfigError, StateError, UsageError
from pommel.settings import parse_size

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")

_DOMAIN = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>macOS Sonoma</name>
<uuid>2aca0dd6-cec9-4717-9ab2-0b7b13d111c3</uuid><memory unit='KiB'>8388608</memory><vcpu placement='static'>8</vcpu>
<os><loader readonly='yes' type='pflash'>/vms/OVMF_CODE.fd</loader><nvram>/vms/OVMF_VARS.fd</nvram></os>
<cpu><model fallback='forbid'>Penryn</model><topology sockets='1' cores='4' threads='2'/></cpu><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/vms/OpenCore.qcow2'/></disk>
<disk type='file' device='disk'><driver type='raw'/><source file='/vms/BaseSystem.img'/></disk>
<disk type='block' device='disk'><source dev='/dev/sdb'/></disk>
<interface type='bridge'><mac address='52:54:00:0E:0D:20'/></interface></devices>
<qemu:commandline><qemu:arg value='-cpu'/><qemu:arg value='Haswell-noTSX,+invtsc'/></qemu:commandline></domain>"""
_DOMAINS = (_DOMAIN.encode(), b"<domain><devices><disk><source file='a.img'/></disk></devices></domain>")
_DOMAIN_TOKENS = (
    *XML_TOKENS,
    b"<memory unit='TiB'>",
    b"unit='TB'",
    b"<name>",
    b"</name>",
    b"<disk>",
    b"file='",
    b"/>",
    b"'",
)

_CONF = (
    b'#!/usr/bin/quickemu --vm\nguest_os="macos"\ndisk_img="macos-sonoma/disk.qcow2"\nimg="a.img"\nmacos_release="sonoma"\n'
    b'ram="8G"  # plenty\ncpu_cores=4\nmacaddr=52:54:00:AA:bb:cc\nnetwork=br0\nport_forwards=("8123:8123" "22:22")\n',
    b"export guest_os=macos\ndeclare disk_img='x.img'\nram=512\ndisk_format=raw\n",
)
_CONF_TOKENS = (
    b"\n", b"=", b'"', b"'", b"\\", b"$", b"`", b"(", b")", b" #", b"ram=", b"9" * 400, b"9" * 5000, b"G", b"\0", b"cpu_cores=",
    b"\xc2\x85", b"\xe2\x80\xa8", b"\xd9\xa3", b"export ", b"\r", b"disk_img=",
)  # fmt: skip
_SCRIPTS = (
    b"#!/usr/bin/env bash\n/usr/bin/qemu-system-x86_64 \\\n -name a,process=a \\\n -m 8G -cpu 'Haswell-v2,vendor=GenuineIntel' 2>/dev/null\n",
    b'qemu-kvm -smp 4 -drive "file=a b.qcow2,if=none"',
)
_NAMES = frozenset({"disk.qcow2", "OVMF_CODE.fd", "OVMF_VARS-1920x1080.fd", "OpenCore.qcow2"})
_STORAGE = frozenset({"data.img", "data2.qcow2", "macos.rom", "macos.vars", "boot.img", *dockur.WORDS})


def check_found(found: InstalledMac) -> None:
    """A Mac that was found has a name, a disk, and facts and settings that a record and a pommel.toml take."""
    expect(bool(_NAME.fullmatch(found.name)), f"the name {found.name[:50]!r}")
    expect(bool(found.disk), "no disk")
    for path in (found.disk, found.nvram, found.firmware, found.boot_disk, *found.further):
        expect(path is None or "\0" not in path, "a path that no system takes")
    for key, shape in (("mac", _MAC), ("uuid", _UUID)):
        if key in found.facts:
            expect(bool(shape.fullmatch(found.facts[key].value)), f"{key} is {found.facts[key].value!r}")
    if "memory" in found.settings:
        parse_size(found.settings["memory"].value)
    for key in ("threads", "sockets", "cores"):
        if key in found.settings:
            expect(found.settings[key].value > 0, f"{key} is nothing")


def check_domain(data: bytes) -> None:
    """An error with words, or a Mac; no entity is expanded."""
    text = data.decode(errors="replace")
    try:
        domain = libvirt.parse(text, "mac.xml")
    except (UsageError, StateError) as refusal:
        expect_words(refusal)
        return
    check_found(domain.found)
    expect("<!DOCTYPE" not in text.split("<domain", 1)[0], "a document type was taken")
    expect(sum(map(len, domain.words)) <= len(text), "more words than there were")


def check_conf(data: bytes) -> None:
    """An error with words, or assignments without a shell's work in them, and a Mac."""
    try:
        conf = quickemu.parse(data.decode(errors="replace"), "a.conf")
        check_found(quickemu.machine(conf, "a", "a.conf", names=_NAMES))
    except (UsageError, StateError) as refusal:
        expect_words(refusal)


def check_script(data: bytes) -> None:
    """Words of a command line, or none."""
    words = quickemu.argv_of(data.decode(errors="replace"))
    expect(words is None or sum(map(len, words)) <= 3 * len(data), "more words than there were")


def check_storage(data: bytes) -> None:
    """An error with words, or a Mac."""
    said = data.decode(errors="replace").split("\0")
    names = frozenset(name for name in _STORAGE if len(name) * len(data) % 7) | frozenset(said[5:])
    try:
        check_found(dockur.machine("/storage", names, dict(zip(dockur.WORDS, said, strict=False))))
    except (UsageError, StateError, ConfigError) as refusal:
        expect_words(refusal)


_WORDS = (
    b"2aca0dd6-cec9-4717-9ab2-0b7b13d111c3\n\0\00002:11:32:AA:BB:CC\n\0C02TM2ZBHX87\n\0C02717306J9JG361M\n\0data.img",
    b"\0\0\0\0\0data3.raw\0macos_15.vars",
)

FUZZERS = [
    Fuzzer(
        "libvirt", "an error with words, or a sound Mac; no entity is expanded",
        mixed(_DOMAINS, tokens=_DOMAIN_TOKENS), check_domain, room_bytes=4 << 20, per_byte=1000,
    ),
    Fuzzer("quickemu-conf", "an error with words, or a sound Mac", mixed(_CONF, tokens=_CONF_TOKENS), check_conf, room_bytes=4 << 20),
    Fuzzer("quickemu-script", "words of a command line, or none", mixed(_SCRIPTS, tokens=_CONF_TOKENS), check_script),
    Fuzzer("dockur", "an error with words, or a sound Mac", mixed(_WORDS, tokens=(b"\0", b"macos.", b"data")), check_storage),
]  # fmt: skip
