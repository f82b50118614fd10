"""The vocabulary: values that cannot change, with the numbers their docstrings promise."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from pommel.wire import messages as m
from pommel.wire.codec import encode

from . import vectors

COMMANDS = typing.get_args(m.Command)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.__name__)
def test_commands_are_frozen_and_slotted(command: type) -> None:
    assert dataclasses.is_dataclass(command)
    assert command.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert not hasattr(next(v.message for v in vectors.load() if type(v.message) is command), "__dict__")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c is not m.Unknown], ids=lambda c: c.__name__)
def test_docstring_tells_the_number_on_the_wire(command: type) -> None:
    message = next(v.message for v in vectors.load() if type(v.message) is command and len(v.data) < 1000)
    number = (command.__doc__ or "").split(":")[0].split(" ")[0]
    assert int(number) == int.from_bytes(encode(message)[:2], "big")


def test_cursor_shapes_are_numbered_without_a_gap() -> None:
    assert [int(shape) for shape in m.CursorShape] == list(range(21))
