"""The name of a machine in its own files: in its record, and before its guest's host keys. Band: shell.

A machine is found by its folder's name. What stands in its files follows: a rename writes it before the folder has the
new name, so that one that is cut off leaves a machine that works, and the next command writes it once more.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from pommel.errors import MachineError
from pommel.machine import record
from pommel.paths import MachinePaths, write_atomic


def write(paths: MachinePaths, name: str) -> None:
    """Write `name` into the files of the machine `paths`. Call it with the machine's lock held.

    Raises:
        MachineError: its record cannot be read.
        OSError: its folder cannot be written to.
    """
    kept = record.load(paths.record)
    write_keys(paths.known_hosts, name)
    record.save(paths.record, replace(kept, name=name))


def put_right(paths: MachinePaths) -> None:
    """Write the name that the machine's folder has, where a rename was cut off. A record that is damaged stays so."""
    with contextlib.suppress(MachineError):
        if paths.record.exists() and record.load(paths.record).name != paths.name:
            write(paths, paths.name)


def write_keys(known_hosts: Path, name: str) -> None:
    """Have the guest's host keys stand under `name`."""
    if known_hosts.exists():
        lines = [line.partition(" ") for line in known_hosts.read_text().splitlines() if line.strip()]
        write_atomic(known_hosts, "".join(f"{name} {rest}\n" for _, _, rest in lines), mode=0o600)
