"""usb.json: the USB devices that were attached by command and are kept over restarts. Band: shell.

Beside pommel.toml, which Pommel never writes. It is the machine's own: a clone gets none.
"""

from __future__ import annotations

from collections.abc import Sequence

from pommel.machine import kept
from pommel.machine.usb import Match, parse_device
from pommel.paths import MachinePaths

FILE = "usb.json"


def load(paths: MachinePaths) -> tuple[Match, ...]:
    """What was attached to the machine, in that order; nothing where there is no file.

    Raises:
        MachineError: the file cannot be used.
    """
    hint = f"remove it, and attach the devices of {paths.name} again"
    return kept.load(paths.directory / FILE, lambda found: tuple(map(parse_device, found["usb"])), (), hint=hint)


def save(paths: MachinePaths, devices: Sequence[Match]) -> None:
    """Keep what was attached, whole or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    kept.save(paths.directory / FILE, {"usb": list(map(str, devices))})
