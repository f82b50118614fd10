"""The devices that the installed QEMU has. Band: shell.

Builds differ: RHEL and its rebuilds leave out `isa-applesmc`, without which macOS does not start, and distributions
have separate packages for some devices (QEMU's modules). So the QEMU that will run is queried (`-device help`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from pommel import json_file
from pommel.errors import PommelError
from pommel.process import run

_ASK_S = 10.0
_NAME = re.compile(r'(?:^name|, alias) "([^"]+)"', re.MULTILINE)


def lacking(qemu: Path, wanted: Collection[str], cache: Path) -> list[str]:
    """Those of the `wanted` devices that the program `qemu` lacks; empty if it does not list its devices.

    The existing devices are cached for each binary. Missing ones are queried each time: a package may have added them.
    """
    store = cache / "qemu-devices.json"
    if all(one in _cached(store, qemu) for one in wanted):
        return []
    found = _query(qemu)
    if not found:
        return []
    with contextlib.suppress(OSError):
        json_file.write(store, {"key": _key(qemu), "devices": sorted(found)})
    return [one for one in wanted if one not in found]


def names_in(told: str) -> frozenset[str]:
    """The names and aliases in the output of `-device help`."""
    return frozenset(_NAME.findall(told))


def _query(qemu: Path) -> frozenset[str]:
    try:
        done = run([qemu, "-device", "help"], timeout_s=_ASK_S, check=False)
    except PommelError:
        return frozenset()
    return names_in(done.text) if done.returncode == 0 else frozenset()


def _cached(store: Path, qemu: Path) -> frozenset[str]:
    return json_file.read_or(
        store, lambda kept: frozenset(kept["devices"] if kept["key"] == _key(qemu) else ()), frozenset[str]()
    )


def _key(qemu: Path) -> list[str | int]:
    binary = qemu.stat()
    return [os.path.realpath(qemu), binary.st_ino, binary.st_mtime_ns, binary.st_size]
