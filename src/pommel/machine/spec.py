"""What a person may say about a machine, and what follows from it. Band: core, no I/O.

`SETTINGS` is the table of keys that a `[machine.NAME]` section may hold; `MachineSpec` is the frozen result.
Where a value is None, the upstream's own choice stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pommel.settings import (
    Setting,
    choice,
    parse_bool,
    parse_flags,
    parse_port,
    parse_positive,
    parse_seconds,
    parse_size,
    parse_text,
    parse_texts,
)

GIB = 1 << 30
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def _parse_model(raw: Any) -> str:
    """A CPU model's name. A comma would smuggle flags past `cpu_flags`, where each has a sign and is checked."""
    if not isinstance(raw, str) or not _MODEL.match(raw):
        raise ValueError("a CPU model's name without flags, such as Haswell-noTSX (flags go in cpu_flags)")
    return raw


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One machine as wanted. Sizes in bytes, times in seconds."""

    name: str
    upstream: str
    boot_script: str
    accel: str  # auto | kvm | tcg
    cpu: str | None  # QEMU CPU model, without flags
    cpu_flags: tuple[str, ...]  # "+avx2" or "-hle", laid over the upstream's
    memory_bytes: int | None
    sockets: int | None
    cores: int | None  # per socket
    threads: int | None  # vCPUs in all, as upstream's CPU_THREADS
    disk_bytes: int
    ssh_port: int | None  # wanted host port; None takes any free one
    ssh_user: str | None  # None: what the upstream's guest is known to have
    console_port: int | None
    stop_timeout_s: float
    qemu_args: tuple[str, ...]  # appended as they are
    macos: str | None = None  # the guest's version: a name or number of the catalogue; None: no macOS, or not known
    boot_disk: str | None = None  # a boot disk to use in place of the upstream's
    topology: str = "checked"  # checked | as-asked
    clipboard: bool = False  # synced with this host's for as long as the machine runs
    reasons: Mapping[str, str] = field(default_factory=dict)  # key -> why, where it is Pommel that chose the value

    @classmethod
    def from_values(cls, name: str, values: Mapping[str, Any]) -> MachineSpec:
        """Build the spec from one plain value a key."""
        renamed = {"memory": "memory_bytes", "disk": "disk_bytes", "stop_timeout": "stop_timeout_s"}
        return cls(name=name, **{renamed.get(key, key): value for key, value in values.items()})


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "upstream", parse_text, "osx-kvm", "what to boot: `osx-kvm`, `trial`, or a folder with a boot script in it"
    ),
    Setting("boot_script", parse_text, "OpenCore-Boot.sh", "the boot script's name inside the upstream"),
    Setting(
        "macos", parse_text, None, "which macOS: a name or number, such as sonoma or 14; none for the trial machine"
    ),
    Setting("boot_disk", parse_text, None, "a boot disk (qcow2) to use in place of the upstream's OpenCore.qcow2"),
    Setting("accel", choice("auto", "kvm", "tcg"), "auto", "how guest code runs; auto tries KVM for real"),
    Setting("cpu", _parse_model, None, "QEMU CPU model, such as Haswell-noTSX"),
    Setting("cpu_flags", parse_flags, (), 'CPU flags to add or drop, such as ["+avx2", "-hle"]'),
    Setting("memory", parse_size, None, "RAM, such as 8G"),
    Setting("sockets", parse_positive, None, "CPU sockets"),
    Setting("cores", parse_positive, None, "cores a socket"),
    Setting("threads", parse_positive, None, "vCPUs in all"),
    Setting("topology", choice("checked", "as-asked"), "checked", "as-asked takes vCPUs that macOS may hang on"),
    Setting("disk", parse_size, 80 * GIB, "size of a new disk, such as 80G; it grows as it is used"),
    Setting("ssh_port", parse_port, None, "host port for the guest's SSH, on 127.0.0.1"),
    Setting("ssh_user", parse_text, None, "who to be in the guest"),
    Setting("console_port", parse_port, None, "host port of the console page"),
    Setting("stop_timeout", parse_seconds, 60.0, "how long a guest may take to power down"),
    Setting("clipboard", parse_bool, False, "true syncs its clipboard with this desktop's while it runs"),
    Setting("qemu_args", parse_texts, (), "arguments to append to QEMU's, as they are"),
)
