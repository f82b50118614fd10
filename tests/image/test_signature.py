"""Signatures in minisign's format; that minisign itself reads them, tests/app/image/test_files.py shows."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.image import signature
from pommel.image.manifest import blob_of

KEY, OTHER = signature.new_secret(bytes(range(40))), signature.new_secret(bytes(range(1, 41)))
DATA = b"what is signed"
TEXT = signature.sign(KEY, DATA, "sha256:00 m:1").encode()


def test_a_signature_is_of_one_key_and_of_all_bytes() -> None:
    found = signature.parse(TEXT)
    assert (
        signature.verify(KEY.public, found, DATA) and found.key_id == KEY.public.id and found.comment == "sha256:00 m:1"
    )
    assert not signature.verify(KEY.public, found, DATA + b" ")
    assert not signature.verify(OTHER.public, found, DATA)
    assert not signature.verify(signature.MinisignPublicKey(KEY.number, OTHER.public.key), found, DATA)
    changed = signature.parse(TEXT.replace(b"m:1", b"m:2"))
    assert not signature.verify(KEY.public, changed, DATA)


def test_keys_are_read_as_they_are_written() -> None:
    assert signature.parse_secret(KEY.text.encode()) == KEY and repr(KEY) == "SecretKey(...)"
    assert signature.parse_public(KEY.public.text.encode()) == KEY.public
    assert signature.parse_public(KEY.public.text.splitlines()[1].encode()) == KEY.public
    packed = bytearray(base64.b64decode(KEY.text.splitlines()[1]))
    packed[70] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        signature.parse_secret(base64.b64encode(packed))


def test_a_key_with_a_passphrase_is_refused_by_name() -> None:
    packed = bytearray(base64.b64decode(KEY.text.splitlines()[1]))
    packed[2:4] = b"Sc"
    with pytest.raises(ValueError, match="passphrase"):
        signature.parse_secret(b"untrusted comment: x\n" + base64.b64encode(packed) + b"\n")


def test_the_artifact_names_the_signature() -> None:
    data = signature.render_artifact(blob_of(DATA), TEXT)
    assert signature.blobs(data) == [blob_of(b"{}"), blob_of(TEXT)]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (signature.parse, signature.parse_public, signature.parse_secret, signature.blobs):
        with pytest.raises(ValueError):
            parse(data)
