"""The VNC sockets of a machine's displays: one for each. Band: core, no I/O."""

from __future__ import annotations

from pathlib import PurePath


def socket_of(first: str, number: int) -> str:
    """The socket of display `number`, counted from 1, in the folder of the first one."""
    path = PurePath(first)
    return first if number == 1 else str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
