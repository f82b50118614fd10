"""Chunklists: any bytes are parsed or refused, and nothing unsigned is ever handed out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import RecoveryError
from pommel.recovery import chunklist
from pommel.recovery.chunklist import APPLE, Chunklist, ChunklistError, ChunklistKey, parse

from .apple import DIGEST_INFO, make_chunklist, split, test_key, unsigned

IMAGE = bytes(range(256)) * 11
GOOD = make_chunklist(IMAGE, 1000)
KEY = test_key().public


def signed(body: bytes) -> bytes:
    return body + test_key().sign(body)


def test_what_it_lists() -> None:
    found = parse(GOOD, KEY)
    assert [(chunk.offset, chunk.size) for chunk in found.chunks] == [(0, 1000), (1000, 1000), (2000, 816)]
    assert [chunk.sha256 for chunk in found.chunks] == [hashlib.sha256(p).digest() for p in split(IMAGE, 1000)]
    assert found.total_size == len(IMAGE)
    assert found.sha256 == hashlib.sha256(GOOD).hexdigest()


def test_apples_key_is_2048_bits_and_not_ours() -> None:
    assert APPLE.modulus.bit_length() == 2048 and APPLE.modulus % 2 == 1
    # Taken from the number as macrecovery.py prints it, so that no digit can slip here.
    digest = hashlib.sha256(b"%X" % APPLE.modulus).hexdigest()
    assert digest == "0198727091a63580c8a706c666077fe7342e44ab392907513b9b51fbf59c39f8"
    with pytest.raises(ChunklistError, match="signature is not Apple's"):
        parse(GOOD)


def test_a_key_of_another_length_is_none() -> None:
    with pytest.raises(ValueError, match="2048"):
        ChunklistKey(APPLE.modulus >> 1)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"header_size": 37}, "header size"),
        ({"version": 2}, "file version"),
        ({"chunk_method": 2}, "chunk method"),
        ({"signature_method": 2}, "no signature"),
        ({"signature_method": 0}, "signature method"),
        ({"count": 0}, "count of chunks"),
        ({"count": 2**63}, "count of chunks"),
        ({"chunks_at": 0x25}, "offset of the chunks"),
        ({"signature_at": 0x24}, "offset of the signature"),
    ],
)
def test_headers_refused_even_when_signed(header: dict[str, int], said: str) -> None:
    with pytest.raises(ChunklistError, match=said):
        parse(make_chunklist(IMAGE, 1000, **header), KEY)


def test_method_2_with_its_true_digest_is_refused() -> None:
    body = unsigned([(4, hashlib.sha256(b"mine").digest())], signature_method=2)
    with pytest.raises(ChunklistError, match="no signature"):
        parse(body + hashlib.sha256(body).digest(), KEY)


def test_every_prefix_and_every_tail_is_refused() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(ChunklistError):
            parse(GOOD[:end], KEY)
    with pytest.raises(ChunklistError, match="length"):
        parse(GOOD + b"\0", KEY)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(GOOD) * 8 - 1))
def test_no_bit_may_change(bit: int) -> None:
    data = bytearray(GOOD)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ChunklistError):
        parse(bytes(data), KEY)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda tail: GOOD[:36] + tail))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    for key in (KEY, APPLE):
        with pytest.raises(RecoveryError):
            parse(data, key)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(min_size=32, max_size=32)), min_size=1, max_size=5))
def test_any_signed_records_are_parsed_or_refused(records: list[tuple[int, bytes]]) -> None:
    good = all(0 < size <= chunklist.CHUNK_BYTES_MAX for size, _ in records)
    try:
        found: Chunklist | None = parse(signed(unsigned(records)), KEY)
    except ChunklistError:
        found = None
    assert (found is not None) == good
    if found:
        assert [(chunk.size, chunk.sha256) for chunk in found.chunks] == records
        assert found.total_size == sum(size for size, _ in records)


def test_limits() -> None:
    many = unsigned([(1, bytes(32))] * (chunklist.CHUNKS_MAX + 1))
    with pytest.raises(ChunklistError, match="count of chunks"):
        parse(signed(many), KEY)
    huge = unsigned(
        [(chunklist.CHUNK_BYTES_MAX, bytes(32))] * (chunklist.TOTAL_BYTES_MAX // chunklist.CHUNK_BYTES_MAX + 1)
    )
    with pytest.raises(ChunklistError, match="its image has"):
        parse(signed(huge), KEY)


def test_signatures_refused() -> None:
    body = GOOD[:-256]
    forged = {
        "zero": bytes(256),
        "one": (1).to_bytes(256, "little"),
        "big-endian": GOOD[-256:][::-1],
        "another key": test_key(2).sign(body),
        "another hash's DigestInfo": test_key().sign(body, DIGEST_INFO[:-3] + b"\x02" + DIGEST_INFO[-2:]),
        "of other bytes": test_key().sign(body + b"\0"),
    }
    for name, signature in forged.items():
        with pytest.raises(ChunklistError, match="signature is not Apple's"):
            parse(body + signature, KEY)
            pytest.fail(name)


def test_a_signature_has_one_form_only() -> None:
    """A number and the same plus the modulus sign alike in RSA; only the first is allowed (RFC 8017, 5.2.2)."""
    for size in range(1, 100):
        data = make_chunklist(IMAGE[:size], size)
        more = int.from_bytes(data[-256:], "little") + KEY.modulus
        if more < 1 << 2048:
            break
    parse(data, KEY)
    with pytest.raises(ChunklistError, match="signature is not Apple's"):
        parse(data[:-256] + more.to_bytes(256, "little"), KEY)


def test_checks_stand_under_python_O(tmp_path: Path) -> None:
    body = GOOD[:-256]
    two = unsigned([(4, bytes(32))], signature_method=2)
    cases = {
        "good": GOOD,
        "forged": body + bytes(256),
        "method2": two + hashlib.sha256(two).digest(),
        "long": GOOD + b"\0",
        "magic": b"X" + GOOD[1:],
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    script = """
import sys
from pathlib import Path
from pommel.recovery.chunklist import ChunklistError, ChunklistKey
from pommel.recovery.verify import read_chunklist, verify_file
assert False
for name in sys.argv[3:]:
    try:
        read_chunklist(Path(sys.argv[1]) / name, ChunklistKey(int(sys.argv[2])))
        print(name, "taken")
    except ChunklistError:
        print(name, "refused")
"""
    done = subprocess.run(
        [sys.executable, "-O", "-c", script, str(tmp_path), str(KEY.modulus), *cases],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    assert done.stdout == "good taken\nforged refused\nmethod2 refused\nlong refused\nmagic refused\n"
