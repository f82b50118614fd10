"""Keys, the hashes they are known by, and certificates that the library frowns at."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mesh.doubles import identity
from pommel.errors import ProtocolError
from pommel.mesh.keys import fingerprint, from_pem, is_signed, key_of, node_id, sha384, to_pem


def openssl(*words: str, given: bytes) -> bytes:
    return subprocess.run(["openssl", *words], input=given, capture_output=True, check=True).stdout


def certificate(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, serial: int = 1) -> bytes:
    name = x509.Name([])
    when = datetime(2020, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(serial)
    builder = builder.public_key(key.public_key()).not_valid_before(when).not_valid_after(datetime(2030, 1, 1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_openssl_agrees_about_key_hash_and_signature(tmp_path: Path) -> None:
    one = identity()
    pkcs1 = openssl("rsa", "-RSAPublicKey_out", "-outform", "DER", given=to_pem(one))
    assert fingerprint(one.key.public_key()) == sha384(pkcs1)
    assert one.key.key_size == 3072
    (tmp_path / "key").write_bytes(to_pem(one))
    signed = openssl("dgst", "-sha384", "-sign", str(tmp_path / "key"), given=b"what is signed")
    assert one.sign(b"what is signed") == signed
    assert is_signed(one.key.public_key(), signed, b"what is signed")
    assert not is_signed(one.key.public_key(), signed, b"what is not")


def test_ids_are_written_as_meshcentral_does() -> None:
    assert node_id(b"\xfb\xef\xff" * 16) == "@@$$" * 16
    assert len(identity().node_id) == 64
    assert "PRIVATE" not in repr(identity())


def test_pem_and_back() -> None:
    again = from_pem(to_pem(identity()))
    assert (again.node_id, again.certificate) == (identity().node_id, identity().certificate)
    with pytest.raises(ValueError, match="belong together"):
        from_pem(
            to_pem(identity(0)).partition(b"-----BEGIN CERT")[0]
            + b"-----BEGIN CERT"
            + to_pem(identity(1)).partition(b"-----BEGIN CERT")[2]
        )


def test_a_certificate_with_a_negative_serial_number_is_read() -> None:
    key = identity().key
    der = certificate(key, 0x4142434445464748)
    negative = der.replace(b"\x41\x42\x43\x44", b"\xc1\x42\x43\x44", 1)
    assert fingerprint(key_of(negative)) == fingerprint(key.public_key())


def test_other_keys_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not for an RSA key"):
        key_of(certificate(ec.generate_private_key(ec.SECP256R1())))


@given(st.binary(max_size=100) | st.integers(0, 400).flatmap(lambda n: st.just(identity().certificate[:n])))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        key_of(data)
