"""RSA keys, and the hashes that identify servers and devices. Band: core, no I/O; the library gives randomness.

In MeshCentral's agent protocol, each side is identified by the SHA-384 of its public key in PKCS#1 DER (RFC 8017,
A.1.1), and signs with RSASSA-PKCS1-v1_5 and SHA-384.
"""

from __future__ import annotations

import base64
import hashlib
import warnings
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pommel.errors import ProtocolError

KEY_BITS = 3072
# The server reads signatures of other lengths as PKCS#7.
_KEY_SIZES = (2048, 3072)
_NAME = "Pommel"
# No server checks these dates. A long time, because an expired certificate would only cause trouble.
_FROM, _UNTIL = datetime(2020, 1, 1), datetime(2119, 12, 31)


@dataclass(frozen=True, slots=True, repr=False)
class DeviceIdentity:
    """A device's key and its certificate."""

    key: rsa.RSAPrivateKey
    certificate: bytes  # DER

    @property
    def node_id(self) -> str:
        """The device's id on its server, without the `node/DOMAIN/` before it."""
        return node_id(fingerprint(self.key.public_key()))

    def sign(self, data: bytes) -> bytes:
        """Sign `data`."""
        return self.key.sign(data, padding.PKCS1v15(), hashes.SHA384())

    def __repr__(self) -> str:
        """The device's id, without the key."""
        return f"Identity({self.node_id})"


def sha384(data: bytes) -> bytes:
    """The hash that identifies keys and certificates here, 48 bytes."""
    return hashlib.sha384(data).digest()


def fingerprint(key: rsa.RSAPublicKey) -> bytes:
    """SHA-384 of the key in PKCS#1 DER: a ServerID, or the source of a node id."""
    return sha384(key.public_bytes(Encoding.DER, PublicFormat.PKCS1))


def node_id(digest: bytes) -> str:
    """A hash in the form of MeshCentral's ids: base64 with @ and $ for + and /."""
    return base64.b64encode(digest, altchars=b"@$").decode()


def new_identity() -> DeviceIdentity:
    """Make a key and its certificate; this takes almost a second."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return DeviceIdentity(key, _self_signed(key))


def to_pem(identity: DeviceIdentity) -> bytes:
    """Write key and certificate as one PEM text, the key unencrypted."""
    key = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key + x509.load_der_x509_certificate(identity.certificate).public_bytes(Encoding.PEM)


def from_pem(data: bytes) -> DeviceIdentity:
    """Parse what `to_pem` wrote.

    Raises:
        ValueError: it is something else, or key and certificate belong to different identities.
    """
    # The primes are not tested again: this would take a third of a second for each device, and there may be a hundred.
    key = load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    certificate = x509.load_pem_x509_certificate(data)
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size not in _KEY_SIZES:
        raise ValueError("the key is not an RSA key of a size that MeshCentral accepts")
    if certificate.public_key() != key.public_key():
        raise ValueError("key and certificate do not belong together")
    return DeviceIdentity(key, certificate.public_bytes(Encoding.DER))


def key_of(certificate: bytes) -> rsa.RSAPublicKey:
    """Return the public key of a DER certificate.

    Raises:
        ProtocolError: these bytes are no certificate with an RSA key.
    """
    try:
        with warnings.catch_warnings():
            # Some of MeshCentral's own certificates have a serial number that reads as negative.
            warnings.simplefilter("ignore")
            key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception:  # the library documents ValueError, but raises others for unknown algorithms
        raise ProtocolError("the server shows a certificate that cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ProtocolError("the server's certificate is not for an RSA key, as MeshCentral's are")
    return key


def is_signed(key: rsa.RSAPublicKey, signature: bytes, data: bytes) -> bool:
    """Whether `signature` is the key's signature of `data`."""
    try:
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA384())
    except InvalidSignature:
        return False
    return True


def _self_signed(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
    )
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.DER)
