"""Writes a machine's name into its own files: into its record, and before its guest's host keys. Band: shell.

A machine is found by its folder's name, and its files follow it: a rename writes them before it renames the folder. So
an interrupted rename leaves a machine that works, and the next command writes the files again.
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
    """Write the folder's name into the files after an interrupted rename. A damaged record stays as it is."""
    with contextlib.suppress(MachineError):
        if paths.record.exists() and record.load(paths.record).name != paths.name:
            write(paths, paths.name)


def write_keys(known_hosts: Path, name: str) -> None:
    """Write `name` before the guest's host keys."""
    if known_hosts.exists():
        lines = [line.partition(" ") for line in known_hosts.read_text().splitlines() if line.strip()]
        write_atomic(known_hosts, "".join(f"{name} {rest}\n" for _, _, rest in lines), mode=0o600)
