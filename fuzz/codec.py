"""MeshCentral's KVM commands (`wire.codec`), from the golden vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from fuzz.engine import Fuzzer, expect, mixed, pieces
from pommel.errors import WireError
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Command, Direction, Unknown

_VECTORS = Path(__file__).parents[1] / "tests" / "wire" / "vectors.json"
_LIMIT = 1 << 16
_Outcome = tuple[list[Command], str | None]


def seeds() -> dict[Direction, list[bytes]]:
    """Return the golden vectors that are short, by direction."""
    found: dict[Direction, list[bytes]] = {direction: [] for direction in Direction}
    for vector in json.loads(_VECTORS.read_text())["vectors"]:
        fill = bytes.fromhex(vector["fill"][0]) * min(vector["fill"][1], 50) if "fill" in vector else b""
        direction = Direction.TO_VIEWER if vector["direction"] == "to_viewer" else Direction.TO_ENDPOINT
        found[direction].append(bytes.fromhex(vector["hex"]) + fill)
    return found


def outcome(direction: Direction, parts: Iterable[bytes]) -> _Outcome:
    """Decode to the end; return the commands and the words of the refusal, if it was one."""
    decoder, commands = Decoder(direction, max_size=_LIMIT), []
    try:
        for part in parts:
            decoder.receive_data(part)
            commands += decoder.events()
        decoder.receive_eof()
        commands += decoder.events()
    except WireError as refusal:
        return commands, refusal.message
    return commands, None


def checked(direction: Direction) -> Callable[[bytes], None]:
    """Return the check of one direction."""

    def check(data: bytes) -> None:
        commands, refusal = whole = outcome(direction, [data])
        expect(outcome(direction, pieces(data)) == whole, "in pieces it is something else")
        for command in commands:
            again = outcome(direction, [encode(command)])
            expect(again == ([command], None) or isinstance(command, Unknown), f"{command} comes back as {again}")
        expect(refusal is not None or not data or bool(commands), "bytes were neither taken nor refused")

    return check


_LAW = "in any pieces the same commands or one WireError; a command survives encoding"
FUZZERS = [
    Fuzzer("wire-" + direction.name.lower().replace("_", "-"), _LAW, mixed(pool, joined=4), checked(direction))
    for direction, pool in seeds().items()
]
