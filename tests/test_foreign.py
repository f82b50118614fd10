"""Strangers' JSON: read whole, or refused; never what fails later."""

from __future__ import annotations

import json

import pytest

from pommel.foreign import DEPTH_MAX, parse_json, printable


def test_what_is_sound_is_read_as_it_is() -> None:
    said = {"a": [1, -2.5, True, None, "ü\U0001f600"], "b": {"c": 2**63}}
    assert parse_json(json.dumps(said)) == parse_json(json.dumps(said).encode()) == said


def test_half_a_surrogate_pair_can_be_encoded_afterwards() -> None:
    found = parse_json('{"\\ud800k": ["\\udc00", "\\ud83d\\ude00", "ü"]}')
    assert found == {"\ufffdk": ["\ufffd", "\U0001f600", "ü"]}
    json.dumps(found, ensure_ascii=False).encode()


def test_a_number_is_one_that_a_float_holds() -> None:
    assert parse_json("123456789012345678901234567890") == 123456789012345678901234567890.0
    assert parse_json("-" + "9" * 400) == parse_json("-" + "9" * 5000) == float("-inf")
    assert all(isinstance(float(number), float) for number in parse_json("[NaN, 1e999, 18446744073709551615]"))


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_is_too_deep_to_be_written_again_is_refused(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    for depth in (DEPTH_MAX + 2, 900, 100_000):
        with pytest.raises(ValueError):
            parse_json(opening * depth + "1" + closing * depth)
    parse_json(opening * DEPTH_MAX + "1" + closing * DEPTH_MAX)
    assert len(parse_json("[" + "[],[[]]," * 200 + "1]")) == 401


@pytest.mark.parametrize("message", [b"\xff", b"\xed\xa0\x80", '"\ud800"', "", "{"])
def test_what_is_none_is_refused(message: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(message)


def test_a_terminal_is_given_no_control_characters() -> None:
    assert printable("gr\u00fcn\n\x1b[2J\x9b\r\u202e") == "gr\u00fcn\n\ufffd[2J\ufffd\ufffd\ufffd"
