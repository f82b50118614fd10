"""How fast an image is verified against its chunklist, beside hashlib's own SHA-256 over the same file in the same run.

    python bench/recovery_verify.py [MIB] [RUNS]

The peer is the plainest loop there is: one SHA-256, one buffer of 1 MiB, nothing compared and nobody told. The file is
in the page cache. Exits with 1 below 80 % of the peer's speed. The signature of the chunklist is checked beforehand.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pommel.recovery.chunklist import Chunk, Chunklist
from pommel.recovery.verify import verify_file

CHUNK = 10 << 20  # as Apple's
GOAL = 0.8


def make(path: Path, mib: int) -> Chunklist:
    piece, chunks, left = bytes(range(256)) * 4096, [], mib << 20
    with path.open("wb") as file:
        offset = 0
        while left:
            data = (piece * 10)[: min(left, CHUNK)]
            file.write(data)
            chunks.append(Chunk(offset, len(data), hashlib.sha256(data).digest()))
            offset, left = offset + len(data), left - len(data)
    return Chunklist(tuple(chunks), "")


def plain(path: Path) -> None:
    digest, block = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    digest.digest()


def seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "BaseSystem.dmg"
        listed = make(path, mib)
        plain(path)  # warms the cache
        ours, theirs = [], []
        for _ in range(runs):  # in turn, so that a busy moment hits both alike
            theirs.append(mib / seconds(lambda: plain(path)))
            ours.append(mib / seconds(lambda: verify_file(path, listed)))
    peer, own = statistics.median(theirs), statistics.median(ours)
    figures = {"mib": mib, "runs": runs, "hashlib_mib_s": round(peer), "verify_mib_s": round(own)}
    print(json.dumps(figures | {"ratio": round(own / peer, 3)}))
    print(
        f"verify_file {own:.0f} MiB/s, hashlib {peer:.0f} MiB/s: {own / peer:.0%} of it ({mib} MiB, median of {runs})"
    )
    sys.exit(own / peer < GOAL)


if __name__ == "__main__":
    main()
