"""The messages of a terminal (`wire.terminal`), from viewers and to them."""

from __future__ import annotations

from fuzz.engine import Fuzzer, expect, expect_words, mixed
from pommel.errors import ProtocolError
from pommel.wire import terminal as wire
from pommel.wire.terminal import Processed, TerminalKind, TerminalSize, Typed

_SEEDS = [
    wire.encode_typed(b"ls\r"),
    wire.encode_typed("é\x1b[A".encode()),
    wire.encode_size(TerminalSize(80, 24)),
    wire.encode_processed(1 << 31),
    wire.encode_ended("The shell has ended."),
]


def check_viewers(data: bytes) -> None:
    """What a viewer says survives encoding, or is refused."""
    try:
        said = wire.parse_terminal(data)
    except ProtocolError as refusal:
        expect_words(refusal)
        return
    match said:
        case Typed(typed):
            expect(wire.encode_typed(typed) == data, "typed bytes have changed")
        case Processed(count):
            expect(wire.encode_processed(count) == data, "a count has changed")
        case TerminalSize(columns, rows):
            expect(0 < columns <= wire.MOST_COLUMNS and 0 < rows <= wire.MOST_ROWS, f"a size of {columns} x {rows}")
            expect(wire.parse_terminal(wire.encode_size(said)) == said, "a size has changed")


def check_shells(data: bytes) -> None:
    """What a session's agent says to a viewer is bytes of the terminal or its end, or is refused."""
    try:
        kind, payload = wire.read_for_viewer(data)
    except ProtocolError as refusal:
        expect_words(refusal)
        return
    expect(kind in (TerminalKind.DATA, TerminalKind.ENDED), f"a viewer gets a {kind.name}")
    expect(data[1:] == payload, "bytes have changed")


FUZZERS = [
    Fuzzer("terminal-viewer", "a message survives encoding, or one ProtocolError", mixed(_SEEDS), check_viewers),
    Fuzzer("terminal-shell", "data or an end, or one ProtocolError", mixed(_SEEDS), check_shells),
]
