"""forwards.json: the ways in and out that were added by command and are kept over restarts. Band: shell.

Beside pommel.toml, which Pommel never writes. And reverse.json: where each port of the guest leads now, which
`reverse_end` reads at each connection. Both are the machine's own: a clone gets neither.
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
    """What was added to a machine, in the order in which it was."""

    forwards: tuple[Forward, ...] = ()
    reverse: tuple[Reverse, ...] = ()


def load(paths: MachinePaths) -> Added:
    """What was added to the machine; nothing where there is no file.

    Raises:
        MachineError: the file cannot be used.
    """
    return kept.load(
        paths.directory / FILE, _added, Added(), hint=f"remove it, and add the forwards of {paths.name} again"
    )


def save(paths: MachinePaths, added: Added) -> None:
    """Keep what was added, whole or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    told = {"forwards": list(map(str, added.forwards)), "reverse": list(map(str, added.reverse))}
    kept.save(paths.directory / FILE, told)


def lead(paths: MachinePaths, reverse: Iterable[Reverse]) -> None:
    """Say where the guest's connections lead from now on. Nothing is written where none did and none is to.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    told = {str(each.guest_port): [each.host, each.port] for each in reverse}
    if told or (paths.directory / LEADS).exists():
        kept.write(paths.directory / LEADS, told)


def leads(paths: MachinePaths) -> tuple[Reverse, ...]:
    """Where the guest's connections lead now; nowhere, where that cannot be read."""
    return json_file.read_or(
        paths.directory / LEADS,
        lambda found: tuple(Reverse(int(port), str(host), int(target)) for port, (host, target) in found.items()),
        (),
    )


def _added(found: Any) -> Added:
    return Added(tuple(map(parse_forward, found["forwards"])), tuple(map(parse_reverse, found["reverse"])))
