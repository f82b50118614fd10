"""Any bytes, in any pieces, become the same commands or one WireError; what became a command survives encoding again.

python fuzz/codec.py SECONDS [SEED]      mutates the golden vectors; stops with the bytes that broke the invariant
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pommel.errors import WireError
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Command, Direction, Unknown

_VECTORS = Path(__file__).parents[1] / "tests" / "wire" / "vectors.json"
_NOTABLE = (0, 1, 2, 3, 4, 5, 7, 8, 0x0E, 27, 0x55, 0x7F, 0x80, 0xC8, 0xC9, 0xCA, 0xCB, 0xFE, 0xFF)
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


def mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    """Make a stream: some vectors one after the other, with a few bytes changed, lost, doubled or put in."""
    data = bytearray(b"".join(chance.choice(pool) for _ in range(chance.randint(1, 4))))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] = chance.choice(_NOTABLE)
            case 1 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at : at + chance.randint(1, 6)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 6))
            case 4:
                data[at:at] = data[at : at + chance.randint(1, 40)]
    return bytes(data)


def pieces(chance: random.Random, data: bytes) -> Iterator[bytes]:
    """Cut `data` anywhere."""
    at = 0
    while at < len(data):
        size = chance.choice((1, 1, 2, 3, 7, 50))
        yield data[at : at + size]
        at += size


def outcome(direction: Direction, parts: Iterator[bytes] | list[bytes]) -> _Outcome:
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


def check(chance: random.Random, direction: Direction, data: bytes) -> None:
    """Raise an AssertionError if `data` breaks the invariant."""
    commands, refusal = whole = outcome(direction, [data])
    if outcome(direction, pieces(chance, data)) != whole:
        raise AssertionError("in pieces it is something else")
    for command in commands:
        again = outcome(direction, [encode(command)])
        if again != ([command], None) and not isinstance(command, Unknown):
            raise AssertionError(f"{command} comes back as {again}")
    if refusal is None and len(data) > 0 and not commands:
        raise AssertionError("bytes were neither taken nor refused")


def main(seconds: float, seed: int) -> int:
    """Run until the time is over or the invariant is broken; return how many streams were tried."""
    chance, pools, tried = random.Random(seed), seeds(), 0  # noqa: S311 - nothing secret
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        direction = chance.choice(list(Direction))
        data = mutated(chance, pools[direction])
        try:
            check(chance, direction, data)
        except Exception as broken:
            raise SystemExit(f"{direction.value}, seed {seed}: {data.hex()}\n{broken!r}") from broken
        tried += 1
    return tried


if __name__ == "__main__":
    given = sys.argv[1:] or ["10"]
    print(main(float(given[0]), int(given[1]) if len(given) > 1 else time.time_ns()), "streams, the invariant holds")
