"""Signatures of images: minisign's files, and the small OCI artifact for one. Band: core, no I/O.

The signed data is an image's manifest, which names every other byte of the image by its SHA-256. `minisign -Vm`
reads the same files. Formats: minisign 0.11, "Signature format", "Public key format" and "Secret key format" of its
documentation; Ed25519 is RFC 8032, and it signs the BLAKE2b-512 of the data (RFC 7693).

Any input is either read or refused. A secret key with a passphrase is refused by name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pommel.foreign import parse_json
from pommel.image.layout import SIGNATURE_ARTIFACT
from pommel.image.manifest import MANIFEST, MANIFEST_MAX, Blob, blob_of
from pommel.image.names import is_digest

LAYER = "application/vnd.pommel.signature.minisign.v1"
EMPTY_TYPE, EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
TEXT_MAX = 4096
_COMMENT, _TRUSTED = "untrusted comment: ", "trusted comment: "
_ED, _PREHASHED, _PLAIN_KDF, _SCRYPT, _CHECKSUM = b"Ed", b"ED", b"\0\0", b"Sc", b"B2"
_SECRET_BYTES, _NUMBER_BYTES = 158, 8


@dataclass(frozen=True, slots=True)
class MinisignPublicKey:
    """A key that checks signatures; `number` are the eight bytes that identify the key for minisign."""

    number: bytes
    key: bytes

    @property
    def id(self) -> str:
        """The number as minisign prints it."""
        return self.number[::-1].hex().upper()

    @property
    def text(self) -> str:
        """The file, as `minisign -G` writes it."""
        packed = base64.b64encode(_ED + self.number + self.key).decode()
        return f"{_COMMENT}minisign public key {self.id}\n{packed}\n"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A signing key. Its `repr` does not contain the key."""

    number: bytes
    seed: bytes

    def __repr__(self) -> str:
        return "SecretKey(...)"

    @property
    def public(self) -> MinisignPublicKey:
        """The public key."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return MinisignPublicKey(self.number, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def text(self) -> str:
        """The file, as `minisign -G -W` writes it: without a passphrase."""
        inner = self.number + self.seed + self.public.key
        summed = hashlib.blake2b(_ED + inner, digest_size=32).digest()
        packed = _ED + _PLAIN_KDF + _CHECKSUM + bytes(32 + 8 + 8) + inner + summed
        return f"{_COMMENT}minisign secret key\n{base64.b64encode(packed).decode()}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed signature; it has not been checked."""

    number: bytes
    prehashed: bool
    signed: bytes
    comment: str
    comment_signed: bytes

    @property
    def key_id(self) -> str:
        """The number of the key as minisign prints it."""
        return self.number[::-1].hex().upper()


def new_secret(random: bytes) -> SecretKey:
    """A new key from 40 random bytes."""
    if len(random) != _NUMBER_BYTES + 32:
        raise ValueError(f"a key takes {_NUMBER_BYTES + 32} random bytes")
    return SecretKey(random[:_NUMBER_BYTES], random[_NUMBER_BYTES:])


def sign(key: SecretKey, data: bytes, comment: str) -> str:
    """The signature of `data` as minisign's file; `comment` is one line, and signed too."""
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    signed = private.sign(hashlib.blake2b(data).digest())
    over_all = private.sign(signed + comment.encode())
    first = base64.b64encode(_PREHASHED + key.number + signed).decode()
    last = base64.b64encode(over_all).decode()
    return f"{_COMMENT}signature of an image by Pommel\n{first}\n{_TRUSTED}{comment}\n{last}\n"


def verify(key: MinisignPublicKey, found: Signature, data: bytes) -> bool:
    """Whether the signature of `data` and of its comment was made with the key."""
    if not hmac.compare_digest(key.number, found.number):
        return False
    public = Ed25519PublicKey.from_public_bytes(key.key)
    try:
        public.verify(found.signed, hashlib.blake2b(data).digest() if found.prehashed else data)
        public.verify(found.comment_signed, found.signed + found.comment.encode())
    except InvalidSignature:
        return False
    return True


def parse(text: bytes) -> Signature:
    """Parse a signature's file.

    Raises:
        ValueError: it is not one; the text says why.
    """
    lines = _lines(text)
    if len(lines) != 4 or not lines[0].startswith(_COMMENT) or not lines[2].startswith(_TRUSTED):
        raise ValueError("it is not a signature of minisign's")
    first, last = _unpacked(lines[1], 74), _unpacked(lines[3], 64)
    if first[:2] not in (_ED, _PREHASHED):
        raise ValueError("its signature is of another kind than Ed25519")
    return Signature(first[2:10], first[:2] == _PREHASHED, first[10:], lines[2][len(_TRUSTED) :], last)


def parse_public(text: bytes) -> MinisignPublicKey:
    """Parse a public key: minisign's file, or only its second line.

    Raises:
        ValueError: it is not one.
    """
    lines = [line for line in _lines(text) if line and not line.startswith(_COMMENT)]
    if len(lines) != 1:
        raise ValueError("it is not a public key of minisign's")
    packed = _unpacked(lines[0], 42)
    if packed[:2] != _ED:
        raise ValueError("it is a key of another kind than Ed25519")
    return MinisignPublicKey(packed[2:10], packed[10:])


def parse_secret(text: bytes) -> SecretKey:
    """Parse a secret key without a passphrase.

    Raises:
        ValueError: it is not one, or has a passphrase.
    """
    lines = [line for line in _lines(text) if line and not line.startswith(_COMMENT)]
    if len(lines) != 1:
        raise ValueError("it is not a secret key of minisign's")
    packed = _unpacked(lines[0], _SECRET_BYTES)
    if packed[:2] != _ED or packed[4:6] != _CHECKSUM:
        raise ValueError("it is a key of another kind than Ed25519")
    if packed[2:4] == _SCRYPT:
        raise ValueError("it has a passphrase, which Pommel cannot ask for: make a key without one (minisign -G -W)")
    inner, summed = packed[54:126], packed[126:]
    if any(summed) and hashlib.blake2b(_ED + inner, digest_size=32).digest() != summed:
        raise ValueError("it is damaged")  # minisign writes zeros if there is no passphrase
    made = SecretKey(inner[:8], inner[8:40])
    if made.public.key != inner[40:]:
        raise ValueError("it is damaged")
    return made


def render_artifact(image: Blob, text: bytes) -> bytes:
    """The manifest of the artifact for the signature `text` of an image."""
    told = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": SIGNATURE_ARTIFACT,
        "config": _descriptor(EMPTY_TYPE, blob_of(EMPTY)),
        "layers": [_descriptor(LAYER, blob_of(text))],
        "subject": _descriptor(MANIFEST, image),
    }
    return json.dumps(told, separators=(",", ":")).encode()


def blobs(data: bytes) -> list[Blob]:
    """The blobs of the artifact: the empty configuration, and the signature's file last.

    Raises:
        ValueError: it is not such an artifact.
    """
    if len(data) > MANIFEST_MAX:
        raise ValueError("it is too large")
    told = parse_json(data)
    try:
        (layer,) = told["layers"]
        if layer["mediaType"] != LAYER:
            raise ValueError("it is not the signature of an image")
        return [_blob(told["config"]), _blob(layer)]
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"{wrong} is missing or has the wrong type") from wrong


def _blob(told: Any) -> Blob:
    digest, size = told["digest"], told["size"]
    if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int) or not 0 <= size <= TEXT_MAX:
        raise ValueError("a digest in it is not a SHA-256, or it is too large")
    return Blob(digest, size)


def _descriptor(kind: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size}


def _lines(text: bytes) -> list[str]:
    if len(text) > TEXT_MAX:
        raise ValueError("it is too large")
    try:
        return text.decode().replace("\r\n", "\n").rstrip("\n").split("\n")
    except UnicodeDecodeError as failure:
        raise ValueError("it is not text") from failure


def _unpacked(line: str, count: int) -> bytes:
    try:
        data = base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError) as failure:
        raise ValueError("a line of it is not base64") from failure
    if len(data) != count:
        raise ValueError(f"a line of it has {len(data)} bytes instead of {count}")
    return data
