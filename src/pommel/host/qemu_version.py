"""The version of the installed QEMU. Band: shell.

It is queried once for each binary and cached: the query takes a thirtieth of a second, at every start.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from pommel import json_file
from pommel.process import run

_ASK_S = 10.0


def qemu_version(qemu: str, cache: Path) -> tuple[int, ...]:
    """The version of the program `qemu`, such as (7, 2, 22); empty if it prints none.

    Raises:
        DeadlineError, CommandFailed: it does not start.
    """
    store, key = cache / "qemu-version.json", _key(qemu)
    known = json_file.read_or(
        store, lambda kept: tuple(int(part) for part in kept["version"]) if kept["key"] == key else None, None
    )
    if known is not None:
        return known
    found = re.search(r"version (\d+(?:\.\d+)*)", run([qemu, "--version"], timeout_s=_ASK_S).text)
    version = tuple(int(part) for part in found[1].split(".")) if found else ()
    with contextlib.suppress(OSError):
        json_file.write(store, {"key": key, "version": version})
    return version


def _key(qemu: str) -> list[str | int]:
    """The identity of a binary: a new version is a new file."""
    binary = Path(qemu).stat()
    return [os.path.realpath(qemu), binary.st_ino, binary.st_mtime_ns, binary.st_size]
