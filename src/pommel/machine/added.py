"""forwards.json: the forwards and reverse forwards that a command added; they are kept over restarts. Band: shell.

It is beside pommel.toml, which Pommel never writes. And reverse.json: the present target of each port of the guest,
which `reverse_end` reads at each connection. Both belong to this machine only: a clone gets neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import json_file
from pommel.machine import kept
from pommel.machine.forwards import Forward, Reverse, parse_forward, parse_reverse
from pommel.paths import MachinePaths

FILE = "forwards.json"
LEADS = "reverse.json"
PROGRAM = Path(__file__).with_name("reverse_end.py")


@dataclass(frozen=True, slots=True)
class Added:
    """The additions to a machine, in their order."""

    forwards: tuple[Forward, ...] = ()
    reverse: tuple[Reverse, ...] = ()


def load(paths: MachinePaths) -> Added:
    """The additions to the machine; empty if there is no file.

    Raises:
        MachineError: the file cannot be used.
    """
    return kept.load(
        paths.directory / FILE, _added, Added(), hint=f"remove it, and add the forwards of {paths.name} again"
    )


def save(paths: MachinePaths, added: Added) -> None:
    """Store the additions, completely or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    told = {"forwards": list(map(str, added.forwards)), "reverse": list(map(str, added.reverse))}
    kept.save(paths.directory / FILE, told)


def lead(paths: MachinePaths, reverse: Iterable[Reverse]) -> None:
    """Write the targets of the guest's connections. If there were none and are none, no file is written.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    told = {str(each.guest_port): [each.host, each.port] for each in reverse}
    if told or (paths.directory / LEADS).exists():
        kept.write(paths.directory / LEADS, told)


def leads(paths: MachinePaths) -> tuple[Reverse, ...]:
    """The present targets of the guest's connections; empty if the file cannot be read."""
    return json_file.read_or(
        paths.directory / LEADS,
        lambda found: tuple(Reverse(int(port), str(host), int(target)) for port, (host, target) in found.items()),
        (),
    )


def _added(found: Any) -> Added:
    return Added(tuple(map(parse_forward, found["forwards"])), tuple(map(parse_reverse, found["reverse"])))
