"""What several tests of the command line start from. No tests here."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from pommel.machine.commandline import CommandLine
from pommel.machine.rules import HostFacts, Overlaid, Placement, apply_rules
from pommel.machine.spec import SETTINGS, MachineSpec
from pommel.overlay.capture import capture

UPSTREAMS = Path(__file__).parents[1] / "overlay" / "upstreams"
LAYOUTS = ("code_2m", "code_4m")

KVM = HostFacts("kvm", "KVM runs guest code here", (7, 2, 22))
TCG = HostFacts("tcg", "there is no /dev/kvm, so QEMU translates", (7, 2, 22))

# The knobs that a known config repository sets by a textual patch of the script.
KNOBS: dict[str, Any] = {
    "cpu": "Haswell-noTSX",
    "memory": 16 << 30,
    "cores": 6,
    "threads": 12,
    "cpu_flags": ("+avx2", "+fma", "+bmi1", "+bmi2", "+smep"),
}


@functools.cache
def upstream_words(layout: str) -> tuple[str, ...]:
    return capture(UPSTREAMS / layout, "OpenCore-Boot.sh").argv


def upstream_line(layout: str = "code_4m") -> CommandLine:
    return CommandLine.parse("qemu-system-x86_64", upstream_words(layout))


def spec(**values: Any) -> MachineSpec:
    return MachineSpec.from_values("sonoma", {s.key: s.default for s in SETTINGS} | values)


def placement(folder: str = "/machines/sonoma", **values: Any) -> Placement:
    usual: dict[str, Any] = {
        "guest_name": "sonoma",
        "upstream": "/upstream",
        "disk": f"{folder}/mac_hdd_ng.img",
        "nvram": f"{folder}/nvram.fd",
        "firmware_code": "/upstream/OVMF_CODE.fd",
        "vnc": f"{folder}/vnc.sock",
        "qmp": f"{folder}/qmp.sock",
        "qmp_watch": f"{folder}/qmp-watch.sock",
        "pidfile": f"{folder}/qemu.pid",
        "serial_log": f"{folder}/serial.log",
        "uuid": "0b5a1f5e-7c1d-4c58-9d9e-3d1c6f0a9b11",
        "mac": "52:54:00:0a:0b:0c",
        "ssh_port": 2201,
        "installer": None,
    }
    return Placement(**(usual | values))


def overlaid(
    line: CommandLine | None = None,
    *,
    facts: HostFacts = KVM,
    place: Placement | None = None,
    **values: Any,
) -> Overlaid:
    return apply_rules(line or upstream_line(), spec(**values), facts, place or placement())


def words_of(done: Overlaid) -> str:
    """The whole line as one text with a blank at both ends, to look for ` -option value `."""
    return f" {' '.join(done.command_line.words)} "


def line_with(*words: str, without: tuple[str, ...] = (), layout: str = "code_4m") -> CommandLine:
    """The upstream's line with arguments added, and less those whose text begins with one of `without`."""
    line = upstream_line(layout)
    for argument in line.arguments:
        if argument.text.startswith(without or ("\0",)):
            line = line.remove(argument)
    return CommandLine.parse(line.program, (*line.words, *words))
