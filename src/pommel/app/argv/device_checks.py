"""Check that the QEMU to be started has every device on the machine's command line. Band: app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pommel.errors import MachineError
from pommel.host import qemu_devices
from pommel.host.qemu_binary import Binary
from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.keyed import Keyed

_SMC = "isa-applesmc"
_MEND = "install your distribution's additional QEMU packages, if there are any, or set qemu to a QEMU that has it"
_MEND_SMC = (
    "RHEL and related systems build QEMU without it: build QEMU from source (./configure "
    "--target-list=x86_64-softmmu && make), or use the QEMU of another distribution, and set qemu to it"
)


def problems(line: CommandLine, qemu: Binary | None, cache: Path) -> Iterator[tuple[str, str]]:
    """For each device on the command line that the QEMU lacks: a sentence, and what to do."""
    wanted: dict[str, Argument] = {}
    for argument in line.find("device"):
        if name := Keyed.parse("device", argument.value or "").get("driver"):
            wanted.setdefault(name, argument)
    if qemu is None or not wanted:
        return
    for name in qemu_devices.lacking(qemu.path, list(wanted), cache):
        why = ", which macOS needs to start" if name == _SMC else ""
        whose = wanted[name].origin
        text = f"{qemu.path} has no device {name}{why}; the command line uses it ({whose})"
        yield text, _MEND_SMC if name == _SMC else _MEND


def refuse(line: CommandLine, qemu: Binary | None, cache: Path) -> None:
    """Refuse a start with a QEMU that lacks devices.

    Raises:
        MachineError: it lacks some; the message names them, and the hint says what to do.
    """
    found = list(problems(line, qemu, cache))
    if found:
        raise MachineError("; ".join(text for text, _ in found), hint=found[0][1])
