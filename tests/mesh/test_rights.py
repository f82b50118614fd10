"""Rights, by MeshCentral's bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.mesh.rights import FULL, Rights, is_within_limits
from pommel.wire import messages as wire


@pytest.mark.parametrize(
    ("bits", "desktop", "control", "limited", "console"),
    [
        (FULL, True, True, False, True),
        (0, False, False, False, False),
        (0x8, True, True, False, False),
        (0x18, True, True, False, True),
        (0x100, True, False, False, False),
        (0x108, True, False, False, False),
        (0x118, True, False, False, True),
        (0x1008, True, True, True, False),
        (0x10008, False, False, False, False),
        (0x10100, False, False, False, False),
        (0x10, False, False, False, False),
    ],
)
def test_what_each_may(bits: int, desktop: bool, control: bool, limited: bool, console: bool) -> None:
    rights = Rights(bits)
    assert (rights.desktop, rights.control, rights.limited, rights.console) == (desktop, control, limited, console)


@given(st.integers(0, FULL))
def test_nobody_controls_what_they_may_not_see(bits: int) -> None:
    rights = Rights(bits)
    assert rights.desktop or not rights.control
    assert not rights.others or bits == FULL


def test_messages_to_who_is_there() -> None:
    assert Rights(0x4000).notify
    assert Rights(0x8).notify
    assert not Rights(0x100).notify


@pytest.mark.parametrize("vk", [0x10, 0x11, 0x12, 0x5B, 0x5C, 0x70, 0x1B, 0x09, 0xA2, 0xE1])
def test_no_modifier_or_function_key_passes(vk: int) -> None:
    for down in (True, False):
        for extended in (True, False):
            assert not is_within_limits(wire.Key(vk, down, extended))


@pytest.mark.parametrize(
    ("command", "passes"),
    [
        (wire.Key(0x41, True), True),
        (wire.Key(8, True), True),
        (wire.Key(13, True), True),
        (wire.Key(0x25, True), True),
        (wire.KeyUnicode(ord("é"), True), True),
        (wire.KeyUnicode(3, True), False),
        (wire.KeyUnicode(27, True), False),
        (wire.KeyUnicode(127, True), False),
        (wire.Mouse(1, 2), True),
        (wire.MouseWheel(1, 2, 360), True),
        (wire.Turn(1, 2, 3, 4), True),
        (wire.CtrlAltDel(), False),
        (wire.InputLock(1), False),
        (wire.InputLock(2), True),
        (wire.Refresh(), True),
        (wire.Compression(1, 50), True),
        (wire.Unknown(222, b""), True),
    ],
)
def test_limited_input(command: wire.Command, passes: bool) -> None:
    assert is_within_limits(command) is passes
