"""What is answered of MeshCentral's control texts. The stream itself is tested over sockets in test_server."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.console.stream import control_reply


@pytest.mark.parametrize("channel", ['"102938"', "102938"])
def test_rtt_is_echoed_and_ping_answered(channel: str) -> None:
    rtt = f'{{ "ctrlChannel": {channel}, "type": "rtt", "time": 1 }}'
    assert control_reply(rtt) == rtt
    assert json.loads(control_reply(f'{{"ctrlChannel":{channel},"type":"ping"}}') or "") == {
        "ctrlChannel": "102938",
        "type": "pong",
    }


@pytest.mark.parametrize(
    "text",
    ["2", "", "null", '{"type":"rtt"}', '{"ctrlChannel":"1","type":"rtt"}', '{"ctrlChannel":102938}', "[" * 9999],
)
def test_the_rest_is_not(text: str) -> None:
    assert control_reply(text) is None


@given(st.text(max_size=50))
def test_law_any_text_is_answered_or_ignored(text: str) -> None:
    assert control_reply(text) in (None, text)
