"""The account as a file: the hash is what OpenSSL derives too, and the password is nowhere in the record."""

from __future__ import annotations

import plistlib
import uuid

import pytest

from pommel import process
from pommel.unattended.account import ITERATIONS, SALT_BYTES, record, shadow_hash

SALT = bytes(range(SALT_BYTES))
GUID = uuid.UUID("ab000000-0000-4000-8000-00000000000a")


def test_the_hash_is_pbkdf2_with_sha_512_as_openssl_has_it() -> None:
    made = plistlib.loads(shadow_hash("pä ss'word", SALT))["SALTED-SHA512-PBKDF2"]
    options = ["digest:SHA512", "hexpass:" + "pä ss'word".encode().hex(), f"hexsalt:{SALT.hex()}", f"iter:{ITERATIONS}"]
    words = [word for option in options for word in ("-kdfopt", option)]
    derived = process.run(["openssl", "kdf", "-keylen", "128", "-binary", *words, "PBKDF2"]).stdout
    assert (made["entropy"], made["salt"], made["iterations"]) == (derived, SALT, 50_000)


def test_a_salt_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        shadow_hash("x", b"short")


def test_the_record_has_what_login_needs_and_no_password() -> None:
    shadow = shadow_hash("s3cret-pass", SALT, iterations=10)
    data = record("ada", "Ada Lovelace", GUID, shadow)
    found = plistlib.loads(data)
    assert b"s3cret-pass" not in data and found["passwd"] == ["********"]
    assert all(isinstance(value, list) for value in found.values())
    assert (found["name"], found["home"], found["gid"]) == (["ada"], ["/Users/ada"], ["20"])
    assert found["generateduid"] == ["AB000000-0000-4000-8000-00000000000A"] and found["ShadowHashData"] == [shadow]
    assert found["authentication_authority"] == [";ShadowHash;HASHLIST:<SALTED-SHA512-PBKDF2>"]


def test_without_a_password_there_is_no_hash() -> None:
    found = plistlib.loads(record("ada", "Ada", GUID, None))
    assert "ShadowHashData" not in found and "authentication_authority" not in found
