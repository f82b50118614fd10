"""The texts beside the pictures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.mesh import control
from pommel.mesh.control import Bye, ControlPong, Echo, ViewerOptions, Wants, parse_control

RTT = '{"ctrlChannel":"102938","type":"rtt","time":1700000000000}'


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2", Wants(2)),
        ("5", Wants(5)),
        ("12345", None),
        ("²", None),
        ("", None),
        ("c", None),
        ("~clip", None),
        (RTT, Echo(RTT)),
        (RTT.replace('"102938"', "102938"), Echo(RTT.replace('"102938"', "102938"))),
        ('{"type":"rtt","time":1}', None),
        ('{"ctrlChannel":"102938","type":"ping"}', Echo('{"ctrlChannel": "102938", "type": "pong"}')),
        ('{"ctrlChannel":"102938","type":"pong"}', ControlPong()),
        ('{"type":"pong"}', None),
        ('{"ctrlChannel":"102938","type":"close"}', Bye()),
        ('{"ctrlChannel":"102938","type":"offer"}', None),
        ('{"type":"options","consent":8,"tsid":1}', ViewerOptions(8)),
        ('{"type":"options","consent":-1}', ViewerOptions(0)),
        ('{"type":"options"}', ViewerOptions(0)),
        ("[1]", None),
        ("{", None),
        ("[" * 100_000, None),
    ],
)
def test_what_a_viewer_says(text: str, read: object) -> None:
    assert parse_control(text) == read


@given(st.text(max_size=40))
def test_any_text_is_read(text: str) -> None:
    parse_control(text)


def test_what_a_viewer_is_told() -> None:
    assert json.loads(control.WAITING) == {
        "ctrlChannel": "102938", "type": "console", "msg": "Waiting for user to grant access...", "msgid": 1,
    }  # fmt: skip
    assert json.loads(control.GRANTED)["msg"] is None
    assert json.loads(control.DENIED)["msgid"] == 2
    assert "msgid" not in json.loads(control.message("text"))
    assert json.loads(control.metadata({"u": 1}))["users"] == {"u": 1}
