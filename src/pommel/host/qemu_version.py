"""Which version the installed QEMU is. Band: shell.

Asked once for each binary and remembered: QEMU takes a thirtieth of a second to say it, at every start.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from pommel.paths import write_atomic
from pommel.process import run

_ASK_S = 10.0


def qemu_version(qemu: str, cache: Path) -> tuple[int, ...]:
    """The version of the program `qemu`, such as (7, 2, 22); empty when it says none.

    Raises:
        DeadlineError, CommandFailed: it does not start.
    """
    store, key = cache / "qemu-version.json", _key(qemu)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # absent or damaged: ask
        kept: Any = json.loads(store.read_text())
        if kept["key"] == key:
            return tuple(int(part) for part in kept["version"])
    found = re.search(r"version (\d+(?:\.\d+)*)", run([qemu, "--version"], timeout_s=_ASK_S).text)
    version = tuple(int(part) for part in found[1].split(".")) if found else ()
    with contextlib.suppress(OSError):
        write_atomic(store, json.dumps({"key": key, "version": version}))
    return version


def _key(qemu: str) -> list[str | int]:
    """What tells one binary from another: a new version is a new file."""
    binary = Path(qemu).stat()
    return [os.path.realpath(qemu), binary.st_ino, binary.st_mtime_ns, binary.st_size]
