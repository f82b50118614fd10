"""Determines whether a running QEMU frees on the host what a guest trims. Band: core, no I/O.

It does if `discard` is set: once for a -drive, and in each -blockdev argument, because QEMU inherits the option only
inside one argument (block.c, bdrv_inherited_options). Without it, QEMU accepts the guest's request and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pommel.errors import PommelError
from pommel.machine.commandline import CommandLine
from pommel.machine.drives import drives_in, with_drives_spelled_out

_PASSED = ("unmap", "on")


def refusal(argv: Sequence[str], is_it: Callable[[str], bool]) -> str | None:
    """Why a QEMU with these words frees nothing of a disk; None: it does. `is_it` knows the disk by its file."""
    try:
        line = with_drives_spelled_out(CommandLine.parse(argv[0], argv[1:]))
        drives = [drive for drive in drives_in(line) if is_it(drive.file)]
    except (PommelError, IndexError):
        return None  # nothing is known then, and the sizes will show it
    if not drives:
        return "it is not one of the drives with which QEMU was started"
    drive = drives[-1]
    for node in drive.nodes:
        if not node.prefix and node.get("discard") not in _PASSED:
            return f"QEMU does not free trimmed space: {node.argument.text} has no discard=unmap"
    return None
