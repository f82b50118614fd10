"""The overlay: what Pommel changes in an upstream's command line, and in which order. Band: core, no I/O.

One small function a device group, each from sheet to sheet. A rule whose matter is essential and which cannot read
the upstream raises UpstreamError with what it looked for and what it found; none of them shrugs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pommel.machine.commandline import CommandLine
from pommel.machine.rules import (
    adapter,
    balloon,
    display,
    firmware,
    forwards,
    memory,
    network,
    passthrough,
    process,
    processor,
    shares,
    storage,
    usb,
)
from pommel.machine.rules.sheet import Given, HostFacts, Placement, RuleChange, Sheet
from pommel.machine.spec import MachineSpec

__all__ = ["RULES", "Change", "HostFacts", "Overlaid", "Placement", "apply_rules"]

RULES: tuple[tuple[str, Callable[[Sheet, Given], Sheet]], ...] = (
    ("accelerator", processor.accelerator),
    ("cpu", processor.cpu),
    ("memory", memory.memory),
    ("topology", processor.topology),
    ("spelling", storage.spelling),
    ("firmware", firmware.firmware),
    ("disks", storage.disks),
    ("encryption", storage.encryption),
    ("network", network.network),
    ("forwards", forwards.forwards),
    ("shares", shares.shares),
    ("display", display.display),
    ("adapter", adapter.adapter),
    ("audio", display.audio),
    ("monitor", display.monitor),
    ("serial", display.serial),
    ("process", process.process),
    ("identity", process.identity),
    ("paths", process.paths),
    ("passthrough", passthrough.passthrough),
    ("extra", process.extra),
    ("balloon", balloon.balloon),
    ("usb", usb.usb),  # after qemu_args, which may bring the controller
    ("9p", shares.devices),  # last: a share moves no other device
)


@dataclass(frozen=True, slots=True)
class Overlaid:
    """The finished command line, and every edit that led to it, in order."""

    command_line: CommandLine
    changes: tuple[RuleChange, ...]
    warnings: tuple[str, ...] = ()


def apply_rules(captured: CommandLine, spec: MachineSpec, facts: HostFacts, placement: Placement) -> Overlaid:
    """Lay every rule over the upstream's command line.

    Raises:
        UpstreamError: a rule cannot find what it is there to change.
        ConfigError: two settings contradict each other.
    """
    given = Given(spec, facts, placement)
    sheet = Sheet(captured)
    for name, rule in RULES:
        sheet = rule(replace(sheet, rule=name), given)
    return Overlaid(sheet.line, sheet.changes, sheet.warnings)
