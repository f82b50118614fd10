"""The settings of a machine. Band: core, no I/O.

`SETTINGS` is the table of keys in a `[machine.NAME]` section; `MachineSpec` is the frozen result.
If a value is None, the upstream's own value is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pommel.machine import numbers_wanted, schedule
from pommel.machine.adapters import CHOICES, parse_outputs, parse_resolution
from pommel.machine.forwards import parse_forwards, parse_reverses
from pommel.machine.shares import parse_shares
from pommel.machine.usb import parse_devices
from pommel.settings import (
    Setting,
    choice,
    parse_bool,
    parse_flags,
    parse_port,
    parse_positive,
    parse_seconds,
    parse_size,
    parse_table,
    parse_text,
    parse_texts,
    parse_words_of,
)

GIB = 1 << 30
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
# The name of a network device: up to 15 bytes (IFNAMSIZ), no slash, no colon, no blank.
_NETWORK = re.compile(r"(user|upstream|passt|none|(bridge|tap):[^/:\s,=]{1,15})\Z")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}\Z")
_VFIO = re.compile(r"([0-9a-f]{4}:)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])(?:,romfile=(/[^\0\n]+))?\Z", re.IGNORECASE)
KEPT = ("gdb", "monitor", "qmp", "vnc", "spice", "serial")  # the possible names in `keep`


def _parse_model(raw: Any) -> str:
    """A CPU model's name. A comma could add flags past `cpu_flags`, where each has a sign and is checked."""
    if not isinstance(raw, str) or not _MODEL.match(raw):
        raise ValueError("a CPU model's name without flags, such as Haswell-noTSX (flags go in cpu_flags)")
    return raw


def _parse_network(raw: Any) -> str:
    """A network: one of five words, or `bridge:` or `tap:` with the name of a device of the host."""
    if not isinstance(raw, str) or not _NETWORK.match(raw):
        raise ValueError('"user", "upstream", "bridge:NAME", "tap:NAME", "passt" or "none"')
    return raw


def _parse_vfio(raw: Any) -> tuple[str, ...]:
    """The host's PCI devices: addresses with domain, in lower case, each with or without a ROM's absolute path."""
    words = raw.split() if isinstance(raw, str) else raw
    wanted = 'a list of PCI addresses, such as ["01:00.0", "01:00.1"] or ["01:00.0,romfile=/path/to/card.rom"]'
    if not isinstance(words, list | tuple):
        raise ValueError(wanted)
    found = []
    for word in words:
        match = _VFIO.match(word) if isinstance(word, str) else None
        if match is None:
            raise ValueError(wanted)
        address = f"{match[1] or '0000:'}{match[2]}".lower()
        found.append(address + (f",romfile={match[3]}" if match[3] else ""))
    addresses = [word.partition(",")[0] for word in found]
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"{wanted}, each only once")
    return tuple(found)


def _parse_mac(raw: Any) -> str:
    """A network card's address: six bytes, and not a multicast one (the lowest bit of the first byte)."""
    if not isinstance(raw, str) or not _MAC.match(raw) or int(raw[:2], 16) & 1:
        raise ValueError("a MAC address of one card, such as 52:54:00:12:34:56")
    return raw.lower()


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """The settings of one machine. Sizes in bytes, times in seconds."""

    name: str
    upstream: str
    boot_script: str
    accel: str  # auto | kvm | tcg
    cpu: str | None  # QEMU CPU model, without flags
    cpu_flags: tuple[str, ...]  # "+avx2" or "-hle", added to the upstream's
    memory_bytes: int | None
    sockets: int | None
    cores: int | None  # per socket
    threads: int | None  # vCPUs in total, as upstream's CPU_THREADS
    disk_bytes: int
    ssh_port: int | None  # preferred host port; None takes any free one
    ssh_user: str | None  # None: the user that the upstream's guest is known to have
    console_port: int | None
    stop_timeout_s: float
    qemu_args: tuple[str, ...]  # appended unchanged
    macos: str | None = None  # the guest's version: a name or number of the catalogue; None: not macOS, or unknown
    boot_disk: str | None = None  # a boot disk to use in place of the upstream's
    topology: str = "checked"  # checked | as-asked
    clipboard: bool = False  # synced with this host's while the machine runs
    qemu: str | None = None  # the program to start; None: the one in the boot script
    boot_args: tuple[str, ...] = ()  # arguments of the boot script
    boot_env: Mapping[str, str] = field(default_factory=dict)  # variables for the boot script
    boot_input: tuple[str, ...] = ()  # lines that answer the boot script's questions
    boot_timeout_s: float = 10.0  # the boot script's time limit until it starts QEMU
    disk_file: str | None = None  # own | upstream | a path; None: own, unless the upstream's disk is already in use
    upstream_drives: str = "copy"  # copy | upstream | none: the upstream's further drives
    network: str | None = None  # user | upstream | bridge:NAME | tap:NAME | passt | none; None: user
    mac: str | None = None  # the network card's address; None: the record's
    # Ports of this host that are forwarded into the guest, in the syntax of `machine.forwards`.
    forwards: tuple[str, ...] = ()
    reverse: tuple[str, ...] = ()  # services of this host for the guest, in the syntax of `machine.forwards`
    ssh_host: str | None = None  # the guest's address for SSH, if not a forward on 127.0.0.1
    console_tls: bool | None = None  # whether the console page is served over TLS; None: if there is a certificate
    console_tls_cert: str | None = None  # a PEM file; None: one that Pommel makes
    console_tls_key: str | None = None  # its key's file; None: it is in the same file
    keep: tuple[str, ...] = ()  # the upstream's open ports to keep, by the names in KEPT
    identity: numbers_wanted.Wanted | None = None  # None: its own, unless its boot disk has unique numbers
    apple_services: bool = False  # hide from macOS that it is a virtual machine
    vfio: tuple[str, ...] = ()  # the host's PCI devices for the guest: DDDD:BB:DD.F, optionally with ,romfile=PATH
    usb: tuple[str, ...] = ()  # the host's USB devices for the guest, in the syntax of `machine.usb`
    balloon: bool = False  # a device by which the guest returns memory
    set_clock: bool = True  # set the guest's clock after a pause
    snapshots: Mapping[str, Any] | None = None  # automatic snapshots, as parsed by `machine.schedule`
    shares: tuple[str, ...] = ()  # the host's folders for the guest, in the syntax of `machine.shares`
    display: str | None = None  # the adapter, by adapters.CHOICES; None: the boot script's
    resolution: str | None = None  # for the firmware's picture, OpenCore's and the adapter's: WIDTHxHEIGHT
    displays: int = 1
    encrypt: bool | None = None  # whether its disks are encrypted; None: as it was made, and a new one is not encrypted
    passphrase_file: str | None = None  # None: the passphrase is in the keyring
    reasons: Mapping[str, str] = field(default_factory=dict)  # key -> reason, if Pommel chose the value

    @classmethod
    def from_values(cls, name: str, values: Mapping[str, Any]) -> MachineSpec:
        """Build the spec from one plain value for each key."""
        renamed = {"memory": "memory_bytes", "disk": "disk_bytes", "stop_timeout": "stop_timeout_s"}
        renamed |= {"boot_timeout": "boot_timeout_s"}
        return cls(name=name, **{renamed.get(key, key): value for key, value in values.items()})


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "upstream", parse_text, "osx-kvm", "what to boot: `osx-kvm`, `trial`, or a folder with a boot script in it"
    ),
    Setting("boot_script", parse_text, "OpenCore-Boot.sh", "the boot script's name inside the upstream"),
    Setting("boot_args", parse_texts, (), 'arguments for the boot script, such as ["-i"]'),
    Setting("boot_env", parse_table, {}, 'variables for the boot script, such as { RAM = "8192" }'),
    Setting("boot_input", parse_texts, (), 'lines that answer the boot script\'s questions, such as ["2", "y"]'),
    Setting("boot_timeout", parse_seconds, 10.0, "time limit for the boot script to start QEMU, in seconds"),
    Setting("qemu", parse_text, None, "the QEMU to start: a path, or a program's name; default: the boot script's own"),
    Setting(
        "macos",
        parse_text,
        None,
        "the macOS version: a name or number, such as sonoma or 14; not used for the trial machine",
    ),
    Setting("boot_disk", parse_text, None, "a boot disk (qcow2) to use instead of the upstream's OpenCore.qcow2"),
    Setting(
        "identity",
        numbers_wanted.parse,
        None,
        'the Mac\'s serial numbers: own, upstream (the boot disk\'s), or { model = "…", serial = "…", mlb = "…" }',
    ),
    Setting(
        "apple_services", parse_bool, False, "true hides from macOS 15 and later that it runs in a virtual machine"
    ),
    Setting("accel", choice("auto", "kvm", "tcg"), "auto", "the accelerator; auto tests whether KVM works"),
    Setting("cpu", _parse_model, None, "QEMU CPU model, such as Haswell-noTSX"),
    Setting("cpu_flags", parse_flags, (), 'CPU flags to add or remove, such as ["+avx2", "-hle"]'),
    Setting("memory", parse_size, None, "RAM size, such as 8G"),
    Setting("sockets", parse_positive, None, "CPU sockets"),
    Setting("cores", parse_positive, None, "CPU cores per socket"),
    Setting("threads", parse_positive, None, "vCPUs in total"),
    Setting(
        "topology",
        choice("checked", "as-asked"),
        "checked",
        "as-asked allows numbers of vCPUs with which macOS may hang",
    ),
    Setting("disk", parse_size, 80 * GIB, "size of a new disk, such as 80G; the file grows with use"),
    Setting(
        "disk_file",
        parse_text,
        None,
        "the machine's disk: own (a new one), upstream (the boot script's), none, or a path",
    ),
    Setting("encrypt", parse_bool, None, "true makes the machine with encrypted disks (LUKS)"),
    Setting("passphrase_file", parse_text, None, "a file with their passphrase; else it is in the desktop's keyring"),
    Setting(
        "upstream_drives",
        choice("copy", "upstream", "none"),
        "copy",
        "the boot script's other drives: copied to the machine, used in place, or left out",
    ),
    Setting(
        "network", _parse_network, None, "user, upstream (the boot script's), bridge:NAME, tap:NAME, passt or none"
    ),
    Setting("mac", _parse_mac, None, "the network card's MAC address; default: its own address, which never changes"),
    Setting("keep", parse_words_of(*KEPT), (), "open ports of the boot script to keep: " + ", ".join(KEPT)),
    Setting("ssh_host", parse_text, None, "the guest's own address, for a network without a port forward"),
    Setting(
        "forwards",
        parse_forwards,
        (),
        'ports of this host to forward to the guest, such as ["8080:80", "5353:53/udp"]',
    ),
    Setting(
        "reverse", parse_reverses, (), 'services of this host that the guest can use, such as ["5432:127.0.0.1:5432"]'
    ),
    Setting("ssh_port", parse_port, None, "host port for the guest's SSH, on 127.0.0.1"),
    Setting("ssh_user", parse_text, None, "the user name for SSH in the guest"),
    Setting("console_port", parse_port, None, "host port of the console page"),
    Setting(
        "console_tls", parse_bool, None, "true serves the console page over TLS, with a certificate that Pommel creates"
    ),
    Setting("console_tls_cert", parse_text, None, "a certificate (PEM) for the console page; this turns TLS on"),
    Setting("console_tls_key", parse_text, None, "the certificate's key (PEM), if it is in a separate file"),
    Setting("stop_timeout", parse_seconds, 60.0, "how long a guest may take to shut down, in seconds"),
    Setting("clipboard", parse_bool, False, "true syncs its clipboard with this desktop's while it runs"),
    Setting(
        "vfio", _parse_vfio, (), 'PCI devices of the host to pass through to the guest, such as ["01:00.0", "01:00.1"]'
    ),
    Setting(
        "shares",
        parse_shares,
        (),
        'folders of this host to share with the guest, such as ["~/work", "~/music read-only"]',
    ),
    Setting("usb", parse_devices, (), 'USB devices of the host to attach to the guest, such as ["05ac:12a8", "1-2.3"]'),
    Setting("balloon", parse_bool, False, "true lets the guest return unused memory to the host"),
    Setting("set_clock", parse_bool, True, "false does not set the guest's clock after a pause"),
    Setting("snapshots", schedule.parse, None, 'automatic snapshots, such as { every = "1d", keep = 7 }'),
    Setting(
        "display",
        choice(*CHOICES),
        None,
        "the display adapter: " + ", ".join(CHOICES) + "; default: the boot script's own",
    ),
    Setting("resolution", parse_resolution, None, "the screen resolution from the boot picker on, such as 1920x1080"),
    Setting(
        "displays",
        parse_outputs,
        1,
        "number of displays; more than one needs display = virtio-gpu and does not work with macOS",
    ),
    Setting("qemu_args", parse_texts, (), "additional arguments for QEMU, unchanged"),
)
