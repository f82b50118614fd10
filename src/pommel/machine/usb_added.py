"""usb.json: the USB devices that a command has attached; they are kept over restarts. Band: shell.

It is beside pommel.toml, which Pommel never writes. It belongs to this machine only: a clone does not get it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pommel.machine import kept
from pommel.machine.usb import Match, parse_device
from pommel.paths import MachinePaths

FILE = "usb.json"


def load(paths: MachinePaths) -> tuple[Match, ...]:
    """The devices that a command has attached to the machine, in order; empty if there is no file.

    Raises:
        MachineError: the file cannot be used.
    """
    hint = f"remove it, and attach the devices of {paths.name} again"
    return kept.load(paths.directory / FILE, lambda found: tuple(map(parse_device, found["usb"])), (), hint=hint)


def save(paths: MachinePaths, devices: Sequence[Match]) -> None:
    """Store the attached devices, completely or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    kept.save(paths.directory / FILE, {"usb": list(map(str, devices))})
