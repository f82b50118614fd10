"""The stand-in for QEMU that writes down what it is called with, and the reading of that. Band: shell.

A record is NUL-separated: how many arguments, the stand-in's own path, its working directory, the arguments. NUL is the
one byte that no argument can hold, and the count tells a whole record from one whose writer was killed.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

NAMES = ("qemu-system-x86_64", "qemu-kvm")
MAX_CALLS = 2

# Noclobber makes the first call and the second tell themselves apart without a lock. A second call means that the
# script cannot be used, so it ends the script (its process group) at once: a restart loop would go on forever.
_SCRIPT = """#!/bin/sh
set -C
record() {{ printf '%s\\0' "$#" "$0" "$PWD" "$@"; }}
{{ record "$@" > {folder}/call.1; }} 2>/dev/null && exit 0
{{ record "$@" > {folder}/call.2; }} 2>/dev/null
kill -TERM 0
exit 1
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the stand-in: the program as it was called, where, and with what."""

    program: str
    cwd: Path
    argv: tuple[str, ...]


def plant(folder: Path) -> Path:
    """Make the stand-ins in `folder`/bin, writing their records to `folder`; return that bin folder."""
    binaries = folder / "bin"
    binaries.mkdir()
    first = binaries / NAMES[0]
    first.write_text(_SCRIPT.format(folder=shlex.quote(str(folder))))
    first.chmod(0o755)
    for name in NAMES[1:]:
        (binaries / name).hardlink_to(first)
    return binaries


def calls(folder: Path) -> list[Call]:
    """The calls that were recorded whole, at most two."""
    found = []
    for number in range(1, MAX_CALLS + 1):
        record = folder / f"call.{number}"
        call = _read(record.read_bytes(), folder / "bin") if record.exists() else None
        found += [call] if call else []
    return found


def _read(record: bytes, binaries: Path) -> Call | None:
    fields = [os.fsdecode(field) for field in record.split(b"\0")[:-1]]
    if len(fields) < 3 or len(fields) != 3 + int(fields[0]):
        return None
    program = Path(fields[1])
    # Found on PATH: the script means whatever QEMU comes first there.
    name = program.name if program.parent == binaries else fields[1]
    return Call(name, Path(fields[2]), tuple(fields[3:]))
