"""Where QEMU shows the displays of a machine: one VNC socket for each. Band: core, no I/O."""

from __future__ import annotations

from pathlib import PurePath


def socket_of(first: str, number: int) -> str:
    """The socket of display `number`, counted from 1, beside that of the first."""
    path = PurePath(first)
    return first if number == 1 else str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
