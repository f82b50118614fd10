"""The overlay: Pommel's changes of an upstream's command line, and their order. Band: core, no I/O.

There is one small function for each device group, from sheet to sheet. A rule with an essential task that cannot parse
the upstream raises UpstreamError with what it looked for and what it found; no rule ignores this.
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
from pommel.machine.rules.sheet import HostFacts, Placement, RuleChange, RuleInput, Sheet
from pommel.machine.spec import MachineSpec

__all__ = ["RULES", "Change", "HostFacts", "Overlaid", "Placement", "apply_rules"]

RULES: tuple[tuple[str, Callable[[Sheet, RuleInput], Sheet]], ...] = (
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
    ("usb", usb.usb),  # after qemu_args, which may add the controller
    ("9p", shares.devices),  # last, so that a share changes no other device's slot
)


@dataclass(frozen=True, slots=True)
class Overlaid:
    """The finished command line, with all its edits in order."""

    command_line: CommandLine
    changes: tuple[RuleChange, ...]
    warnings: tuple[str, ...] = ()


def apply_rules(captured: CommandLine, spec: MachineSpec, facts: HostFacts, placement: Placement) -> Overlaid:
    """Apply every rule to the upstream's command line.

    Raises:
        UpstreamError: a rule cannot find the argument that it must change.
        ConfigError: two settings contradict each other.
    """
    given = RuleInput(spec, facts, placement)
    sheet = Sheet(captured)
    for name, rule in RULES:
        sheet = rule(replace(sheet, rule=name), given)
    return Overlaid(sheet.line, sheet.changes, sheet.warnings)
