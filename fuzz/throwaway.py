"""Archives that a throw-away machine's guest sends."""

from __future__ import annotations

import tarfile

from fuzz.engine import Fuzzer, expect, mixed
from pommel.app.throwaway.ustar import BLOCK, Kind, parse_header
from pommel.errors import ProtocolError


def _headers() -> tuple[bytes, ...]:
    made = []
    for name, kind, target in (("./a/b", b"0", ""), ("x" * 90 + "/" + "y" * 90, b"5", ""), ("l", b"2", "../a")):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, 700
        made.append(info.tobuf(tarfile.USTAR_FORMAT))
    return tuple(made)


def check_header(data: bytes) -> None:
    """A header is refused in words, or names only what is below; also with its sum put right."""
    block = data[:BLOCK].ljust(BLOCK, b"\0")
    whole = sum(block) - sum(block[148:156]) + 8 * 0x20
    for each in (block, block[:148] + f"{whole:06o}\0 ".encode() + block[156:]):
        try:
            found = parse_header(each)
        except ProtocolError as refusal:
            expect(bool(refusal.message), "a refusal without words")
            continue
        if found is None:
            continue
        expect(not {"", ".", ".."} & set(found.parts), "a name that leads elsewhere")
        expect(found.size >= 0 and found.padded % BLOCK == 0 and found.padded >= found.size, "a size that cannot be")
        if found.kind is Kind.LINK and found.leads_inside:
            depth = len(found.parts) - 1
            expect(found.target.split("/").count("..") <= depth + found.target.count("/"), "a link that leads out")


_TOKENS = (b"../", b"/etc/passwd", b"ustar\x00", b"\0", b"7777777", b"-1", b"\xff", b"2", b"5")

FUZZERS = [
    Fuzzer(
        "throwaway-archive", "names only what is below, or is refused in words",
        mixed(_headers(), tokens=_TOKENS), check_header, short=2000,
    ),
]  # fmt: skip
