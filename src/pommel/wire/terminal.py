"""The messages of a terminal, between a viewer and the code that runs its shell. Band: core, no I/O.

    u8 kind | payload     big-endian; one message of the viewer's connection

DATA: bytes of the terminal, in both directions. SIZE (from the viewer): `u16 columns | u16 rows`; the first one starts
the shell. SHOWN (from the viewer): `u32`, how many bytes of DATA it has processed, modulo 2^32; viewers that send none
are measured by their connection. ENDED (to the viewer): why there is no shell any more, as a sentence in UTF-8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from pommel.errors import ProtocolError

# A program may allocate for each cell: xterm.js and MeshCentral's pages have no more on any screen.
MOST_COLUMNS, MOST_ROWS = 1000, 500
COUNTS = 1 << 32
_SIZE = struct.Struct(">BHH")
_SHOWN = struct.Struct(">BI")


class TerminalKind(IntEnum):
    """The kind of a message."""

    DATA = 0
    SIZE = 1
    SHOWN = 2
    ENDED = 3


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """The size of a terminal in characters."""

    columns: int = 80
    rows: int = 24

    def within_limits(self) -> TerminalSize:
        """The nearest size that programs can be told."""
        return TerminalSize(min(max(self.columns, 1), MOST_COLUMNS), min(max(self.rows, 1), MOST_ROWS))


@dataclass(frozen=True, slots=True)
class Typed:
    """Bytes for the shell's input."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Processed:
    """The number of bytes that the viewer has processed since the shell's start, modulo 2^32."""

    count: int


def parse_terminal(message: bytes) -> Typed | TerminalSize | Processed:
    """Parse one message from a viewer.

    Raises:
        ProtocolError: it is not one.
    """
    kind = message[0] if message else None
    if kind == TerminalKind.DATA:
        return Typed(message[1:])
    if kind == TerminalKind.SIZE and len(message) == _SIZE.size:
        return TerminalSize(*_SIZE.unpack(message)[1:]).within_limits()
    if kind == TerminalKind.SHOWN and len(message) == _SHOWN.size:
        return Processed(_SHOWN.unpack(message)[1])
    raise ProtocolError(f"not a message for a terminal: {message[:8].hex()}")


def encode_typed(data: bytes) -> bytes:
    """Make a DATA; the direction does not matter."""
    return bytes([TerminalKind.DATA]) + data


def encode_size(size: TerminalSize) -> bytes:
    """Make a SIZE."""
    told = size.within_limits()
    return _SIZE.pack(TerminalKind.SIZE, told.columns, told.rows)


def encode_processed(count: int) -> bytes:
    """Make a SHOWN."""
    return _SHOWN.pack(TerminalKind.SHOWN, count % COUNTS)


def encode_ended(reason: str) -> bytes:
    """Make an ENDED."""
    return bytes([TerminalKind.ENDED]) + reason.encode(errors="replace")


def read_for_viewer(message: bytes) -> tuple[TerminalKind, bytes]:
    """Take apart a message to a viewer: DATA or ENDED, and its payload.

    Raises:
        ProtocolError: it is not one.
    """
    if message and message[0] in (TerminalKind.DATA, TerminalKind.ENDED):
        return TerminalKind(message[0]), message[1:]
    raise ProtocolError(f"not a message from a terminal: {message[:8].hex()}")
