"""The handshake, byte by byte as the reference has it, and every way in which it is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.doubles import identity
from mesh.fake_server import server_hello
from pommel.errors import ProtocolError
from pommel.mesh.handshake import Handshake, ServerRefused, held_in_silence
from pommel.mesh.keys import fingerprint, is_signed, sha384
from pommel.mesh.mesh_agent import DeviceFacts, introduction

TLS, NONCE, SERVER_NONCE = b"the TLS certificate", b"d" * 48, b"s" * 48
SERVER_ID = fingerprint(identity(0).key.public_key())
WHO = introduction(DeviceFacts("mac", "macOS", "1"), bytes(48), 10005)


def begun() -> Handshake:
    return Handshake(SERVER_ID, TLS, identity(1), WHO, NONCE)


def hello(handshake: Handshake, server: int = 0, signed: bytes | None = None) -> tuple[bytes, bytes]:
    return server_hello(handshake.opening[1], SERVER_NONCE, identity(server), signed=signed)


def test_each_message_as_the_protocol_has_it() -> None:
    handshake = begun()
    assert handshake.opening == (b"\0\5" + SERVER_ID, b"\0\1" + sha384(TLS) + NONCE)
    assert len(handshake.opening[1]) == 98
    first, proof = hello(handshake)
    assert handshake.receive(first) == ()
    ours, who = handshake.receive(proof)
    assert handshake.proved
    assert who == WHO
    certificate = identity(1).certificate
    assert ours[:4] == struct.pack(">HH", 2, len(certificate))
    assert ours[4 : 4 + len(certificate)] == certificate
    signature = ours[4 + len(certificate) :]
    assert len(signature) == 384
    assert is_signed(identity(1).key.public_key(), signature, sha384(TLS) + SERVER_NONCE + NONCE)
    assert not handshake.welcome
    assert handshake.receive(b"\0\4") == ()
    assert handshake.welcome
    with pytest.raises(ProtocolError, match="over"):
        handshake.receive(b"\0\4")


def test_json_and_unknown_messages_in_between_are_let_pass() -> None:
    handshake = begun()
    for message in (*hello(handshake), b"\0\4"):
        for between in (b'{"action":"ping"}', b"\0\x20hello", b"", b"\0"):
            assert handshake.receive(between) == ()
        handshake.receive(message)
    assert handshake.welcome


def test_another_server_is_refused_and_told_nothing() -> None:
    handshake = begun()
    first, proof = hello(handshake, server=1)
    handshake.receive(first)
    with pytest.raises(ServerRefused, match="not the server of the") as refused:
        handshake.receive(proof)
    assert "pommel mesh join" in str(refused.value.hint)
    assert not handshake.proved


@pytest.mark.parametrize(
    "signed",
    [
        sha384(b"different TLS certificate") + NONCE + SERVER_NONCE,
        sha384(TLS) + SERVER_NONCE + NONCE,
        sha384(TLS) + NONCE + b"x" * 48,
        b"",
    ],
)
def test_a_signature_over_anything_else_is_refused(signed: bytes) -> None:
    handshake = begun()
    first, proof = hello(handshake, signed=signed)
    handshake.receive(first)
    with pytest.raises(ServerRefused, match="signature"):
        handshake.receive(proof)


def test_another_tls_certificate_is_refused() -> None:
    handshake = begun()
    with pytest.raises(ServerRefused, match="different TLS certificate"):
        handshake.receive(b"\0\1" + bytes(48) + SERVER_NONCE)


@pytest.mark.parametrize("message", [b"\0\4", b"\0\2", b"\0\3abc", b"\0\5", b"\0\1", b"\0\1" + bytes(97)])
def test_what_has_no_place_there_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        begun().receive(message)


def test_a_proof_that_ends_early_is_refused_wherever_it_ends() -> None:
    for end in range(2, len(hello(begun())[1]), 37):
        handshake = begun()
        first, proof = hello(handshake)
        handshake.receive(first)
        with pytest.raises(ProtocolError):
            handshake.receive(proof[:end])


MESSAGES = st.binary(max_size=120) | st.builds(
    lambda kind, rest: struct.pack(">H", kind) + rest, st.integers(0, 6), st.binary(max_size=120)
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.lists(MESSAGES, min_size=1, max_size=4))
def test_any_bytes_are_refused_by_name_and_never_let_anybody_in(good: int, others: list[bytes]) -> None:
    handshake = begun()
    for message in hello(handshake)[:good]:
        handshake.receive(message)
    for message in others:
        if good == 2 and message[:2] == b"\0\4":
            return  # that is the welcome
        try:
            handshake.receive(message)
        except ProtocolError:
            break
    assert not handshake.welcome


def test_silence_is_explained() -> None:
    assert "proxy" in str(held_in_silence(proved=False).hint)
    after = held_in_silence(proved=True)
    assert "device group" in str(after.hint)
    assert "limit" in str(after.hint)


def test_a_nonce_of_another_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="48"):
        Handshake(SERVER_ID, TLS, identity(1), WHO, b"short")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_was_refused_once_is_refused_for_good(place: int) -> None:
    handshake = begun()
    right = (*hello(handshake), b"\0\4")
    for message in right[:place]:
        handshake.receive(message)
    with pytest.raises(ProtocolError) as first:
        handshake.receive(b"\0\5")
    for message in (b"\0\4", *right):
        with pytest.raises(ProtocolError) as again:
            handshake.receive(message)
        assert again.value.message == first.value.message
    assert not handshake.welcome
