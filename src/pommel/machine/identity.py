"""A machine's identity: its UUID and its MAC address. Band: core, no I/O.

Randomness is an argument, so that the same bytes give the same machine.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

RANDOM_BYTES = 19  # the number of bytes that `new_identity` needs


@dataclass(frozen=True, slots=True)
class Identity:
    """UUID (RFC 4122 version 4, as text) and MAC address (lower case, colons)."""

    uuid: str
    mac: str


def new_identity(random: bytes) -> Identity:
    """Make an identity from 19 random bytes. The MAC has QEMU's own prefix, 52:54:00.

    Raises:
        ValueError: there are not 19 bytes.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"an identity takes {RANDOM_BYTES} random bytes, not {len(random)}")
    return Identity(
        uuid=str(uuid.UUID(bytes=random[:16], version=4)),
        mac=(b"\x52\x54\x00" + random[16:]).hex(":"),
    )
