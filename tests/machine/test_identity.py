"""Identities from given randomness."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine.identity import RANDOM_BYTES, new_identity


@given(st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_a_version_4_uuid_and_a_mac_of_qemus(random: bytes) -> None:
    made = new_identity(random)
    parsed = uuid.UUID(made.uuid)
    assert parsed.version == 4 and parsed.variant == uuid.RFC_4122 and str(parsed) == made.uuid
    assert re.fullmatch(r"52:54:00(:[0-9a-f]{2}){3}", made.mac)
    assert new_identity(random) == made


def test_known_bytes() -> None:
    made = new_identity(bytes(range(19)))
    assert made.uuid == "00010203-0405-4607-8809-0a0b0c0d0e0f"
    assert made.mac == "52:54:00:10:11:12"


@given(st.binary(max_size=40).filter(lambda random: len(random) != RANDOM_BYTES))
def test_any_other_length_is_refused(random: bytes) -> None:
    with pytest.raises(ValueError, match="19 random bytes"):
        new_identity(random)
