"""Chunklists: Apple's signed list of what an image must be, chunk by chunk. Band: core, no I/O.

    header      36 bytes  "CNKL", header size, file version 1, chunk method 1, signature method, a pad byte,
                          count of chunks, offset of the chunks, offset of the signature (little endian)
    chunk       36 bytes  size (u32), SHA-256; as many as the header says
    signature  256 bytes  RSA-2048, PKCS#1 v1.5 (RFC 8017, 8.2.2) over SHA-256 of all before it, as a little-endian
                          integer; the file ends here

Layout and key: acidanthera/OpenCorePkg, Utilities/macrecovery. A `Chunklist` exists only after its signature has
been checked: there is no way to parse one and look at its chunks first. Signature method 2, a bare digest, proves
nothing of who made it: `parse` refuses it. `parse_digested` takes it alone, for what Apple has no other list of.
Every check raises, so `python -O` changes nothing.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from pommel.errors import RecoveryError

_HEADER = struct.Struct("<4sIBBBxQQQ")
_CHUNK = struct.Struct("<I32s")
_SIGNATURE_BYTES = 256
_SIGNED, _DIGESTED = 1, 2
_EXPONENT = 65537

CHUNKS_MAX = 8192
CHUNK_BYTES_MAX = 64 << 20  # Apple's are 10 MiB; one is held in memory for each connection
TOTAL_BYTES_MAX = 64 << 30
FILE_BYTES_MAX = _HEADER.size + CHUNKS_MAX * _CHUNK.size + _SIGNATURE_BYTES


class ChunklistError(RecoveryError):
    """The bytes are not a chunklist, or the owner of the key did not sign it."""


@dataclass(frozen=True, slots=True)
class ChunklistKey:
    """An RSA-2048 key that chunklists may be signed with; the exponent is 65537.

    Raises:
        ValueError: the modulus is not 2048 bits long.
    """

    modulus: int

    def __post_init__(self) -> None:
        if self.modulus.bit_length() != 2048:
            raise ValueError(f"the modulus has {self.modulus.bit_length()} bits, 2048 are needed")

    def signed(self, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` (256 bytes, little endian) is this key's over the SHA-256 `digest`."""
        from cryptography.exceptions import InvalidSignature  # here, because most commands check no signature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

        key = rsa.RSAPublicNumbers(_EXPONENT, self.modulus).public_key()
        try:
            key.verify(signature[::-1], digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


# "Apple EFI ROM public key 1", a fact published in macrecovery.py.
APPLE = ChunklistKey(
    int(
        "C3E748CAD9CD384329E10E25A91E43E1A762FF529ADE578C935BDDF9B13F2179D4855E6FC89E9E29CA12517D17DFA1EDCE0BEBF0EA7B46"
        "1FFE61D94E2BDF72C196F89ACD3536B644064014DAE25A15DB6BB0852ECBD120916318D1CCDEA3C84C92ED743FC176D0BACA920D3FCF31"
        "58AFF731F88CE0623182A8ED67E650515F75745909F07D415F55FC15A35654D118C55A462D37A3ACDA08612F3F3F6571761EFCCBCC299A"
        "EE99B3A4FD6212CCFFF5EF37A2C334E871191F7E1C31960E010A54E86FA3F62E6D6905E1CD57732410A3EB0C6B4DEFDABE9F59BF161875"
        "8C751CD56CEF851D1C0EAA1C558E37AC108DA9089863D20E2E7E4BF475EC66FE6B3EFDCF",
        16,
    )
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of the image: its offset, its size in bytes, and its SHA-256."""

    offset: int
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Chunklist:
    """A chunklist with a good signature or digest. `sha256` is that of the whole file, a name for this very image."""

    chunks: tuple[Chunk, ...]
    sha256: str

    @property
    def total_size(self) -> int:
        """The image's size in bytes."""
        return self.chunks[-1].offset + self.chunks[-1].size


def parse(data: bytes, key: ChunklistKey = APPLE) -> Chunklist:
    """Check that `data` is a whole chunklist signed with `key`, and return it.

    Raises:
        ChunklistError: it is not; the message says what is wrong.
    """
    records_end = _check_header(data, _SIGNED, _SIGNATURE_BYTES)
    digest = hashlib.sha256(memoryview(data)[:records_end]).digest()
    if not key.signed(digest, data[records_end:]):
        raise _bad("its signature is not Apple's")
    return Chunklist(_chunks(data[_HEADER.size : records_end]), hashlib.sha256(data).hexdigest())


def parse_digested(data: bytes) -> Chunklist:
    """Check that `data` is a whole chunklist with a bare digest: it shows damage, and says nothing of its origin.

    Raises:
        ChunklistError: it is not; the message says what is wrong.
    """
    records_end = _check_header(data, _DIGESTED, hashlib.sha256().digest_size)
    if hashlib.sha256(memoryview(data)[:records_end]).digest() != data[records_end:]:
        raise _bad("its digest is not that of its chunks")
    return Chunklist(_chunks(data[_HEADER.size : records_end]), hashlib.sha256(data).hexdigest())


def _check_header(data: bytes, method: int, signature_bytes: int) -> int:
    """Check everything that stands before the first chunk, and where the file ends; return where the chunks end."""
    if len(data) < _HEADER.size:
        raise _bad(f"it has {len(data)} bytes, but the header needs {_HEADER.size}")
    magic, header_size, version, chunk_method, signature_method, count, chunks_at, signature_at = _HEADER.unpack_from(
        data
    )
    _expect("magic", magic, b"CNKL")
    _expect("header size", header_size, _HEADER.size)
    _expect("file version", version, 1)
    _expect("chunk method", chunk_method, 1)
    if signature_method == _DIGESTED != method:
        raise _bad("it has a digest, but no signature (method 2)")
    _expect("signature method", signature_method, method)
    if not 0 < count <= CHUNKS_MAX:
        raise _bad(f"its count of chunks is {count}, 1 to {CHUNKS_MAX} are allowed")
    end = _HEADER.size + int(count) * _CHUNK.size
    _expect("offset of the chunks", chunks_at, _HEADER.size)
    _expect("offset of the signature", signature_at, end)
    _expect("length", len(data), end + signature_bytes)
    return end


def _chunks(records: bytes) -> tuple[Chunk, ...]:
    found: list[Chunk] = []
    offset = 0
    for size, sha256 in _CHUNK.iter_unpack(records):
        if not 0 < size <= CHUNK_BYTES_MAX:
            raise _bad(f"chunk {len(found)} has {size} bytes, 1 to {CHUNK_BYTES_MAX} are allowed")
        found.append(Chunk(offset, size, sha256))
        offset += size
    if offset > TOTAL_BYTES_MAX:
        raise _bad(f"its image has {offset} bytes, {TOTAL_BYTES_MAX} are allowed")
    return tuple(found)


def _expect(what: str, found: int | bytes, wanted: int | bytes) -> None:
    if found != wanted:
        raise _bad(f"its {what} is {found!r}, not {wanted!r}")


def _bad(why: str) -> ChunklistError:
    return ChunklistError(
        f"the chunklist cannot be trusted: {why}", hint="download it again, from a network that does not change it"
    )
