"""What a device says of itself."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.mesh.mesh_agent import Caps, DeviceFacts, answer_request, check_agent_id, coreinfo, introduction, netinfo

FACTS = DeviceFacts("Büro-mac", "macOS 15.1", "0.9")


def test_message_3_byte_by_byte() -> None:
    mesh_id = bytes(range(48))
    name = "Büro-mac".encode()
    whole = introduction(FACTS, mesh_id, 10005)
    assert whole == bytes.fromhex("0003 00000001 00002715 00000000 00000008") + mesh_id + (
        bytes.fromhex("00000001 0009") + name
    )
    assert whole[18:66] == mesh_id  # where the server looks for it
    console = introduction(DeviceFacts("m", "", "", has_console=True), mesh_id, 16)
    assert struct.unpack_from(">I", console, 66) == (9,)


@given(st.text(max_size=400), st.booleans())
def test_any_name_fits_and_no_core_is_ever_claimed(name: str, has_console: bool) -> None:
    facts = DeviceFacts(name, name, name, has_console)
    said = introduction(facts, bytes(48), 29)
    (length,) = struct.unpack_from(">H", said, 70)
    assert len(said) == 72 + length
    assert 0 < length <= 255
    said[72:].decode()
    assert not facts.caps & 16
    told = json.loads(coreinfo(facts, rename=True))
    assert told["caps"] in (Caps.DESKTOP, Caps.DESKTOP | Caps.CONSOLE)
    assert told["name"] == name
    assert coreinfo(facts, rename=True).isascii()


def test_a_name_is_the_servers_own_unless_it_changed() -> None:
    assert "name" not in json.loads(coreinfo(FACTS, rename=False))
    assert json.loads(coreinfo(FACTS, rename=False))["osdesc"] == "macOS 15.1"


def test_network_cards() -> None:
    assert netinfo(()) is None
    (card,) = json.loads(str(netinfo(["52:54:00:aa:bb:cc"])))["netif2"]["en0"]
    assert card["mac"] == "52:54:00:aa:bb:cc"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("000c 0000", "000c 0000" + "00" * 48),
        ("000c 1234", "000c 1234" + "00" * 48),
        ("000b 0007", "000b 0007" + "00" * 48),
        ("000a 0000", None),
        ("0010 0000", None),
        ("000d 0000", None),
        ("000c", None),
        ("", None),
    ],
)
def test_hashes_are_zeros_and_nothing_else_is_answered(asked: str, answered: str | None) -> None:
    assert answer_request(bytes.fromhex(asked)) == (bytes.fromhex(answered) if answered else None)


@given(st.binary(max_size=80))
def test_no_request_gets_more_than_zeros(message: bytes) -> None:
    reply = answer_request(message)
    assert reply is None or (reply[:4] == message[:4] and reply[4:] == bytes(48))


def test_agent_ids() -> None:
    assert check_agent_id(16) == 16
    with pytest.raises(UsageError, match="agent id 3"):
        check_agent_id(3)
